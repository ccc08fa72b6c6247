"""The values of generated images of more than 8 bits are read as those of the real ones: lost contrast is no gain."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import ganloom
from ganloom.core.errors import ConfigError, DataError

COUNT, SIDE = 120, 16


def waves(seed: int, contrast: float = 1.0) -> NDArray[np.float64]:  # [COUNT, SIDE, SIDE], from -1 to 1
    """Smooth grey patterns."""
    y, x = np.mgrid[:SIDE, :SIDE]
    draw = np.random.default_rng(seed)
    a, b = draw.uniform(0.2, 1, (2, COUNT, 1, 1))
    return contrast * np.sin(a * x + b * y + draw.uniform(0, 6, (COUNT, 1, 1)))


def words(images: NDArray[np.float64]) -> NDArray[np.uint16]:
    """A part of 16 bits, as scanners use it."""
    return (20_000 + 9_000 * images).astype(np.uint16)


def floats(images: NDArray[np.float64]) -> NDArray[np.float32]:
    return images.astype(np.float32)


def files(suffix: str) -> Callable[[Path, NDArray[np.generic]], Path]:
    def save(folder: Path, images: NDArray[np.generic]) -> Path:
        folder.mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{index}{suffix}")
        return folder

    return save


def array(path: Path, images: NDArray[np.generic]) -> Path:
    np.save(path.with_suffix(".npy"), images)
    return path.with_suffix(".npy")


def packed(path: Path, images: NDArray[np.generic]) -> Path:
    ganloom.prepare(files(".png")(path.with_name(f"{path.name}-png"), images), path, holdout=0)
    return path


PNG, TIFF = files(".png"), files(".tiff")


def fd(fakes: Path, reals: Path) -> ganloom.Score:
    return ganloom.evaluate(fakes, reals, metrics="fd", device="cpu")[0]


@pytest.mark.parametrize(
    ("values", "save_reals", "save_fakes"),
    [
        (words, PNG, PNG),
        (words, PNG, TIFF),
        (words, TIFF, array),
        (words, packed, PNG),
        (floats, TIFF, TIFF),
        (floats, array, array),
        (lambda images: 0.2 * floats(images), array, array),  # no range says which values are black and white
    ],
    ids=["png", "png-tiff", "tiff-npy", "packed-png", "float tiff", "float npy", "dark npy"],
)
def test_losing_contrast_is_no_gain(
    tmp_path: Path,
    values: Callable[[NDArray[np.float64]], NDArray[np.generic]],
    save_reals: Callable[[Path, NDArray[np.generic]], Path],
    save_fakes: Callable[[Path, NDArray[np.generic]], Path],
) -> None:
    reals = save_reals(tmp_path / "reals", values(waves(1)))
    same = fd(save_fakes(tmp_path / "same", values(waves(1))), reals)
    flat = fd(save_fakes(tmp_path / "flat", values(waves(1, contrast=0.5))), reals)
    assert flat.value > same.value + 0.1
    assert not same.converted and not flat.converted


def test_faded_colours_are_no_gain(tmp_path: Path) -> None:
    """Of floats from -1 to 1, those that no longer go below 0 would be read as 0 to 1."""
    colours = floats(waves(1))[..., None].repeat(3, -1) * np.float32([1, 0.9, 0.8])
    reals = array(tmp_path / "reals", colours)
    assert fd(array(tmp_path / "same", colours), reals).value < 0.1
    with pytest.raises(DataError, match="cannot be told from the real ones"):
        fd(array(tmp_path / "faded", colours / 2 + np.float32(0.5)), reals)


@pytest.mark.parametrize(
    ("reals", "fakes", "said"),
    [
        (PNG, lambda path, waves: PNG(path, (127.5 + 127.5 * waves).astype(np.uint8)), "of 8 bits"),
        (None, lambda path, waves: PNG(path, (32767 + 32767 * waves).astype(np.uint16)), "of 16 bits from 0 to 65535"),
        (None, lambda path, waves: array(path, floats(waves)), "of floats from -1 to 1"),
    ],
    ids=["8 bits", "16 bits", "floats"],
)
def test_another_depth_is_read_by_the_range_of_its_type(
    tmp_path: Path,
    reals: Callable[[Path, NDArray[np.generic]], Path] | None,
    fakes: Callable[[Path, NDArray[np.float64]], Path],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    real = PNG(tmp_path / "reals", words(waves(1)) if reals else (127.5 + 127.5 * waves(1)).astype(np.uint8))
    score = fd(fakes(tmp_path / "fakes", waves(1)), real)
    assert score.converted == f"{said}, compared as 16x16 grey"
    assert score.value < 0.5 < fd(fakes(tmp_path / "flat", waves(1, contrast=0.6)), real).value
    assert f"the generated images are {said}" in caplog.text


def test_values_without_a_known_range_are_refused(tmp_path: Path) -> None:
    bytes_ = PNG(tmp_path / "reals", (127.5 + 127.5 * waves(1)).astype(np.uint8))
    dim = array(tmp_path / "dim", 0.2 * floats(waves(2)))
    with pytest.raises(DataError, match=r"which values of the generated images \(dim\) .* Save both alike, or with 8"):
        fd(dim, bytes_)
    with pytest.raises(DataError, match="cannot be told"):  # packed with a window of their own
        fd(packed(tmp_path / "packed", words(waves(2, contrast=0.5))), PNG(tmp_path / "deep", words(waves(1))))


def test_transparency_over_white_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    grey = (127.5 + 127.5 * waves(1)).astype(np.uint8)
    opaque = np.stack([grey] * 3, -1)
    faint = np.concatenate([opaque, grey[..., None]], -1)
    assert fd(PNG(tmp_path / "fakes", faint), PNG(tmp_path / "reals", opaque)).converted == (
        "transparent (laid over white), compared as 16x16 grey"
    )
    assert "the generated images are transparent (laid over white)" in caplog.text
    assert not fd(PNG(tmp_path / "also", faint), PNG(tmp_path / "real", faint)).converted


def test_images_that_cannot_be_used_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    images = (127.5 + 127.5 * waves(1)).astype(np.uint8)
    folders = [PNG(tmp_path / name, images) for name in ("fakes", "reals")]
    (folders[0] / "0.png").write_bytes(b"no image")
    (folders[1] / "1.png").write_bytes(b"no image")
    (folders[1] / "2.png").write_bytes(b"no image")
    score = fd(*folders)
    assert score.converted == (
        "without 1 generated image that cannot be used; without 2 real images that cannot be used"
    )
    assert "skipped   1 generated image, listed with reasons in" in caplog.text
    assert "skipped   2 real images, listed with reasons in" in caplog.text


def test_a_size_that_no_network_makes_is_refused(tmp_path: Path) -> None:
    reals = PNG(tmp_path / "reals", words(waves(1)))
    with pytest.raises(ConfigError, match=r"size=100000 is more than any network makes: give at most 1024"):
        ganloom.evaluate(reals, reals, metrics="fd", size=100_000, device="cpu")
