"""Images of more than 8 bits are mapped to 0..255 by one window per dataset, which keeps the order of values."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import encoded, labels, noise, packed_by_name, pictures, prepared, rows, skipped, write
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data import window
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find

FULL = Preprocessing(window=(0.0, 65535.0))
RAMP = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)


@pytest.mark.parametrize(("name", "format"), [("a.png", "PNG"), ("a.tif", "TIFF")])
def test_a_ramp_of_16_bits_keeps_its_order_and_range(tmp_path: Path, name: str, format: str) -> None:
    write(tmp_path / "in" / name, encoded(RAMP, format))
    with Image.open(tmp_path / "in" / name) as image:
        naive = np.asarray(image.convert("L"))
    assert (naive == 255).mean() > 0.95  # a plain `convert` makes it white
    for preprocessing in (FULL, Preprocessing()):
        made = rows(prepared(tmp_path / "in", tmp_path / str(preprocessing.window), preprocessing))[0, ..., 0]
        assert (np.diff(made.ravel().astype(int)) >= 0).all()
        assert np.array_equal(np.unique(made), np.arange(256))
    assert np.array_equal(rows(prepared(tmp_path / "in", tmp_path / "exact", FULL))[0, ..., 0], np.round(RAMP / 257))


def test_a_ramp_is_resized_before_it_is_rounded(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png", encoded(RAMP))
    how = Preprocessing((16, 16), window=(20_000.0, 21_000.0))
    values = rows(prepared(tmp_path / "in", tmp_path / "out", how))[0, ..., 0].astype(float)
    scaled = ((RAMP.astype(float) - 20_000) * 255 / 1000).clip(0, 255).astype(np.float32)
    expected = np.asarray(Image.fromarray(scaled).resize((16, 16), Image.Resampling.LANCZOS)).round().clip(0, 255)
    assert np.array_equal(values, expected)


def test_the_ends_of_a_window_become_black_and_white_and_values_outside_are_clipped(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.tif", encoded(np.array([[-2000, -1000, 0, 500, 1000, 5000]], np.int32), "TIFF"))
    dataset = prepared(tmp_path / "in", tmp_path / "out", Preprocessing(window=(-1000.0, 1000.0)))
    assert rows(dataset).ravel().tolist() == [0, 0, 128, 191, 255, 255]
    assert json.loads((dataset.path / "dataset.json").read_text())["window"] == [-1000.0, 1000.0]


def test_scans_of_different_ranges_keep_their_relation(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 32 * 32).reshape(32, 32)
    for name, low, high in (("dark", 100, 1000), ("bright", 2000, 4000)):
        write(tmp_path / "in" / f"{name}.png", encoded((low + values * (high - low)).astype(np.uint16)))
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    low, high = dataset.description.window or (0, 0)
    pooled = np.concatenate([100 + values.ravel() * 900, 2000 + values.ravel() * 2000])
    np.testing.assert_allclose((low, high), np.percentile(pooled, (0.5, 99.5)), atol=10)
    images = packed_by_name(dataset)
    assert images["dark.png"].max() < images["bright.png"].min()  # with one window per image, they would look alike


def test_the_window_is_stated_in_the_description(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png", encoded(RAMP))
    stated = json.loads((prepared(tmp_path / "in", tmp_path / "out").path / "dataset.json").read_text())["window"]
    np.testing.assert_allclose(stated, np.percentile(RAMP, (0.5, 99.5)))


@pytest.mark.parametrize("given", [None, (0.0, 65535.0)])
def test_images_of_8_bits_are_not_windowed(tmp_path: Path, given: Any) -> None:
    image = noise(4, 5, 1) // 4
    write(tmp_path / "in" / "a.png", encoded(image))
    dataset = prepared(tmp_path / "in", tmp_path / "out", Preprocessing(window=given))
    assert np.array_equal(rows(dataset)[0, ..., 0], image)
    assert dataset.description.window is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_picture_with_nan_is_skipped_with_the_reason_and_does_not_change_the_window(
    tmp_path: Path, value: float
) -> None:
    good = np.linspace(0, 1000, 64, dtype=np.float32).reshape(8, 8)
    bad = good.copy()
    bad[3, 3] = value
    write(tmp_path / "in" / "bad.tif", encoded(bad, "TIFF"))
    write(tmp_path / "in" / "good.tif", encoded(good, "TIFF"))
    dataset = prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.5)
    assert skipped(dataset) == {"bad.tif": "has NaN or infinite values"}
    assert np.isfinite(dataset.description.window or ()).all()
    assert np.ptp(rows(dataset)) == 255


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_of_an_array_with_nan_only_the_affected_images_are_skipped(tmp_path: Path, dtype: type, value: float) -> None:
    good = np.linspace(0, 1000, 4 * 64).reshape(4, 8, 8).astype(dtype)
    bad = good.copy()
    bad[2, 3, 3] = value
    np.save(tmp_path / "in.npy", bad)
    np.savez(tmp_path / "in.npz", images=bad)
    for file in ("in.npy", "in.npz"):
        dataset = prepared(tmp_path / file, tmp_path / f"out {file}", max_skipped=0.5)
        assert skipped(dataset) == {"train/2": "has NaN or infinite values"}
        assert np.isfinite(dataset.description.window or ()).all()
        assert dataset.count() == 3 and np.ptp(rows(dataset)) == 255
        with pytest.raises(DataError, match="1 of 4 images cannot be used"):
            prepared(tmp_path / file, tmp_path / f"strict {file}", max_skipped=0.1)


def test_a_value_too_large_for_float32_is_infinite(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.stack([RAMP.astype(np.float64), np.full(RAMP.shape, 1e300)]))
    dataset = prepared(tmp_path / "in.npy", tmp_path / "out", max_skipped=0.5)
    assert skipped(dataset) == {"train/1": "has NaN or infinite values"}


def test_images_of_only_nan_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.full((3, 8, 8), np.nan, np.float32))
    with pytest.raises(DataError, match=r"no training image of in could be used\."):
        prepared(tmp_path / "in.npy", tmp_path / "out", max_skipped=1.0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [0, 1, 700, 65535])
def test_images_of_one_value_are_packed_as_one_value(tmp_path: Path, value: int) -> None:
    for name in "ab":
        write(tmp_path / "in" / f"{name}.png", encoded(np.full((4, 4), value, np.uint16)))
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert len(np.unique(rows(dataset))) == 1
    assert dataset.description.account.duplicates == 1


def test_few_bright_values_among_black_ones_keep_their_order(tmp_path: Path) -> None:
    """Their percentiles are equal, which would be an empty window."""
    image = np.zeros((64, 64), np.uint16)
    image[0, :4] = (1000, 2000, 3000, 4000)
    write(tmp_path / "in" / "stars.png", encoded(image))
    made = rows(prepared(tmp_path / "in", tmp_path / "out"))[0, 0, :5, 0]
    assert made.tolist() == [64, 128, 191, 255, 0]


def test_few_16_bit_images_among_many_others_are_found_for_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "MAX_IMAGES", 4)
    write(tmp_path / "in" / "00-dark.png", encoded(RAMP // 2))  # the first is always examined
    for number in range(20):
        write(tmp_path / "in" / f"{number:02}.png", encoded(noise(64, 64, 1, number)))
    write(tmp_path / "in" / "03-scan.png", encoded(RAMP))
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert np.ptp(packed_by_name(dataset)["03-scan.png"]) == 255
    assert len(np.unique(packed_by_name(dataset)["03-scan.png"])) == 256


def big_endian_tiff(image: NDArray[np.uint16]) -> bytes:
    """Pillow reads it as I;16B."""
    height, width = image.shape
    fields = [(256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    fields += [(278, 3, height), (279, 4, image.size * 2)]
    data = image.astype(">u2").tobytes()
    directory = len(fields).to_bytes(2, "big")
    for tag, kind, value in fields:
        packed = value.to_bytes(2, "big") + b"\0\0" if kind == 3 else value.to_bytes(4, "big")
        directory += tag.to_bytes(2, "big") + kind.to_bytes(2, "big") + (1).to_bytes(4, "big") + packed
    return b"MM\0*" + (8 + len(data)).to_bytes(4, "big") + data + directory + bytes(4)


def test_values_of_either_byte_order_are_the_same(tmp_path: Path) -> None:
    write(tmp_path / "in" / "big.tif", big_endian_tiff(RAMP))
    write(tmp_path / "in" / "little.tif", encoded(RAMP, "TIFF"))
    with Image.open(tmp_path / "in" / "big.tif") as image:
        assert image.mode == "I;16B"
    made = rows(prepared(tmp_path / "in", tmp_path / "out", FULL))
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0, ..., 0], np.round(RAMP / 257))


KINDS = ("<u2", ">u2", "<i2", "<i4", "<f2", "<f4", ">f8")


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_more_than_8_bits_are_windowed(tmp_path: Path, kind: str) -> None:
    values = np.linspace(0, 1000, 2 * 8 * 8).reshape(2, 8, 8).round().astype(kind)
    np.save(tmp_path / "x.npy", values)
    dataset = prepared(tmp_path / "x.npy", tmp_path / "out", Preprocessing(window=(0.0, 1000.0)))
    np.testing.assert_allclose(rows(dataset)[..., 0], np.round(values.astype(float) * 0.255), atol=1)
    by_percentiles = rows(prepared(tmp_path / "x.npy", tmp_path / "percentiles"))[..., 0].ravel()
    assert (by_percentiles[0], by_percentiles[-1]) == (0, 255)
    assert (np.diff(by_percentiles.astype(int)) >= 0).all()


def test_negative_values_are_kept(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.array([[[-1024, 0, 1024]]], np.int16), labels=np.array([0]))
    dataset = prepared(tmp_path / "x.npz", tmp_path / "out", Preprocessing(window=(-1024.0, 1024.0)))
    assert rows(dataset).ravel().tolist() == [0, 128, 255]
    assert labels(dataset) == [0]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_16_bit_image_gets_the_given_channels(tmp_path: Path, channels: Any) -> None:
    write(tmp_path / "in" / "a.png", encoded(RAMP))
    made = rows(prepared(tmp_path / "in", tmp_path / "out", Preprocessing(channels=channels, window=FULL.window)))[0]
    assert made.shape == (64, 64, channels)
    assert np.array_equal(made[..., 0], np.round(RAMP / 257))
    assert channels < 4 or (made[..., 3] == 255).all()


def test_another_window_is_another_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "in" / "a.png", encoded(RAMP))
    keys = {
        prepare(find(str(tmp_path / "in")), Preprocessing(window=given)).description.source_key
        for given in (None, (0.0, 1000.0), (0.0, 1000.001), (0.1, 1000.0))
    }
    assert len(keys) == 4


def test_a_packed_dataset_takes_no_window(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    path = prepared(tmp_path / "in", tmp_path / "out").path
    with pytest.raises(DataError, match="is already packed in 8 bits"):
        prepared(path, tmp_path / "again", Preprocessing(window=(0, 100)))
