"""Pictures are packed as a screen shows them: upright, without halos, in sRGB."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import STORED, encoded, noise, packed_by_name, pictures, prepared, rows, turned, write
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw

from ganloom.core.errors import DataError
from ganloom.data.inspect import look_at_sizes
from ganloom.data.prepare import Preprocessing
from ganloom.data.sources import find

FORMATS = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}


def arrow() -> NDArray[np.uint8]:
    """Black on white in 48 x 32, pointing up and to the left: all of its eight orientations differ."""
    image = Image.new("L", (32, 48), 255)
    ImageDraw.Draw(image).polygon([(2, 2), (20, 2), (2, 40)], fill=0)
    return np.asarray(image)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", STORED)
def test_a_picture_rotated_by_exif_is_upright(tmp_path: Path, orientation: int, format: str) -> None:
    image = arrow()
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](image)))
    write(tmp_path / "in" / "a.png", encoded(stored, format, exif=turned(orientation), **FORMATS[format]))
    assert look_at_sizes(find(str(tmp_path / "in"))).common == (48, 32)
    made = rows(prepared(tmp_path / "in", tmp_path / "out"))[0, ..., 0]
    assert made.shape == image.shape
    assert np.abs(made.astype(int) - image).max() <= (20 if format == "JPEG" else 0)
    small = rows(prepared(tmp_path / "in", tmp_path / "small", Preprocessing((24, 16))))[0, ..., 0]
    assert np.abs(small.astype(int) - np.asarray(Image.fromarray(image).resize((16, 24), 3))).mean() < 8


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate"])
@pytest.mark.parametrize("frames", [1, 2])
def test_a_tiff_is_rotated_once_with_any_compression(tmp_path: Path, compression: str, frames: int) -> None:
    image = arrow()
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](image)))
    more: dict[str, Any] = {"save_all": True, "append_images": [stored]} if frames > 1 else {}
    write(tmp_path / "in" / "a.tif", encoded(stored, "TIFF", exif=turned(6), compression=compression, **more))
    assert np.array_equal(rows(prepared(tmp_path / "in", tmp_path / "out"))[0, ..., 0], image)


@pytest.mark.parametrize("value", [0, 9, 77, 65535])
def test_an_invalid_orientation_is_ignored(tmp_path: Path, value: int) -> None:
    write(tmp_path / "in" / "a.png", encoded(arrow(), exif=turned(value)))
    assert np.array_equal(rows(prepared(tmp_path / "in", tmp_path / "out"))[0, ..., 0], arrow())


# Alpha


def logo() -> NDArray[np.uint8]:
    """A red disc on a transparent background, stored as transparent black, like most programs do."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((8, 8, 55, 55), fill=(255, 0, 0, 255))
    return np.asarray(image)


