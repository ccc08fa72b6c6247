"""Convert image tensors between [-1, 1] and uint8, lay them out in grids and save them as pictures."""

import io
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganloom.core.errors import ConfigError
from ganloom.core.files import storage_errors, write_atomically

__all__ = [
    "check_pixels",
    "class_columns",
    "enlarged",
    "grid",
    "picture_format",
    "png",
    "save_picture",
    "save_png",
    "to_float",
    "to_pil",
    "to_uint8",
]

GAP = 2  # pixels between the pictures of a grid
MAX_CLASS_COLUMNS = 16
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
QUALITY: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
MAX_SIDE = {"PNG": 100_000, "JPEG": 65_500, "WEBP": 16_383}  # pixels
MAX_PIXELS = 2**30  # of a picture


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
    *,
    padding: int = GAP,
    blank: Collection[int] = (),
) -> Tensor:  # uint8 [C, rows*(H+padding)+padding, columns*(W+padding)+padding]; [C, H, W] of a single image
    """Lay pictures out in rows on white (RGBA: on transparent), with so many pixels between them and around them.

    By default the grid is as square as possible. `blank` are places that stay empty, counted from the top left.
    """
    images = images.cpu()
    count, channels, height, width = images.shape
    if count == 1:
        return images[0]
    columns = columns or math.ceil(math.sqrt(count))
    places = [place for place in range(count + len(blank)) if place not in blank]
    rows = math.ceil((places[-1] + 1) / columns)
    size = rows * (height + padding) + padding, columns * (width + padding) + padding
    check_pixels(*size)
    sheet = torch.full((channels, *size), 255, dtype=torch.uint8)
    if channels == 4:
        sheet[3] = 0
    for place, image in zip(places, images, strict=True):
        top = padding + place // columns * (height + padding)
        left = padding + place % columns * (width + padding)
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def enlarged(
    images: Tensor,  # uint8 [N, C, H, W]
    scale: int,
) -> Tensor:  # uint8 [N, C, H * scale, W * scale]
    """Each pixel becomes a square of `scale` x `scale` pixels."""
    return images.repeat_interleave(scale, 2).repeat_interleave(scale, 3) if scale > 1 else images


def check_pixels(height: int, width: int) -> None:
    """Raises `ConfigError` for a picture that no program would open."""
    if height * width > MAX_PIXELS or max(height, width) > MAX_SIDE["PNG"]:
        raise ConfigError(
            f"the picture would have {height:,}x{width:,} pixels: ask for fewer images, or a smaller scale."
        )


def picture_format(path: Path) -> str:
    """Pillow's name of the format of a picture, by the suffix of its file. Raises `ConfigError` for any other file."""
    if path.suffix.lower() not in FORMATS:
        if not path.name:
            raise ConfigError(f"{path} is a folder: name a picture to write, such as {path / 'grid.png'}.")
        name = path.with_suffix(".png").name
        raise ConfigError(f"a picture is a .png, .jpg or .webp file: name it {name}, for example, not {path}.")
    return FORMATS[path.suffix.lower()]


def save_picture(path: Path, picture: Image.Image) -> None:
    """Write a picture in the format of its suffix, atomically. A JPEG has no transparency: it gets a white ground.

    Raises `ConfigError` if the format does not take it, and `StorageError`.
    """
    form = picture_format(path)
    if max(picture.size) > MAX_SIDE[form]:
        width, height = picture.size
        raise ConfigError(f"{height:,}x{width:,} pixels are more than {path.suffix} files can have: write a .png.")
    if form == "JPEG" and picture.mode == "RGBA":
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, format=form, **QUALITY.get(form, {}))
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


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
