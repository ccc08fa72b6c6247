"""Faults of real folders and files: each is reported, none ends in a traceback or in wrong images."""

import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packing import pack, pack_all
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.core.files import cache_folder
from ganloom.data.inspect import look_at_sizes
from ganloom.data.packed import open_packed
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find

OWN_SIZE = Preprocessing()


def picture(path: Path, level: int = 0, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).save(path)


def many(folder: Path, count: int = 20) -> None:
    """So many good images that one bad image is at most one in twenty."""
    for index in range(count):
        picture(folder / f"{index}.png", index)


def test_two_folders_with_one_name_and_equal_files_are_two_datasets(tmp_path: Path) -> None:
    for name, level in (("a", 10), ("b", 200)):
        picture(tmp_path / name / "images" / "1.bmp", level)
        os.utime(tmp_path / name / "images" / "1.bmp", (1, 1))
    first, second = (pack_all(tmp_path / name / "images") for name in "ab")
    assert [dataset.images(np.array([0])).max() for dataset in (first, second)] == [10, 200]


def test_two_array_files_with_one_name_are_two_datasets(tmp_path: Path) -> None:
    datasets = []
    for name, level in (("a", 10), ("b", 200)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "x.npy", np.full((2, 8, 8), level, np.uint8))
        os.utime(tmp_path / name / "x.npy", (1, 1))
        datasets.append(pack_all(tmp_path / name / "x.npy"))
    assert [dataset.images(np.array([0])).max() for dataset in datasets] == [10, 200]


def test_a_broken_link_is_skipped_and_listed(tmp_path: Path) -> None:
    many(tmp_path / "images")
    (tmp_path / "images" / "lost.png").symlink_to(tmp_path / "images" / "nowhere.png")
    dataset = pack_all(tmp_path / "images")
    assert dataset.count() == 20 and "lost.png,is a broken symbolic link" in (dataset.path / "skipped.csv").read_text()


def test_file_names_may_be_any_bytes(tmp_path: Path) -> None:
    many(tmp_path / "images")
    odd = os.fsencode(tmp_path / "images") + b"/caf\xe9.png"
    shutil.copyfile(tmp_path / "images" / "0.png", odd)
    with open(os.fsencode(tmp_path / "images") + b"/torn\xe9.png", "wb") as file:
        file.write(b"not a picture")
    dataset = pack_all(tmp_path / "images")
    assert dataset.count() == 21 and dataset.description.account.skipped == 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # a warning of Pillow
def test_damaged_exif_does_not_cost_the_image(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 9) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    Image.new("L", (8, 4), 50).save(tmp_path / "1.jpg", exif=exif)
    assert pack_all(tmp_path, (8, 8)).count() == 1


def test_sizes_are_those_of_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (8, 4)).save(tmp_path / "phone.jpg", exif=exif)
    assert look_at_sizes(find(str(tmp_path))).common == (8, 4)
    assert pack_all(tmp_path).shape.height == 8


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"P6\n-3 x 255\n", b"\x89PNG\r\n\x1a\n\0\0\0\x01IHDR\0"])
def test_unreadable_files_are_left_out_of_the_sizes(tmp_path: Path, content: bytes) -> None:
    picture(tmp_path / "b.png")
    for suffix in ("gif", "ppm", "png"):
        (tmp_path / f"a.{suffix}").write_bytes(content)
    assert look_at_sizes(find(str(tmp_path))).common == (8, 8)


def test_the_list_of_what_was_skipped_outlives_a_refusal(tmp_path: Path) -> None:
    many(tmp_path / "images", 3)
    for name in ("x", "y"):
        (tmp_path / "images" / f"{name}.png").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"skipped\.csv"):
        prepare(find(str(tmp_path / "images")), OWN_SIZE)
    assert (cache_folder() / "images-skipped.csv").read_text().count(".png,") == 2