def test_a_logo_over_white_has_no_dark_halo(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png", encoded(logo()))
    made = rows(prepared(tmp_path / "in", tmp_path / "out", Preprocessing((16, 16))))[0].astype(int)
    naive = np.asarray(Image.fromarray(logo()).convert("RGB").resize((16, 16), Image.Resampling.LANCZOS)).astype(int)
    assert naive[..., 0].min() == 0  # a plain `convert` gives a disc on black
    assert made[..., 0].min() >= 253  # red on white has full red everywhere
    assert np.array_equal(made[0, 0], [255, 255, 255])
    assert np.array_equal(made[8, 8], [255, 0, 0])


@pytest.mark.parametrize("resize", ["crop", "stretch", "fit"])
def test_a_logo_with_its_alpha_kept_has_no_dark_halo(tmp_path: Path, resize: Any) -> None:
    write(tmp_path / "in" / "a.png", encoded(logo()))
    how = Preprocessing((16, 16), channels=4, resize=resize)
    made = rows(prepared(tmp_path / "in", tmp_path / "out", how))[0].astype(int)
    alpha = made[..., 3]
    assert alpha[0, 0] == 0 and alpha[8, 8] == 255
    edge = (alpha > 20) & (alpha < 255)
    assert edge.sum() > 10
    # If the four channels were resized independently, red at the edge would be as dark as it is transparent.
    assert made[..., 0][edge].min() >= 240
    assert made[..., 1:3][edge].max() <= 15


def test_a_picture_fitted_into_four_channels_has_a_transparent_background(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png", encoded(noise(8, 16, 4)))
    made = rows(prepared(tmp_path / "in", tmp_path / "out", Preprocessing((16, 16), channels=4, resize="fit")))[0]
    assert not made[:4].any() and not made[12:].any()
    assert np.array_equal(made[4:12], noise(8, 16, 4))


# Colour profiles


def profile(gamma: float, description: bytes, swap: bool = False) -> bytes:
    """A small ICC profile: the primaries of sRGB (red and blue exchanged, if wanted) with a plain gamma."""
    columns = [(0.4360657, 0.2224884, 0.0139160), (0.3851471, 0.7168732, 0.0970764), (0.1430664, 0.0606079, 0.7140961)]
    if swap:
        columns.reverse()

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", len(description) + 1) + description + bytes(1 + 4 + 4 + 2 + 1 + 67)
    tags = {
        b"desc": text + bytes(-len(text) % 4),
        b"wtpt": xyz((0.9642029, 1.0, 0.8249054)),
        b"cprt": b"text\0\0\0\0x\0\0\0",
    }
    tags |= {name: xyz(values) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    place = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", place + len(data), len(content))
        data += content
    header = bytearray(128)
    header[8:24] = b"\2\x20\0\0mntrRGB XYZ "
    header[36:40] = b"acsp"
    header[68:80] = b"".join(map(fixed, (0.9642029, 1.0, 0.8249054)))
    header[:4] = struct.pack(">I", 128 + len(table) + len(data))
    return bytes(header) + table + data


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREYS = np.dstack([np.tile(np.arange(256, dtype=np.uint8), (4, 1))] * 3)


def with_profile(folder: Path, image: NDArray[np.uint8], icc: bytes, channels: Any = None) -> NDArray[np.uint8]:
    write(folder / "in" / "a.png", encoded(image, icc_profile=icc))
    return rows(prepared(folder / "in", folder / "out", Preprocessing(channels=channels)))[0]


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    image = noise(16, 16)
    assert np.array_equal(with_profile(tmp_path, image, SRGB), image)


def srgb_of(linear: NDArray[Any]) -> NDArray[Any]:
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("description", [b"Mine", b"GIMP built-in Linear sRGB", b"sRGB-elle-V2-g10.icc"])
def test_another_gamma_is_converted_to_srgb(tmp_path: Path, gamma: float, description: bytes) -> None:
    made = with_profile(tmp_path, GREYS, profile(gamma, description))[0, :, 0].astype(float)
    np.testing.assert_allclose(made, srgb_of((np.arange(256) / 255) ** gamma), atol=3)


def test_other_primaries_are_converted_to_srgb(tmp_path: Path) -> None:
    image = noise(16, 16)
    made = with_profile(tmp_path, image, profile(2.2, b"red is blue", swap=True))
    assert np.abs(made.astype(int) - image[..., ::-1]).mean() < 4
    assert np.abs(made.astype(int) - image).mean() > 40


def test_a_profile_leaves_alpha_as_it_is(tmp_path: Path) -> None:
    image = noise(16, 16, 4)
    image[..., 3] |= 1
    made = with_profile(tmp_path, image, profile(1.0, b"Mine"), 4)
    assert np.array_equal(made[..., 3], image[..., 3])
    assert np.abs(made[..., :3].astype(int) - srgb_of(image[..., :3] / 255)).max() <= 3


@pytest.mark.parametrize(
    "icc",
    [
        b"",
        b"nonsense",
        bytes(1000),
        SRGB[:200],
        SRGB[:-300],
        SRGB[:36] + b"nope" + SRGB[40:],
        profile(1.0, b"Mine")[:140],
    ],
)
def test_a_broken_profile_is_ignored(tmp_path: Path, icc: bytes) -> None:
    image = noise(16, 16)
    assert np.array_equal(with_profile(tmp_path, image, icc), image)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "I;16"])
def test_a_profile_for_another_mode_is_ignored(tmp_path: Path, mode: str) -> None:
    grey = noise(8, 8, 1)
    image = Image.fromarray(grey).convert(mode) if mode != "I;16" else Image.fromarray(grey.astype(np.uint16))
    cmyk_or_lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    write(tmp_path / "in" / "plain.png", encoded(image))
    write(tmp_path / "in" / "profiled.png", encoded(image, icc_profile=cmyk_or_lab))
    images = packed_by_name(prepared(tmp_path / "in", tmp_path / "out"))
    assert np.array_equal(images["plain.png"], images["profiled.png"])


def test_many_threads_with_one_profile_give_one_result(tmp_path: Path) -> None:
    image = noise(64, 64)
    for number in range(40):
        write(tmp_path / "in" / f"{number}.png", encoded(image, icc_profile=profile(1.0, b"Mine")))
    made = rows(prepared(tmp_path / "in", tmp_path / "out", workers=8))
    assert (made == made[:1]).all()


def test_extreme_shapes_are_resized_or_refused_with_a_message(tmp_path: Path) -> None:
    for number, shape in enumerate([(1, 5000), (5000, 1), (1, 1)]):
        write(tmp_path / "in" / f"{number}.png", encoded(np.full(shape, 100, np.uint8)))
    for resize in ("crop", "fit", "stretch"):
        how: Any = Preprocessing((32, 48), resize=resize)
        assert rows(prepared(tmp_path / "in", tmp_path / resize, how)).shape == (3, 32, 48, 1)
    with pytest.raises(DataError, match="choose one size"):
        prepared(pictures(tmp_path / "in", "more.png"), tmp_path / "out")
