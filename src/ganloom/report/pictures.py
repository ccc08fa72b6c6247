"""The images of a run: laid out for a page, and made small enough to embed."""

import io
import math
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganloom.core import pictures
from ganloom.core.files import open_regular
from ganloom.core.pictures import GAP
from ganloom.report.html import data_url, png_url

__all__ = ["cells", "columns", "first_pictures", "image_url", "open_picture", "squarish"]

MAX_SCALE = 4  # small images are enlarged up to so many times
LARGEST_PNG = 250_000  # bytes; a larger file is embedded as JPEG
ACROSS, DOWN = 10, 2  # columns and rows of the samples in the table of progress

Shape = tuple[int, int, int]  # channels, height, width of one image


def open_picture(path: Path) -> Image.Image | None:
    """The image; None if there is no such file or it cannot be read."""
    try:
        with warnings.catch_warnings():  # a grid of many large images is not an attack
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with open_regular(path) as file, Image.open(file) as image:
                image.load()
                return image.copy()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def image_url(
    image: Image.Image,
    widest: int,  # pixels
) -> str:
    """The image as a data URL, at most `widest` pixels wide: as PNG if that is small, else as JPEG."""
    if image.width > widest:
        image = image.resize((widest, max(1, round(image.height * widest / image.width))), Image.Resampling.LANCZOS)
    else:
        times = min(MAX_SCALE, widest // image.width)  # a whole number, so that pixels stay squares
        image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    if buffer.tell() <= LARGEST_PNG:
        return png_url(buffer.getvalue())
    return data_url(_on_white(image), quality=85)


def columns(grid: Image.Image, shape: Shape) -> int:
    """The number of columns of a grid of images."""
    return max(1, (grid.width - GAP) // (shape[2] + GAP))


def squarish(grid: Image.Image, shape: Shape) -> Image.Image:
    """A grid of about square form. A tall one, such as one with two columns for two classes, repeats them."""
    if grid.height < 1.5 * grid.width:
        return grid
    return _laid_out(cells(grid, shape), columns(grid, shape) * round(math.sqrt(grid.height / grid.width)))


def first_pictures(grid: Image.Image, shape: Shape) -> Image.Image:
    """The first images of a grid, in its own columns or in those repeated."""
    images, across = cells(grid, shape), columns(grid, shape)
    if across > ACROSS:
        images = images.reshape(-1, across, *images.shape[1:])[:DOWN, :ACROSS].flatten(0, 1)
        return _laid_out(images, ACROSS)
    across *= ACROSS // across
    return _laid_out(images[: DOWN * across], across)


def cells(grid: Image.Image, shape: Shape) -> Tensor:  # uint8 [N, C, H, W]
    """The images of a grid, row by row. A grid of another shape is cut all the same."""
    height, width = shape[1] + GAP, shape[2] + GAP
    across, down = columns(grid, shape), max(1, (grid.height - GAP) // height)
    pixels = np.asarray(grid.crop((GAP, GAP, GAP + across * width, GAP + down * height)))
    cut = torch.tensor(pixels).reshape(down, height, across, width, -1).permute(0, 2, 4, 1, 3).flatten(0, 1)
    return cut[:, :, : shape[1], : shape[2]]


def _laid_out(cells: Tensor, across: int) -> Image.Image:
    pixels = pictures.grid(cells, across).permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image if image.mode == "L" else image.convert("RGB")
    sheet = Image.new("RGB", image.size, "white")
    sheet.paste(image, mask=image.getchannel("A"))
    return sheet
