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
from making import pictures
from numpy.typing import NDArray
from packing import ALL, pack_all
from PIL import Image

from ganloom.core.errors import DataError, StorageError
from ganloom.core.files import cache_folder
from ganloom.core.shapes import ImageShape
from ganloom.data import prepare as room
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.rows import Rows
from ganloom.data.sources import find


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts with an empty cache."""
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


def rows(dataset: PackedDataset, split: str = "train") -> NDArray[np.uint8]:
    return dataset.images(np.arange(dataset.count(split)), split)


def datasets_in_the_cache() -> list[Path]:
    """Complete or not."""
    return [path for path in cache_folder().iterdir() if path.is_dir() and path.name not in ("locks", "verified")]


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
def test_an_image_of_the_right_size_is_packed_exactly(tmp_path: Path, name: str, size: tuple[int, int] | None) -> None:
    image = noise(6, 9)
    save(tmp_path / "in" / name, image, **({"lossless": True} if name == "a.webp" else {}))
    dataset = pack_all(tmp_path / "in", size)
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
    assert np.array_equal(rows(pack_all(tmp_path / "in"))[0], UPRIGHT[orientation](image))


def test_transparency_becomes_white(tmp_path: Path) -> None:
    image = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    save(tmp_path / "in" / "a.png", image)
    assert rows(pack_all(tmp_path / "in")).tolist() == [[[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]]


def test_grey_with_alpha_becomes_grey_on_white(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8)))
    assert rows(pack_all(tmp_path / "in")).tolist() == [[[[10], [255]]]]


def test_alpha_is_kept_exactly_with_four_channels(tmp_path: Path) -> None:
    image = noise(5, 6, 4)
    save(tmp_path / "in" / "a.png", image)
    dataset = pack_all(tmp_path / "in", channels=4)
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
    assert rows(pack_all(tmp_path / "in"))[0, 0].tolist() == [first, [0, 128, 0], [7, 8, 9]]


def test_cmyk_is_read_as_colours(tmp_path: Path) -> None:
    inks = np.array([[[255, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 255], [0, 255, 255, 0]]], np.uint8)
    save(tmp_path / "in" / "a.tif", Image.frombytes("CMYK", (4, 1), inks.tobytes()))
    assert rows(pack_all(tmp_path / "in"))[0, 0].tolist() == [[0, 255, 255], [255] * 3, [0] * 3, [255, 0, 0]]


def test_black_and_white_of_one_bit_is_grey(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", np.array([[True, False]]))
    assert rows(pack_all(tmp_path / "in")).tolist() == [[[[255], [0]]]]


RAMP = np.linspace(0, 1, 256).reshape(16, 16)
DEEP = {
    "a.png": (30_000 + RAMP * 2_000).astype(np.uint16),
    "a.tif": (RAMP * 2e6 - 1e6).astype(np.int32),
    "a.tiff": (RAMP * 0.02).astype(np.float32),
}


@pytest.mark.parametrize("name", DEEP)
def test_more_than_8_bits_are_windowed_and_never_saturated(tmp_path: Path, name: str) -> None:
    save(tmp_path / "in" / name, DEEP[name])
    dataset = pack_all(tmp_path / "in")
    levels = rows(dataset)[0].ravel().astype(int)
    assert dataset.shape == ImageShape(1, 16, 16)
    assert (levels[0], levels[-1]) == (0, 255)
    assert (np.diff(levels) >= 0).all() and len(set(levels.tolist())) > 240
    low, high = dataset.description.window or (0, 0)
    assert DEEP[name].min() <= low < high <= DEEP[name].max()


@pytest.mark.parametrize("name", DEEP)
def test_a_given_window_becomes_black_and_white(tmp_path: Path, name: str) -> None:
    save(tmp_path / "in" / name, DEEP[name])
    low, high = float(DEEP[name].ravel()[50]), float(DEEP[name].ravel()[200])
    dataset = prepare(find(str(tmp_path / "in")), Preprocessing(window=(low, high)), ALL)
    levels = rows(dataset)[0].ravel()
    assert set(levels[:51].tolist()) == {0} and set(levels[200:].tolist()) == {255}
    assert np.abs(levels[51:200] - np.linspace(0, 255, 151)[1:150]).max() <= 1
    assert dataset.description.window == (low, high)


def test_8_bits_have_no_window(tmp_path: Path) -> None:
    dataset = prepare(find(str(fill(tmp_path / "in", 1))), Preprocessing(window=(5, 6)), ALL)
    assert np.array_equal(rows(dataset)[0], noise(4, 5))
    assert dataset.description.window is None


# Size


def test_a_larger_image_is_cropped_at_its_centre(tmp_path: Path) -> None:
    image = noise(4, 10)
    save(tmp_path / "in" / "a.png", image)
    save(tmp_path / "in" / "b.png", image.swapaxes(0, 1))
    wide, tall = rows(pack_all(tmp_path / "in", (4, 4)))
    assert np.array_equal(wide, image[:, 3:7])
    assert np.array_equal(tall, image[:, 3:7].swapaxes(0, 1))


def test_shrinking_averages_pixels_and_skips_none(tmp_path: Path) -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    save(tmp_path / "in" / "a.png", board)
    small = rows(pack_all(tmp_path / "in", (8, 8)))[0]
    assert np.abs(small.astype(int) - 127).max() <= 10


def test_a_size_need_not_be_square(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 2, (12, 20))
    dataset = pack_all(folder, (6, 10))
    assert dataset.shape == ImageShape(3, 6, 10)
    assert rows(dataset).shape == (2, 6, 10, 3)


def test_images_of_different_sizes_are_refused_until_a_size_is_chosen(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 3)
    save(folder / "003.png", noise(7, 8))
    with pytest.raises(DataError, match=r"003\.png is 7x8, but the images before it are 4x5: .* with --size"):
        pack_all(folder)
    assert rows(pack_all(folder, (4, 4))).shape == (4, 4, 4, 3)


# Channels


def test_grey_images_are_packed_grey_however_they_are_stored(tmp_path: Path) -> None:
    grey = [noise(4, 5, 1, seed=index) for index in range(4)]
    for index, image in enumerate(grey):
        save(tmp_path / "in" / f"{index}.png", image if index % 2 else np.stack([image] * 3, axis=2))
    dataset = pack_all(tmp_path / "in")
    assert dataset.shape == ImageShape(1, 4, 5)
    assert np.array_equal(rows(dataset)[..., 0], np.stack(grey))


@pytest.mark.parametrize("place", [0, 1, 3])
def test_one_coloured_image_makes_all_of_them_colour(tmp_path: Path, place: int) -> None:
    grey = noise(4, 5, 1)
    colour = np.stack([grey] * 3, axis=2)
    colour[2, 3, 2] ^= 1  # one pixel, by one level
    for index in range(4):
        save(tmp_path / "in" / f"{index}.png", colour if index == place else grey)
    dataset = pack_all(tmp_path / "in")
    assert dataset.shape == ImageShape(3, 4, 5)
    assert np.array_equal(rows(dataset)[place], colour)
    assert all(np.array_equal(row, np.stack([grey] * 3, axis=2)) for i, row in enumerate(rows(dataset)) if i != place)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("stored", [1, 3])
def test_the_given_channels_are_packed(tmp_path: Path, stored: int, channels: int) -> None:
    image = noise(4, 5, stored)
    save(tmp_path / "in" / "a.png", image)
    dataset = pack_all(tmp_path / "in", channels=channels)
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
def test_a_file_that_cannot_be_read_is_skipped_and_listed_with_the_reason(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "in"
    for index in range(40):  # class by index, and brightness by class
        save(folder / "ab"[index % 2] / f"{index:02}.png", np.full((4, 5), index % 2 * 100 + 7, np.uint8))
    (folder / "a" / "000.png").write_bytes(BAD[fault])
    dataset = pack_all(folder)
    assert skipped(dataset)[0] == ["file", "reason"]
    ((file, reason),) = skipped(dataset)[1:]
    assert file == "a/000.png"
    assert reason.startswith("cannot be read: ")
    assert (dataset.count(), dataset.description.account.skipped) == (40, 1)
    labels = dataset.labels(np.arange(40))
    assert rows(dataset)[:, 0, 0, 0].tolist() == (labels * 100 + 7).tolist()  # labels still belong to their images


def test_as_many_as_one_in_twenty_may_be_unreadable_and_no_more(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 38)
    (folder / "bad1.png").touch()
    (folder / "bad2.png").touch()
    assert pack_all(folder).description.account.skipped == 2
    (folder / "000.png").write_text("not an image")
    with pytest.raises(DataError, match=r"3 of 40 images cannot be used; the first: 000\.png cannot be read.* 5%"):
        pack_all(folder)


def test_without_a_readable_training_image_it_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "in" / "val", 40)
    (tmp_path / "in" / "train").mkdir()
    (tmp_path / "in" / "train" / "0.png").touch()
    with pytest.raises(DataError, match="no training image of in could be used"):
        pack_all(tmp_path / "in")


def test_a_higher_max_skipped_decodes_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "in", 9)
    (folder / "bad.png").touch()
    with pytest.raises(DataError, match="--max-skipped"):
        pack_all(folder)
    break_decoding(monkeypatch)
    dataset = prepare(find(str(folder)), Preprocessing(), Selection(holdout=0), max_skipped=0.1)
    assert (dataset.count(), dataset.description.account.skipped) == (9, 1)


def test_a_dataset_packed_with_alpha_keeps_it_in_another_size(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", noise(8, 8, 4))
    packed = pack_all(tmp_path / "in", channels=4)
    smaller = prepare(find(str(packed.path)), Preprocessing((4, 4)), Selection(holdout=0))
    assert smaller.shape == ImageShape(4, 4, 4)


def test_a_refused_preparation_leaves_no_dataset(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 3)
    save(folder / "larger.png", noise(9, 9))
    with pytest.raises(DataError):
        pack_all(folder)
    assert datasets_in_the_cache() == []


# Splits


def test_every_split_has_its_own_rows(tmp_path: Path) -> None:
    folder, levels = tmp_path / "in", {"test": [1, 2], "train": [3, 4, 5], "validation": [6]}
    for split, values in levels.items():
        for value in values:
            save(folder / split / f"{value}.png", np.full((2, 2), value, np.uint8))
    dataset = pack_all(folder)
    assert dataset.description.splits == {"train": 3, "val": 1, "test": 2}
    assert {path.name for path in dataset.path.glob("*.npy")} == {f"{name}-00000.npy" for name in dataset.splits}
    found = {split: rows(dataset, split)[:, 0, 0, 0].tolist() for split in ("train", "val", "test")}
    assert found == {"train": [3, 4, 5], "val": [6], "test": [1, 2]}


def held_out(folder: Path, selection: Selection | None = None) -> PackedDataset:
    return prepare(find(str(folder)), Preprocessing(), selection)


def test_one_in_twenty_is_held_out_if_train_is_the_only_split(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2000, 2, 2), dtype=np.uint8)
    np.savez(tmp_path / "in.npz", images=images, labels=images[:, 0, 0].astype(int))
    dataset = held_out(tmp_path / "in.npz")
    assert dataset.count("train") + dataset.count("val") == 2000
    assert 60 < dataset.count("val") < 140  # 100, four standard deviations to each side
    for split in ("train", "val"):
        labels = dataset.labels(np.arange(dataset.count(split)), split)
        assert np.array_equal(rows(dataset, split)[:, 0, 0, 0], labels)
    assert not {row.tobytes() for row in rows(dataset)} & {row.tobytes() for row in rows(dataset, "val")}


def test_when_all_is_held_out_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no training image of in could be used\. All were held out: .* to 0"):
        held_out(fill(tmp_path / "in", 1), Selection(holdout=1 - 1e-12))


def test_nothing_is_held_out_if_there_are_splits(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "in.npz",
        x_train=np.arange(400, dtype=np.uint16).reshape(400, 1, 1),
        x_test=np.zeros((1, 1, 1), np.uint8),
    )
    assert held_out(tmp_path / "in.npz").description.splits == {"train": 400, "test": 1}


def test_the_hold_out_depends_on_the_images_and_not_on_their_names_or_number(tmp_path: Path) -> None:
    fill(tmp_path / "few", 100)
    for index in range(200):
        save(tmp_path / "many" / f"other{199 - index}.png", noise(4, 5, seed=index))
    few, many = (
        {row.tobytes() for row in rows(held_out(tmp_path / name, Selection(holdout=0.2)), "val")}
        for name in ("few", "many")
    )
    first = {noise(4, 5, seed=index).tobytes() for index in range(100)}
    assert few and few == many & first


# The cache


def break_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> None:
        raise AssertionError("an image was decoded again")

    monkeypatch.setattr(room, "decode", fail)


def test_a_prepared_dataset_is_not_prepared_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "in", 3)
    first = pack_all(folder)
    break_decoding(monkeypatch)
    again = pack_all(folder)
    assert (again.path, again.description) == (first.path, first.description)
    with pytest.raises(AssertionError, match="decoded again"):
        pack_all(folder, (2, 2))


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
    first = pack_all(folder)
    CHANGES[change](folder)
    assert pack_all(folder).path != first.path


def test_another_preprocessing_is_another_dataset(tmp_path: Path) -> None:
    source = find(str(fill(tmp_path / "in", 2)))
    others = [
        Preprocessing(),
        Preprocessing((4, 5)),
        Preprocessing((5, 4)),
        Preprocessing((5, 4), resize="fit"),
        Preprocessing((5, 4), resize="stretch"),
        Preprocessing(channels=3),
        Preprocessing(window=(0, 9)),
        Preprocessing(fast=True),
    ]
    assert len({prepare(source, other, ALL).path for other in others}) == len(others)


@pytest.mark.parametrize(
    "other",
    [Selection(), Selection(0, group_by="0"), Selection(0, classes=("a",)), Selection(0, drop_duplicates=True)],
)
def test_another_selection_is_another_dataset(tmp_path: Path, other: Selection) -> None:
    fill(tmp_path / "in" / "a", 3)
    fill(tmp_path / "in" / "b", 3)
    source = find(str(tmp_path / "in"))
    assert prepare(source, Preprocessing(), other).path != prepare(source, Preprocessing(), ALL).path


def test_the_content_hash_does_not_depend_on_the_location(tmp_path: Path) -> None:
    first = pack_all(fill(tmp_path / "one", 5))
    other = pack_all(fill(tmp_path / "another", 5))
    assert first.path != other.path
    assert first.description.content_hash == other.description.content_hash


def test_the_content_hash_changes_with_a_pixel_a_class_and_a_split(tmp_path: Path) -> None:
    for name in ("same", "pixel", "class", "label", "split"):
        fill(tmp_path / name / "train" / "a", 3)
        fill(tmp_path / name / "train" / "b", 3)
    image = noise(4, 5, seed=2)
    image[3, 4, 1] ^= 1
    save(tmp_path / "pixel" / "train" / "b" / "002.png", image)
    (tmp_path / "class" / "train" / "a").rename(tmp_path / "class" / "train" / "aa")
    save(tmp_path / "label" / "train" / "a" / "003.png", noise(4, 5, seed=0))
    (tmp_path / "label" / "train" / "b" / "000.png").unlink()  # the same rows, one of them in the other class
    (tmp_path / "split" / "val" / "b").mkdir(parents=True)
    (tmp_path / "split" / "train" / "b" / "002.png").rename(tmp_path / "split" / "val" / "b" / "002.png")
    datasets = {name: pack_all(tmp_path / name) for name in ("same", "pixel", "class", "label", "split")}
    assert len({dataset.description.content_hash for dataset in datasets.values()}) == 5
    assert np.array_equal(rows(datasets["same"]), rows(datasets["label"]))


KILLED = """
import os, sys
from ganloom.data import prepare
from ganloom.data.sources import find
prepare.content_hash = lambda *given: os._exit(9)  # everything but dataset.json is written
prepare.prepare(find(sys.argv[1]), prepare.Preprocessing(), prepare.Selection(holdout=0))
"""


@pytest.mark.slow
def test_the_remains_of_a_killed_preparation_are_not_a_dataset(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 5)
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False).returncode == 9
    left = datasets_in_the_cache()
    assert len(left) == 1
    assert not (left[0] / "dataset.json").exists()
    dataset = pack_all(folder)
    assert np.array_equal(rows(dataset), np.stack([noise(4, 5, seed=index) for index in range(5)]))
    assert datasets_in_the_cache() == [dataset.path]
    assert {path.name for path in dataset.path.iterdir()} == {"dataset.json", "train-00000.npy", "files.jsonl"}


@pytest.mark.slow
def test_a_killed_preparation_of_other_images_is_not_resumed(tmp_path: Path) -> None:
    folder, dest = fill(tmp_path / "in", 5), tmp_path / "out"
    killed = KILLED.replace("holdout=0)", f"holdout=0), room.Path({str(dest)!r})").replace("prepare.", "room.")
    killed = killed.replace("import prepare", "import prepare as room")
    assert subprocess.run([sys.executable, "-c", killed, str(folder)], check=False).returncode == 9
    save(folder / "000.png", noise(4, 5, seed=77))
    dataset = prepare(find(str(folder)), Preprocessing(), ALL, dest)
    assert np.array_equal(rows(dataset), np.stack([noise(4, 5, seed=seed) for seed in (77, 1, 2, 3, 4)]))


def test_of_several_processes_one_prepares_and_the_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, results, packed = fill(tmp_path / "in", 3), [], []
    other = threading.Thread(target=lambda: results.append(pack_all(folder).description))
    real = room._Job.run

    def run(*given: Any) -> None:
        packed.append(given)
        if len(packed) == 1:
            other.start()  # calls while the first prepares
        real(*given)

    monkeypatch.setattr(room._Job, "run", run)
    first = pack_all(folder)
    other.join()
    assert results == [first.description]
    assert len(packed) == 1


def test_a_deleted_dataset_is_prepared_again(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 3)
    first = pack_all(folder)
    before = rows(first)
    shutil.rmtree(first.path)
    assert np.array_equal(rows(pack_all(folder)), before)


def test_a_full_disk_is_reported_with_the_remedy_and_leaves_no_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = fill(tmp_path / "in", 3)
    with monkeypatch.context() as patched:
        patched.setattr(Rows, "flush", full)
        with pytest.raises(StorageError, match="no room left"):
            pack_all(folder)
        assert not any((path / "dataset.json").exists() for path in datasets_in_the_cache())
    assert np.array_equal(rows(pack_all(folder)), np.stack([noise(4, 5, seed=index) for index in range(3)]))


def test_a_cache_that_cannot_be_written_is_reported_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"cannot write .*file: .*GANLOOM_CACHE"):
        pack_all(fill(tmp_path / "in", 1))


def test_progress_is_reported_for_all_images(tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.zeros((250, 1, 1), np.uint8))
    reported: list[tuple[int, int | None]] = []
    prepare(
        find(str(tmp_path / "many.npy")),
        Preprocessing(),
        ALL,
        progress=lambda done, total: reported.append((done, total)),
    )
    assert reported == [(0, None), (100, 250), (200, 250), (250, 250)]


@pytest.mark.parametrize(
    ("cache", "xdg", "folder"),
    [
        ("/cache", "/xdg", "/cache"),
        ("~/cache", "/xdg", "/home/u/cache"),
        (None, "/xdg", "/xdg/ganloom"),
        (None, None, "/home/u/.cache/ganloom"),
        ("", "", "/home/u/.cache/ganloom"),
    ],
)
def test_the_cache_folder_is_the_given_one_or_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, cache: str | None, xdg: str | None, folder: str
) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    for name, value in (("GANLOOM_CACHE", cache), ("XDG_CACHE_HOME", xdg)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_a_destination_within_the_source_is_refused(tmp_path: Path) -> None:
    """The next preparation would find the dataset among the images."""
    pictures(tmp_path / "in", "a.png", "b.png")
    with pytest.raises(DataError, match=r"lies in .*in, where the images come from: choose a folder outside it"):
        prepare(find(str(tmp_path / "in")), Preprocessing(), Selection(), tmp_path / "in" / "packed")
