import csv
import errno
import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError, StorageError
from ganloom.core.shapes import ImageShape
from ganloom.data import prepare as room
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, cache_folder, prepare
from ganloom.data.sources import find


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is prepared in a test is prepared for the first time."""
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    array = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return array[..., 0] if channels == 1 else array


def save(path: Path, image: NDArray[Any] | Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def fill(folder: Path, count: int, size: tuple[int, int] = (4, 5)) -> Path:
    for index in range(count):
        save(folder / f"{index:03}.png", noise(*size, seed=index))
    return folder


def prepared(folder: Path, size: tuple[int, int] | None = None, channels: int | None = None) -> PackedDataset:
    return prepare(find(str(folder)), Preprocessing(size, channels))


def rows(dataset: PackedDataset, split: str = "train") -> NDArray[np.uint8]:
    return dataset.images(np.arange(dataset.count(split)), split)


def skipped(dataset: PackedDataset) -> list[list[str]]:
    with open(dataset.path / "skipped.csv", newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def encoded(image: NDArray[Any], format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=format)
    return buffer.getvalue()


# Decoding


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.webp"])
@pytest.mark.parametrize("size", [None, (6, 9)])
def test_an_image_of_the_right_size_is_packed_to_the_pixel(
    tmp_path: Path, name: str, size: tuple[int, int] | None
) -> None:
    image = noise(6, 9)
    save(tmp_path / "in" / name, image, **({"lossless": True} if name == "a.webp" else {}))
    dataset = prepared(tmp_path / "in", size)
    assert dataset.shape == ImageShape(3, 6, 9)
    assert np.array_equal(rows(dataset), image[None])


UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_an_image_is_turned_upright_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = noise(4, 6)
    save(tmp_path / "in" / "a.png", image, exif=exif)
    assert np.array_equal(rows(prepared(tmp_path / "in"))[0], UPRIGHT[orientation](image))


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    image = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    save(tmp_path / "in" / "a.png", image)
    assert rows(prepared(tmp_path / "in")).tolist() == [[[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]]


def test_grey_with_alpha_becomes_grey_on_white(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8)))
    assert rows(prepared(tmp_path / "in")).tolist() == [[[[10], [255]]]]


def test_alpha_is_kept_to_the_bit_when_four_channels_are_asked_for(tmp_path: Path) -> None:
    image = noise(5, 6, 4)
    save(tmp_path / "in" / "a.png", image)
    dataset = prepared(tmp_path / "in", channels=4)
    assert dataset.shape == ImageShape(4, 5, 6)
    assert np.array_equal(rows(dataset)[0], image)


def palette_image() -> Image.Image:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 128, 0, 7, 8, 9])
    return image


@pytest.mark.parametrize(
    ("name", "options", "first"),
    [
        ("a.png", {}, [255, 0, 0]),
        ("a.gif", {}, [255, 0, 0]),
        ("a.png", {"transparency": 0}, [255, 255, 255]),
        ("a.png", {"transparency": b"\x00\xff\xff"}, [255, 255, 255]),
    ],
)
def test_a_palette_gives_its_colours_and_its_transparent_one_white(
    tmp_path: Path, name: str, options: dict[str, Any], first: list[int]
) -> None:
    save(tmp_path / "in" / name, palette_image(), **options)
    assert rows(prepared(tmp_path / "in"))[0, 0].tolist() == [first, [0, 128, 0], [7, 8, 9]]


def test_cmyk_is_read_as_colours(tmp_path: Path) -> None:
    inks = np.array([[[255, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 255], [0, 255, 255, 0]]], np.uint8)
    save(tmp_path / "in" / "a.tif", Image.frombytes("CMYK", (4, 1), inks.tobytes()))
    assert rows(prepared(tmp_path / "in"))[0, 0].tolist() == [[0, 255, 255], [255] * 3, [0] * 3, [255, 0, 0]]


def test_black_and_white_of_one_bit_is_grey(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", np.array([[True, False]]))
    assert rows(prepared(tmp_path / "in")).tolist() == [[[[255], [0]]]]


@pytest.mark.parametrize(
    ("name", "deep"),
    [
        ("deep.png", np.full((4, 5), 40_000, np.uint16)),
        ("deep.tif", np.full((4, 5), 40_000, np.int32)),
        ("deep.tiff", np.full((4, 5), 400.0, np.float32)),
    ],
)
def test_more_than_8_bits_are_passed_over_with_a_reason_and_never_saturated(
    tmp_path: Path, name: str, deep: NDArray[Any]
) -> None:
    folder = fill(tmp_path / "in", 30)
    save(folder / name, deep)
    dataset = prepared(folder)
    assert dataset.count() == 30
    ((file, reason),) = skipped(dataset)[1:]
    assert file == name
    assert reason.startswith("has more than 8 bits a channel")
    assert reason.endswith("convert it to 8 bits first")


# Size


def test_a_larger_image_is_cropped_at_its_centre(tmp_path: Path) -> None:
    image = noise(4, 10)
    save(tmp_path / "in" / "a.png", image)
    save(tmp_path / "in" / "b.png", image.swapaxes(0, 1))
    wide, tall = rows(prepared(tmp_path / "in", (4, 4)))
    assert np.array_equal(wide, image[:, 3:7])
    assert np.array_equal(tall, image[:, 3:7].swapaxes(0, 1))


def test_shrinking_averages_pixels_and_skips_none(tmp_path: Path) -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    save(tmp_path / "in" / "a.png", board)
    small = rows(prepared(tmp_path / "in", (8, 8)))[0]
    assert np.abs(small.astype(int) - 127).max() <= 10


def test_a_size_need_not_be_square(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 2, (12, 20))
    dataset = prepared(folder, (6, 10))
    assert dataset.shape == ImageShape(3, 6, 10)
    assert rows(dataset).shape == (2, 6, 10, 3)


def test_images_of_different_sizes_are_refused_until_a_size_is_chosen(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 3)
    save(folder / "003.png", noise(7, 8))
    with pytest.raises(DataError, match=r"003\.png is 7x8 where the images before it are 4x5: .* with --size"):
        prepared(folder)
    assert rows(prepared(folder, (4, 4))).shape == (4, 4, 4, 3)


# Channels


def test_grey_images_are_packed_grey_however_they_are_stored(tmp_path: Path) -> None:
    grey = [noise(4, 5, 1, seed=index) for index in range(4)]
    for index, image in enumerate(grey):
        save(tmp_path / "in" / f"{index}.png", image if index % 2 else np.stack([image] * 3, axis=2))
    dataset = prepared(tmp_path / "in")
    assert dataset.shape == ImageShape(1, 4, 5)
    assert np.array_equal(rows(dataset)[..., 0], np.stack(grey))


@pytest.mark.parametrize("place", [0, 1, 3])
def test_one_coloured_image_makes_all_of_them_colour(tmp_path: Path, place: int) -> None:
    grey = noise(4, 5, 1)
    colour = np.stack([grey] * 3, axis=2)
    colour[2, 3, 2] ^= 1  # one pixel, by one level
    for index in range(4):
        save(tmp_path / "in" / f"{index}.png", colour if index == place else grey)
    dataset = prepared(tmp_path / "in")
    assert dataset.shape == ImageShape(3, 4, 5)
    assert np.array_equal(rows(dataset)[place], colour)
    assert all(np.array_equal(row, np.stack([grey] * 3, axis=2)) for i, row in enumerate(rows(dataset)) if i != place)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("stored", [1, 3])
def test_the_channels_asked_for_are_packed(tmp_path: Path, stored: int, channels: int) -> None:
    image = noise(4, 5, stored)
    save(tmp_path / "in" / "a.png", image)
    dataset = prepared(tmp_path / "in", channels=channels)
    assert dataset.shape == ImageShape(channels, 4, 5)
    expected = np.asarray(Image.fromarray(image).convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
    assert np.array_equal(rows(dataset)[0], expected.reshape(4, 5, channels))


# Faults


BAD = {
    "empty": b"",
    "text": b"this is no image",
    "png cut short": encoded(noise(40, 50), "PNG")[:-2000],
    "png header alone": encoded(noise(40, 50), "PNG")[:20],
    "jpeg cut short": encoded(noise(40, 50), "JPEG")[:-1000],
    "gif cut short": encoded(noise(40, 50, 1), "GIF")[:-1000],
    "bmp cut short": encoded(noise(40, 50), "BMP")[:-1000],
}


@pytest.mark.parametrize("fault", BAD)
def test_a_file_that_cannot_be_read_is_passed_over_and_listed_with_the_reason(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "in"
    for index in range(40):  # class by index, and brightness by class
        save(folder / "ab"[index % 2] / f"{index:02}.png", np.full((4, 5), index % 2 * 100 + 7, np.uint8))
    (folder / "a" / "000.png").write_bytes(BAD[fault])
    dataset = prepared(folder)
    assert skipped(dataset)[0] == ["file", "reason"]
    ((file, reason),) = skipped(dataset)[1:]
    assert file == "a/000.png"
    assert reason.startswith("cannot be read: ")
    assert (dataset.count(), dataset.description.skipped) == (40, 1)
    labels = dataset.labels(np.arange(40))
    assert rows(dataset)[:, 0, 0, 0].tolist() == (labels * 100 + 7).tolist()  # each label stands by its image still


def test_as_many_as_one_in_twenty_may_be_unreadable_and_no_more(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 38)
    (folder / "bad1.png").touch()
    (folder / "bad2.png").touch()
    assert prepared(folder).description.skipped == 2
    (folder / "000.png").write_text("no image any more")
    with pytest.raises(DataError, match=r"3 of 40 images cannot be used; the first, 000\.png, cannot be read.* 5%"):
        prepared(folder)


def test_without_a_readable_training_image_it_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "in" / "val", 40)
    (tmp_path / "in" / "train").mkdir()
    (tmp_path / "in" / "train" / "0.png").touch()
    with pytest.raises(DataError, match="no training image of in could be read"):
        prepared(tmp_path / "in")


def test_a_refused_preparation_leaves_nothing_that_could_be_taken_for_a_dataset(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 3)
    (folder / "bad.png").touch()
    with pytest.raises(DataError):
        prepared(folder)
    assert [path.name for path in cache_folder().iterdir() if path.is_dir()] == []


# Splits


def test_training_rows_stand_first_then_validation_then_test(tmp_path: Path) -> None:
    folder, levels = tmp_path / "in", {"test": [1, 2], "train": [3, 4, 5], "validation": [6]}
    for split, values in levels.items():
        for value in values:
            save(folder / split / f"{value}.png", np.full((2, 2), value, np.uint8))
    dataset = prepared(folder)
    assert dataset.description.splits == {"train": (0, 3), "val": (3, 4), "test": (4, 6)}
    found = {split: rows(dataset, split)[:, 0, 0, 0].tolist() for split in ("train", "val", "test")}
    assert found == {"train": [3, 4, 5], "val": [6], "test": [1, 2]}


# The cache


def break_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> None:
        raise AssertionError("an image was decoded again")

    monkeypatch.setattr(room, "decode", fail)


def test_what_is_prepared_is_not_prepared_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "in", 3)
    first = prepared(folder)
    break_decoding(monkeypatch)
    assert prepared(folder) == first
    with pytest.raises(AssertionError, match="decoded again"):
        prepared(folder, (2, 2))


def touch(folder: Path) -> None:
    status = (folder / "001.png").stat()
    os.utime(folder / "001.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def grow(folder: Path) -> None:
    status = (folder / "001.png").stat()
    with open(folder / "001.png", "ab") as file:
        file.write(b"\0")
    os.utime(folder / "001.png", ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "another time": touch,
    "another size": grow,
    "one more": lambda folder: save(folder / "new.png", noise(4, 5)),
    "one less": lambda folder: (folder / "001.png").unlink(),
    "another name": lambda folder: (folder / "001.png").rename(folder / "005.png"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_images_that_changed_are_prepared_again(tmp_path: Path, change: str) -> None:
    folder = fill(tmp_path / "in", 3)
    first = prepared(folder)
    CHANGES[change](folder)
    assert prepared(folder).path != first.path


@pytest.mark.parametrize("other", [Preprocessing((4, 5), None), Preprocessing(None, 3), Preprocessing((5, 4), None)])
def test_another_preprocessing_is_another_dataset(tmp_path: Path, other: Preprocessing) -> None:
    source = find(str(fill(tmp_path / "in", 2)))
    assert prepare(source, other).path != prepare(source, Preprocessing(None, None)).path


def test_the_content_hash_is_that_of_the_images_wherever_they_lie(tmp_path: Path) -> None:
    first = prepared(fill(tmp_path / "one", 5))
    other = prepared(fill(tmp_path / "another", 5))
    assert first.path != other.path
    assert first.description.content_hash == other.description.content_hash


def test_the_content_hash_knows_a_pixel_a_class_and_a_split(tmp_path: Path) -> None:
    for name in ("same", "pixel", "class", "label", "split"):
        fill(tmp_path / name / "train" / "a", 3)
        fill(tmp_path / name / "train" / "b", 3)
    image = noise(4, 5, seed=2)
    image[3, 4, 1] ^= 1
    save(tmp_path / "pixel" / "train" / "b" / "002.png", image)
    (tmp_path / "class" / "train" / "a").rename(tmp_path / "class" / "train" / "aa")
    save(tmp_path / "label" / "train" / "a" / "003.png", noise(4, 5, seed=0))
    (tmp_path / "label" / "train" / "b" / "000.png").unlink()  # the same rows, one of them of the other class
    (tmp_path / "split" / "val" / "b").mkdir(parents=True)
    (tmp_path / "split" / "train" / "b" / "002.png").rename(tmp_path / "split" / "val" / "b" / "002.png")
    datasets = {name: prepared(tmp_path / name) for name in ("same", "pixel", "class", "label", "split")}
    assert len({dataset.description.content_hash for dataset in datasets.values()}) == 5
    assert np.array_equal(rows(datasets["same"]), rows(datasets["label"]))


KILLED = """
import os, sys
from ganloom.data import prepare
from ganloom.data.sources import find
prepare._content_hash = lambda *given: os._exit(9)  # all images are packed, all but dataset.json is written
prepare.prepare(find(sys.argv[1]), prepare.Preprocessing(None, None))
"""


def test_what_a_kill_left_behind_is_not_taken_for_a_dataset(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 5)
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False).returncode == 9
    left = [path for path in cache_folder().iterdir() if path.is_dir()]
    assert len(left) == 1
    (left[0] / "images-00099.npy").write_text("of another time")
    dataset = prepared(folder)
    assert np.array_equal(rows(dataset), np.stack([noise(4, 5, seed=index) for index in range(5)]))
    assert [path for path in cache_folder().iterdir() if path.is_dir()] == [dataset.path]
    assert {path.name for path in dataset.path.iterdir()} == {"dataset.json", "images-00000.npy", "files.jsonl"}


def test_of_several_that_ask_at_once_one_prepares_and_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, results, packed = fill(tmp_path / "in", 3), [], []
    other = threading.Thread(target=lambda: results.append(prepared(folder)))
    real = room._pack

    def pack(*given: Any) -> None:
        packed.append(given)
        if len(packed) == 1:
            other.start()  # asks while the first is at it
        real(*given)

    monkeypatch.setattr(room, "_pack", pack)
    first = prepared(folder)
    other.join()
    assert results == [first]
    assert len(packed) == 1


def test_a_dataset_that_was_deleted_is_made_anew(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 3)
    first = prepared(folder)
    before = rows(first)
    shutil.rmtree(first.path)
    assert np.array_equal(rows(prepared(folder)), before)


def test_a_full_disk_is_said_with_the_remedy_and_leaves_no_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = fill(tmp_path / "in", 3)
    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        with pytest.raises(StorageError, match="no room left"):
            prepared(folder)
    assert prepared(folder).count() == 3


def test_a_cache_that_cannot_be_written_is_said_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"cannot write .*file: .*GANLOOM_CACHE"):
        prepared(fill(tmp_path / "in", 1))


def test_progress_is_told_of_all_images(tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.zeros((250, 1, 1), np.uint8))
    told: list[tuple[int, int]] = []
    prepare(find(str(tmp_path / "many.npy")), Preprocessing(None, None), lambda done, total: told.append((done, total)))
    assert told == [(100, 250), (200, 250)]


@pytest.mark.parametrize(
    ("own", "xdg", "folder"),
    [
        ("/own", "/xdg", "/own"),
        ("~/own", "/xdg", "/home/u/own"),
        (None, "/xdg", "/xdg/ganloom"),
        (None, None, "/home/u/.cache/ganloom"),
        ("", "", "/home/u/.cache/ganloom"),
    ],
)
def test_the_cache_lies_where_the_user_says_or_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, own: str | None, xdg: str | None, folder: str
) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    for name, value in (("GANLOOM_CACHE", own), ("XDG_CACHE_HOME", xdg)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)
