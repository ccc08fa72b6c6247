"""A packed dataset that is unpacked to files and prepared again is the same to the last bit."""

import itertools
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import labels, noise, pictures, prepared, rows
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data import shards
from ganloom.data import unpack as room
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing
from ganloom.data.sources.arrays import ArraySource
from ganloom.data.unpack import unpack

PLACES = ("folder", "all.zip")


def quiet(done: int, total: int | None) -> None:
    pass


def dataset(folder: Path, class_names: Sequence[str] | None = None, **arrays: Any) -> PackedDataset:
    from ganloom.data.prepare import Selection, prepare

    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "x.npz", **arrays)
    source = ArraySource([folder / "x.npz"], class_names=class_names)
    return prepare(source, Preprocessing(), Selection(holdout=0), folder / "packed")


def assert_same_again(original: PackedDataset, place: Path) -> None:
    """Unpack and prepare again."""
    channels: Any = original.shape.channels
    unpacked = unpack(original, place, quiet)
    again = prepared(unpacked, place.parent / f"{place.name}-again", Preprocessing(channels=channels))
    assert again.class_names == list(original.class_names)
    assert again.description.splits == original.description.splits
    for split in original.splits:
        assert np.array_equal(rows(again, split), rows(original, split))
        if original.class_names:
            assert labels(again, split) == labels(original, split)
    assert again.description.content_hash == original.description.content_hash
    assert again.description.account.ignored == 0


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_come_back(tmp_path: Path, channels: int, place: str) -> None:
    image = np.stack([noise(5, 7, channels, seed).reshape(5, 7, channels) for seed in range(6)])
    if channels == 4:
        image[0, ..., 3], image[1, ..., 3] = 0, 255  # also invisible pixels
    if channels < 4:
        original = dataset(tmp_path, x_train=image)
    else:
        pictures(tmp_path / "in")
        for seed in range(6):
            (tmp_path / "in").mkdir(exist_ok=True)
            Image.fromarray(image[seed]).save(tmp_path / "in" / f"{seed}.png")
        original = prepared(tmp_path / "in", tmp_path / "packed", Preprocessing(channels=4))
    assert np.array_equal(rows(original), image)
    assert_same_again(original, tmp_path / place)


LABELS = {"classes": [0, 2, 1, 1, 0, 2], "shares": [[1, 0.5, 0], [0, 0, 0]] * 3}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", LABELS)
def test_labels_come_back_in_all_splits(tmp_path: Path, kind: str, place: str) -> None:
    arrays = {}
    for number, split in enumerate(("train", "val", "test")):
        arrays[f"x_{split}"] = np.stack([noise(3, 4, 1, 10 * number + seed) for seed in range(6 - number)])
        arrays[f"y_{split}"] = np.asarray(LABELS[kind], np.float32 if kind == "shares" else np.int64)[: 6 - number]
    assert_same_again(dataset(tmp_path, **arrays), tmp_path / place)


@pytest.mark.parametrize("place", PLACES)
def test_splits_without_labels_come_back_unchanged(tmp_path: Path, place: str) -> None:
    images = np.stack([noise(3, 4, 1, seed) for seed in range(7)])
    original = dataset(tmp_path, x_train=images[:4], x_val=images[4:6], x_test=images[6:])
    assert original.class_names == []
    assert_same_again(original, tmp_path / place)


@pytest.mark.parametrize("place", PLACES)
def test_images_without_labels_among_labelled_ones_come_back(tmp_path: Path, place: str) -> None:
    images = np.stack([noise(3, 4, 1, seed) for seed in range(7)])
    original = dataset(tmp_path, x_train=images[:4], y_train=[1, 0, 1, 1], x_test=images[4:])
    assert labels(original, "test") == [-1] * 3
    assert_same_again(original, tmp_path / place)


@pytest.mark.parametrize("place", PLACES)
def test_more_than_a_thousand_unlabelled_images_get_no_classes(tmp_path: Path, place: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1003, 1, 2), np.uint8)
    assert_same_again(dataset(tmp_path, x_train=images), tmp_path / place)


