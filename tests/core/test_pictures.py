from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganloom.core.errors import ConfigError
from ganloom.core.pictures import (
    GAP,
    enlarged,
    grid,
    picture_format,
    save_picture,
    save_png,
    to_float,
    to_pil,
    to_uint8,
)


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
    [(4, None, 2, 2), (5, None, 2, 3), (10, None, 3, 4), (6, 2, 3, 2), (3, 5, 1, 5)],
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
    sheet = grid(torch.full((2, 4, 2, 2), 9, dtype=torch.uint8))
    assert sheet[:, 0, 0].tolist() == [255, 255, 255, 0]
    assert sheet[:, GAP, GAP].tolist() == [9, 9, 9, 9]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_png_holds_the_very_pixels(tmp_path: Path, channels: int, mode: str) -> None:
    image = torch.randint(0, 256, (channels, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    save_png(tmp_path / "image.png", image)
    with Image.open(tmp_path / "image.png") as read:
        assert read.mode == mode
        assert np.array_equal(np.asarray(read).reshape(5, 7, channels), image.permute(1, 2, 0).numpy())


def test_a_single_picture_has_no_frame() -> None:
    image = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4)
    assert torch.equal(grid(image, padding=9), image[0])


@pytest.mark.parametrize("padding", [0, 1, 7])
def test_padding_is_between_pictures_and_around_them(padding: int) -> None:
    sheet = grid(torch.zeros(4, 1, 3, 4, dtype=torch.uint8), 2, padding=padding)
    assert sheet.shape == (1, 2 * (3 + padding) + padding, 2 * (4 + padding) + padding)
    assert int((sheet == 0).sum()) == 4 * 12


def test_blank_places_stay_white() -> None:
    sheet = grid(torch.full((3, 1, 2, 2), 7, dtype=torch.uint8), 2, padding=0, blank=[1])
    assert sheet[0].tolist() == [[7, 7, 255, 255], [7, 7, 255, 255], [7, 7, 7, 7], [7, 7, 7, 7]]


def test_enlarging_repeats_pixels_and_mixes_none() -> None:
    image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
    assert enlarged(image, 2)[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_a_picture_has_the_format_of_its_suffix(tmp_path: Path, suffix: str, channels: int) -> None:
    image = torch.full((channels, 8, 8), 200, dtype=torch.uint8)
    path = tmp_path / "new" / f"picture{suffix}"
    save_picture(path, to_pil(image))
    with Image.open(path) as written:
        assert written.format == {"jpg": "JPEG", "jpeg": "JPEG"}.get(suffix[1:].lower(), suffix[1:].upper())
        assert written.size == (8, 8)
        exact = np.asarray(written.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
        if written.format != "JPEG":
            assert (exact == 200).all()


@pytest.mark.parametrize("name", ["picture.gif", "picture", "folder/", "picture.png.txt"])
def test_another_suffix_is_refused_with_the_three(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"\.png, \.jpg or \.webp"):
        save_picture(tmp_path / name, Image.new("L", (2, 2)))
    assert not list(tmp_path.iterdir())


def test_a_picture_too_large_for_its_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"more than \.webp files can have: write a \.png"):
        save_picture(tmp_path / "wide.webp", Image.new("L", (20_000, 1)))
    with pytest.raises(ConfigError, match="fewer images"):
        grid(torch.zeros(4, 1, 1, 1, dtype=torch.uint8), padding=200_000)


def test_a_picture_without_a_name_is_refused() -> None:
    """As with --out ''."""
    with pytest.raises(ConfigError, match=r"^\. is a folder: name a picture to write, such as grid\.png\.$"):
        picture_format(Path())
