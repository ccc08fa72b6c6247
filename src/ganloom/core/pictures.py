"""Convert image tensors between [-1, 1] and uint8, lay them out in grids and save them as PNG."""

import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganloom.core.files import write_atomically

__all__ = ["class_columns", "grid", "png", "save_png", "to_float", "to_pil", "to_uint8"]

GAP = 2  # pixels between the pictures of a grid
MAX_CLASS_COLUMNS = 16


def to_uint8(
    images: Tensor,  # float [N, C, H, W] in [-1, 1]
) -> Tensor:  # uint8 [N, C, H, W]
    """Round and clamp to 0..255, as metrics expect. Truncation would darken every picture by half a level."""
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def to_float(
    images: Tensor,  # uint8 [N, C, H, W]
) -> Tensor:  # float [N, C, H, W] in [-1, 1]
    """Scale the levels 0..255 to [-1, 1]."""
    return images.to(torch.get_default_dtype()).div_(127.5).sub_(1)


def class_columns(classes: int) -> int | None:
    """How many columns a grid with one class per column has; None with fewer than two classes or too many."""
    return classes if 1 < classes <= MAX_CLASS_COLUMNS else None


def grid(
    images: Tensor,  # uint8 [N, C, H, W]
    columns: int | None = None,
) -> Tensor:  # uint8 [C, rows*(H+2)+2, columns*(W+2)+2]
    """Lay pictures out in rows on white (RGBA: on transparent). By default the grid is as square as possible."""
    images = images.cpu()
    count, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = torch.full((channels, rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), 255, dtype=torch.uint8)
    if channels == 4:
        sheet[3] = 0
    for index, image in enumerate(images):
        top = GAP + index // columns * (height + GAP)
        left = GAP + index % columns * (width + GAP)
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def save_png(
    path: Path,
    image: Tensor,  # uint8 [C, H, W], C of 1, 3 or 4
) -> None:
    """Write a PNG atomically. Raises `StorageError`."""
    write_atomically(path, png(image))


def png(
    image: Tensor,  # uint8 [C, H, W], C of 1, 3 or 4
) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    to_pil(image).save(buffer, format="PNG")
    return buffer.getvalue()


def to_pil(
    image: Tensor,  # uint8 [C, H, W], C of 1, 3 or 4
) -> Image.Image:
    """A Pillow image of mode L, RGB or RGBA."""
    array = np.ascontiguousarray(image.cpu().permute(1, 2, 0).numpy())
    return Image.fromarray(array.squeeze(2) if array.shape[2] == 1 else array)
