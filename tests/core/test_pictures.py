from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganloom.core.pictures import GAP, grid, save_png, to_float, to_uint8


@pytest.mark.parametrize(
    ("value", "level"),
    [(-1.0, 0), (1.0, 255), (-1.5, 0), (7.0, 255), (100.6 / 127.5 - 1, 101), (100.4 / 127.5 - 1, 100), (0.999, 255)],
)
def test_a_value_is_rounded_and_clamped_to_its_level(value: float, level: int) -> None:
    for dtype in (torch.float32, torch.float64):
        result = to_uint8(torch.full((1, 1, 2, 2), value, dtype=dtype))
        assert result.dtype == torch.uint8
        assert result.unique().tolist() == [level]


def test_every_level_survives_the_way_to_float_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    values = to_float(levels)
    assert (values.dtype, values.min(), values.max()) == (torch.float32, -1.0, 1.0)
    assert torch.equal(to_uint8(values), levels)
    assert levels.flatten().tolist() == list(range(256))  # the input is not changed


def test_half_precision_is_read_before_it_is_scaled() -> None:
    half = torch.linspace(-1, 1, 1000).bfloat16()
    assert torch.equal(to_uint8(half), to_uint8(half.float()))


@pytest.mark.parametrize(
    ("count", "columns", "rows", "across"),
    [(1, None, 1, 1), (4, None, 2, 2), (5, None, 2, 3), (10, None, 3, 4), (6, 2, 3, 2), (3, 5, 1, 5)],
)
def test_pictures_stand_in_rows_with_a_gap_between_them(
    count: int, columns: int | None, rows: int, across: int
) -> None:
    height, width = 3, 4
    images = torch.arange(1, count + 1, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, height, width)
    sheet = grid(images, columns)
    assert sheet.shape == (3, rows * (height + GAP) + GAP, across * (width + GAP) + GAP)
    for index in range(count):
        top, left = GAP + index // across * (height + GAP), GAP + index % across * (width + GAP)
        assert (sheet[:, top : top + height, left : left + width] == index + 1).all()
        sheet[:, top : top + height, left : left + width] = 255
    assert (sheet == 255).all()  # the gaps, and the places without a picture, are white


def test_the_sheet_under_pictures_with_alpha_is_transparent() -> None:
    sheet = grid(torch.full((1, 4, 2, 2), 9, dtype=torch.uint8))
    assert sheet[:, 0, 0].tolist() == [255, 255, 255, 0]
    assert sheet[:, GAP, GAP].tolist() == [9, 9, 9, 9]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_png_holds_the_very_pixels(tmp_path: Path, channels: int, mode: str) -> None:
    image = torch.randint(0, 256, (channels, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    save_png(tmp_path / "image.png", image)
    with Image.open(tmp_path / "image.png") as read:
        assert read.mode == mode
        assert np.array_equal(np.asarray(read).reshape(5, 7, channels), image.permute(1, 2, 0).numpy())