def test_several_shards_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.stack([noise(3, 4, 3, seed) for seed in range(11)])
    monkeypatch.setattr(shards, "SHARD_BYTES", 3 * 4 * 3 * 4)
    original = dataset(tmp_path, images=images, labels=np.arange(11) % 3)
    assert original.description.rows_per_shard == 4
    monkeypatch.undo()
    for place in PLACES:
        assert_same_again(original, tmp_path / place)


ODD = (
    "a/b",
    "..",
    ".",
    "",
    "Cat",
    "cat",
    " ",
    "end.",
    "日本",
    "a_b",
    "train",
    "VAL",
    "test",
    "__MACOSX",
    ".hidden",
    "dataset.json",
    "nul\0",
    "x" * 300,
    "é" * 150,
    'q"uote',
    "format",
    "00000",
    "C:\\x",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ODD)
def test_a_class_with_an_unusual_name_comes_back(tmp_path: Path, name: str, place: str) -> None:
    images = np.stack([noise(2, 3, 1, seed) for seed in range(4)])
    for folder, names in ((tmp_path / "alone", [name]), (tmp_path / "two", [name, "other"])):
        original = dataset(folder, names, x_train=images, y_train=np.arange(4) % len(names))
        assert_same_again(original, folder / place)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(ODD), min_size=1, max_size=5, unique=True), st.sampled_from(PLACES), st.booleans())
