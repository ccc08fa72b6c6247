"""Grids are cut and laid out again without losing or mixing up an image."""

import numpy as np
import pytest
import torch
from PIL import Image

from ganloom.core import pictures
from ganloom.report.pictures import columns, first_pictures, squarish

SHAPE = (3, 6, 4)


def numbered(count: int, across: int, channels: int = 3) -> Image.Image:
    """A grid of pictures whose grey is their number."""
    cells = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, channels, 6, 4)
    sheet = pictures.grid(cells, across).permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(sheet.squeeze(2) if channels == 1 else sheet)


def numbers(image: Image.Image) -> list[list[int]]:
    pixels = np.asarray(image.convert("L"))
    return pixels[4::8, 3::6].tolist()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tall_grid_is_laid_out_with_its_columns_side_by_side(channels: int) -> None:
    laid = squarish(numbered(32, 2, channels), (channels, 6, 4))
    assert laid.height < 1.5 * laid.width
    found = numbers(laid)
    assert [number for row in found for number in row if number != 255] == list(range(32))
    assert all(number % 2 == place % 2 for row in found for place, number in enumerate(row) if number != 255)


def test_a_grid_that_is_not_tall_is_left_unchanged() -> None:
    grid = numbered(20, 5)
    assert squarish(grid, SHAPE) is grid and columns(grid, SHAPE) == 5


def test_the_first_pictures_keep_their_columns() -> None:
    assert numbers(first_pictures(numbered(30, 3), SHAPE)) == [list(range(9)), list(range(9, 18))]
    assert numbers(first_pictures(numbered(48, 16), SHAPE)) == [list(range(10)), list(range(16, 26))]
    assert numbers(first_pictures(numbered(4, 2), SHAPE))[0][:4] == [0, 1, 2, 3]


def test_a_grid_of_another_shape_does_not_crash() -> None:
    for size in ((1, 1), (5, 300), (300, 5), (4, 9)):
        for lay_out in (squarish, first_pictures):
            assert lay_out(Image.new("RGB", size), SHAPE).width