def damage(folder: Path, how: str) -> None:
    if how == "no description":
        (folder / "dataset.json").unlink()
    elif how == "a description of another format":
        (folder / "dataset.json").write_text('{"format": 99}')
    else:
        os.truncate(folder / "train-00000.npy", 150)


DAMAGES = ("no description", "a description of another format", "a shard cut short")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_dataset_in_the_cache_is_prepared_again(tmp_path: Path, how: str) -> None:
    many(tmp_path / "images", 3)
    first = pack_all(tmp_path / "images")
    before = first.images(np.arange(3)).copy()
    damage(first.path, how)
    again = pack_all(tmp_path / "images")
    assert again.description == first.description
    assert np.array_equal(again.images(np.arange(3)), before)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_dataset_in_a_folder_of_the_user_is_kept_and_reported(tmp_path: Path, how: str) -> None:
    many(tmp_path / "images", 3)
    dest = prepare(find(str(tmp_path / "images")), OWN_SIZE, dest=tmp_path / "packed").path
    damage(dest, how)
    files = sorted(dest.iterdir())
    with pytest.raises(DataError, match=r"packed exists and is not .*: choose another folder, or delete it"):
        prepare(find(str(tmp_path / "images")), OWN_SIZE, dest=dest)
    assert sorted(dest.iterdir()) == files


@pytest.mark.parametrize("position", [60, 200, 300])
def test_a_damaged_compressed_array_file_is_refused(tmp_path: Path, position: int) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=np.random.default_rng(0).integers(0, 9, (20, 8, 8), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[position : position + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot be read|no array of training images"):
        find(str(path))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"y_train": np.int64(3)}, "have shape"),
        ({"y_train": np.array([0, 1]), "y_test": np.zeros((2, 3))}, "different shapes"),
        ({"y_train": np.array([[0.5, np.nan], [0, 1]])}, "NaN or infinite values"),
        ({"y_train": np.array([0, 10**9])}, "class numbers from 0"),
    ],
)
def test_odd_labels_are_refused(tmp_path: Path, labels: dict[str, Any], message: str) -> None:
    images = np.zeros((2, 8, 8), np.uint8)
    np.savez(tmp_path / "x.npz", x_train=images, x_test=images, **labels)
    with pytest.raises(DataError, match=message):
        find(str(tmp_path / "x.npz"))


@pytest.mark.parametrize("shape", [(3,), (3, 4)])
def test_training_labels_are_used_if_the_test_images_have_none(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.zeros((3, 8, 8), np.uint8)
    labels = np.ones(shape, np.int64)
    dataset = pack(tmp_path, x_train=images, y_train=labels, x_test=images)
    names = [
        dataset.class_names[int(np.argmax(label)) if shape[1:] else label] for label in dataset.labels(np.arange(3))
    ]
    assert names == (["0"] if shape[1:] else ["1"]) * 3  # classes are those of the training images
    assert (dataset.labels(np.arange(3), "test") <= 0).all()


@pytest.mark.parametrize("fault", ["empty shard", "no labels", "newer format", "other shape", "no splits"])
def test_a_damaged_packed_dataset_is_reported_with_the_remedy(tmp_path: Path, fault: str) -> None:
    dataset = pack(tmp_path, images=np.zeros((3, 8, 8), np.uint8), labels=np.array([0, 1, 0]))
    description, shard = dataset.path / "dataset.json", dataset.path / "train-00000.npy"
    if fault == "empty shard":
        shard.write_bytes(b"")
    elif fault == "no labels":
        (dataset.path / "train-labels.npy").unlink()
    elif fault == "newer format":
        description.write_text(description.read_text().replace('"format": 2', '"format": 99'))
    elif fault == "other shape":
        np.save(shard, np.zeros((3, 4, 4, 1), np.uint8))
    else:
        description.write_text(description.read_text().replace('"splits"', '"splits": {}, "counts"'))
    with pytest.raises(DataError, match="prepare it again"):
        opened = open_packed(dataset.path)
        opened.images(np.arange(3))
        opened.labels(np.arange(3))