def test_classes_of_any_name_come_back(names: list[str], place: str, splits: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        images = np.stack([noise(2, 3, 1, seed) for seed in range(2 * len(names))])
        numbers = np.arange(len(images)) % len(names)
        arrays: dict[str, NDArray[Any]] = {"x_train": images, "y_train": numbers}
        if splits:
            arrays |= {"x_test": images[: len(names)], "y_test": numbers[: len(names)]}
        assert_same_again(dataset(Path(folder), names, **arrays), Path(folder) / place)
        outside = {path.name for path in Path(folder).iterdir()}
        assert outside == {"x.npz", "packed", place, f"{place}-again"}


def test_the_zip_is_as_stylegan_reads_it(tmp_path: Path) -> None:
    images = np.stack([noise(4, 4, 3, seed) for seed in range(5)])
    original = dataset(tmp_path, images=images, labels=np.array([0, 3, 1, 2, 3]))
    with zipfile.ZipFile(unpack(original, tmp_path / "all.zip", quiet)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        assert names == [f"00000/img{number:08}.png" for number in range(5)]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        # ImageFolderDataset of StyleGAN3 finds labels by name, with forward slashes.
        found = dict(json.loads(archive.read("dataset.json"))["labels"])
        assert [found[name] for name in names] == [0, 3, 1, 2, 3]
        for name, image in zip(names, images, strict=True):
            with archive.open(name) as file, Image.open(file) as picture:
                assert np.array_equal(np.asarray(picture), image)


def test_the_zip_of_unlabelled_images_says_that_they_have_no_labels(tmp_path: Path) -> None:
    original = dataset(tmp_path, images=noise(4, 4)[None])
    with zipfile.ZipFile(unpack(original, tmp_path / "all.zip", quiet)) as archive:
        assert json.loads(archive.read("dataset.json"))["labels"] is None


def test_a_folder_has_a_folder_for_each_split_and_class(tmp_path: Path) -> None:
    images = np.stack([noise(4, 4, 3, seed) for seed in range(3)])
    arrays = {"x_train": images[:2], "y_train": [1, 0], "x_val": images[2:], "y_val": [1]}
    unpack(dataset(tmp_path, ["cat", "dog"], **arrays), tmp_path / "folder", quiet)
    found = sorted(str(path.relative_to(tmp_path / "folder")) for path in (tmp_path / "folder").rglob("*.png"))
    assert found == ["train/cat/00000001.png", "train/dog/00000000.png", "val/dog/00000000.png"]
    with Image.open(tmp_path / "folder" / found[2]) as picture:
        assert np.array_equal(np.asarray(picture), images[2])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("there", ["a file", "a folder", "a dead link"])
def test_an_existing_destination_is_refused_and_kept(tmp_path: Path, place: str, there: str) -> None:
    original = dataset(tmp_path / "data", images=noise(4, 4)[None])
    dest = tmp_path / "here" / place
    dest.parent.mkdir()
    if there == "a file":
        dest.write_text("mine")
    elif there == "a folder":
        dest.mkdir()
        if dest.suffix != ".zip":
            (dest / "mine").touch()
    else:
        dest.symlink_to("nowhere")
    with pytest.raises(DataError, match="exists: name another place"):
        unpack(original, dest, quiet)
    assert [path.name for path in dest.parent.iterdir()] == [place]
    assert dest.is_symlink() or dest.is_dir() or dest.read_text() == "mine"
    assert there != "a folder" or dest.suffix == ".zip" or (dest / "mine").exists()


@pytest.mark.parametrize("place", PLACES)
def test_an_interruption_leaves_nothing_and_the_next_attempt_works(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = dataset(tmp_path / "data", images=np.stack([noise(4, 4, 3, seed) for seed in range(5)]))
    (tmp_path / "here").mkdir()
    with monkeypatch.context() as patches:
        plain, calls = room._plain, itertools.count()

        def interrupted(label: Any) -> Any:
            if next(calls) == 3:
                raise KeyboardInterrupt
            return plain(label)

        patches.setattr(room, "_plain", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpack(original, tmp_path / "here" / place, quiet)
    assert list((tmp_path / "here").iterdir()) == []
    assert_same_again(original, tmp_path / "here" / place)


def test_the_remains_of_a_killed_attempt_are_removed(tmp_path: Path, nobody: int) -> None:
    original = dataset(tmp_path / "data", images=noise(4, 4)[None])
    deep = tmp_path / "here" / f".out.{nobody}.tmp" / "deep"
    deep.mkdir(parents=True)
    (deep / "old.png").write_bytes(b"old")
    os.utime(deep.parent, (0, 0))
    unpack(original, tmp_path / "here" / "out", quiet)
    assert {path.name for path in (tmp_path / "here").rglob("*")} == {"out", "00000000.png"}


def test_two_processes_that_unpack_to_one_place_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second starts when the first has written a part, and is interrupted: the first one's folder is whole."""
    original = dataset(tmp_path / "data", images=np.stack([noise(4, 4, 3, seed) for seed in range(5)]))
    plain, calls = room._plain, itertools.count()

    def meanwhile(label: Any) -> Any:
        call = next(calls)
        if call == 2:
            with monkeypatch.context() as patches, pytest.raises(KeyboardInterrupt):
                patches.setattr(os, "getpid", lambda: -1)
                unpack(original, tmp_path / "out", quiet)
        if call == 4:
            raise KeyboardInterrupt
        return plain(label)

    monkeypatch.setattr(room, "_plain", meanwhile)
    unpack(original, tmp_path / "out", quiet)
    assert len(list((tmp_path / "out").iterdir())) == 5


@pytest.mark.parametrize("count", [1, 99, 100, 101])
def test_progress_is_reported_to_the_end(tmp_path: Path, count: int) -> None:
    reported: list[tuple[int, int | None]] = []
    original = dataset(tmp_path, images=np.zeros((count, 1, 1), np.uint8))
    unpack(original, tmp_path / "out", lambda done, total: reported.append((done, total)))
    assert reported[-1] == (count, count)


def test_the_working_folder_is_refused_as_a_destination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = dataset(tmp_path / "in", images=noise(8, 8, 1)[None])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError, match="name a new folder"):
        unpack(made, Path(), quiet)


@pytest.mark.parametrize("place", ["sub", "sub.zip", "../NAME/a/b"])
def test_a_place_in_the_dataset_is_refused(tmp_path: Path, place: str) -> None:
    made = dataset(tmp_path / "data", images=noise(4, 4)[None])
    with pytest.raises(DataError, match=r"lies in the dataset .*: name a place outside it"):
        unpack(made, made.path / place.replace("NAME", made.path.name), quiet)
