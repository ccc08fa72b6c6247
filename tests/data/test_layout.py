"""The split and class of a file follow from its folders or from a dataset.json."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import entries, labels, packed_by_name, pictures, prepared, skipped, write

from ganloom.core.errors import DataError
from ganloom.data.sources import find
from ganloom.data.sources.layout import OUTSIDE, Layout
from ganloom.data.sources.listing import LISTING, Table, read_listing
from ganloom.data.sources.naming import is_hidden, is_image

Placed = dict[str, tuple[str, Any]]


def placed(*paths: str) -> tuple[Placed, list[str]]:
    """(split, label) of each path, and the class names."""
    layout = Layout(sorted(paths))
    assert not any(place.fault for place in layout)
    found = {path: (split, label) for path, split, label, *_ in layout}
    assert {split for split, _ in found.values()} <= set(layout.splits)
    return found, layout.class_names


def listed(listing: Any, *paths: str) -> Table | None:
    """The table that a dataset.json gives."""
    content = json.dumps(listing).encode()
    return read_listing([LISTING, *paths], dict.fromkeys(paths, "train"), lambda *_: iter([(LISTING, content)]))


def classes_of(*paths: str) -> tuple[dict[str, Any], list[str]]:
    """Label of each path, all of which are for training, and the class names."""
    found, names = placed(*paths)
    assert {split for split, _ in found.values()} == {"train"}
    return {path: label for path, (_, label) in found.items()}, names


def test_a_flat_folder_has_neither_classes_nor_splits() -> None:
    assert classes_of("b.png", "a.png") == ({"a.png": None, "b.png": None}, [])


def test_folders_are_classes_in_the_order_of_their_names() -> None:
    found, names = classes_of("dog/1.png", "cat/1.png", "cat/2.png", "10/1.png", "9/1.png")
    assert names == ["10", "9", "cat", "dog"]
    assert found == {"10/1.png": 0, "9/1.png": 1, "cat/1.png": 2, "cat/2.png": 2, "dog/1.png": 3}


def test_only_the_first_folder_is_the_class() -> None:
    assert classes_of("cat/a/1.png", "cat/b/c/1.png", "dog/a/1.png")[1] == ["cat", "dog"]


def test_with_one_training_image_outside_the_folders_are_not_classes() -> None:
    assert classes_of("cat/1.png", "dog/1.png", "cover.png")[1] == []


@pytest.mark.parametrize("names", [("train", "val"), ("Training", "VALIDATION"), ("train", "valid"), ("train", "test")])
def test_splits_have_classes_numbered_together(names: tuple[str, str]) -> None:
    train, other = names
    found, classes = placed(f"{train}/dog/1.png", f"{train}/cat/1.png", f"{other}/dog/1.png", f"{other}/ant/1.png")
    split = "test" if other == "test" else "val"
    assert classes == ["cat", "dog"]
    assert found == {
        f"{train}/cat/1.png": ("train", 0),
        f"{train}/dog/1.png": ("train", 1),
        f"{other}/dog/1.png": (split, 1),
        f"{other}/ant/1.png": (split, None),  # a class without a training image is none
    }


def test_the_chest_x_ray_layout_is_read() -> None:
    paths = [
        f"chest_xray/{split}/{kind}/IM-{number}.jpeg"
        for split in ("train", "val", "test")
        for kind in ("NORMAL", "PNEUMONIA")
        for number in range(2)
    ]
    found, classes = placed(*paths)
    assert classes == ["NORMAL", "PNEUMONIA"]
    assert all(found[path] == (path.split("/")[1], int("PNEUMONIA" in path)) for path in paths)


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_a_second_copy_of_the_splits_is_left_out(tmp_path: Path, form: str) -> None:
    """As in the archive of Kaggle's chest X-rays."""
    once = [f"{split}/{kind}/1.png" for split in ("train", "test") for kind in ("NORMAL", "PNEUMONIA")]
    pictures(tmp_path / "in", *(f"chest_xray/{above}{path}" for above in ("", "chest_xray/") for path in once))
    given = tmp_path / "in"
    if form == "archive":
        given = Path(shutil.make_archive(str(tmp_path / "images"), "zip", given))
    dataset = prepared(given, tmp_path / "out", max_skipped=0)
    assert dataset.description.splits == {"train": 2, "test": 2}
    assert dataset.description.account.ignored == len(once)


def test_train_alone_has_no_copies() -> None:
    assert classes_of("a/train/1.png", "train/1.png")[1] == ["a", "train"]


def test_a_folder_of_splits_beside_the_splits_with_other_images_is_not_a_copy(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "train/1.png", "val/1.png", "old/train/1.png", "train/train/1.png")
    dataset = prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.5)
    assert skipped(dataset) == {"old/train/1.png": OUTSIDE}
    assert dataset.description.splits == {"train": 2, "val": 1}


@pytest.mark.parametrize("above", ["", "data/", "a/b/c/"])
def test_a_folder_that_contains_everything_is_ignored(above: str) -> None:
    assert classes_of(f"{above}cat/1.png", f"{above}dog/1.png")[1] == ["cat", "dog"]
    assert classes_of(f"{above}1.png", f"{above}2.png")[1] == []
    assert placed(f"{above}train/cat/1.png", f"{above}val/cat/1.png") == (
        {f"{above}train/cat/1.png": ("train", 0), f"{above}val/cat/1.png": ("val", 0)},
        ["cat"],
    )


def test_a_class_may_be_called_train_beside_others() -> None:
    assert classes_of("train/1.png", "car/1.png", "bus/1.png")[1] == ["bus", "car", "train"]


def test_a_single_folder_train_is_a_split_and_not_a_class() -> None:
    assert placed("train/1.png", "train/2.png") == (
        {"train/1.png": ("train", None), "train/2.png": ("train", None)},
        [],
    )
    assert placed("train/cat/1.png", "train/dog/1.png")[1] == ["cat", "dog"]


def test_folders_test_and_val_without_train_are_refused() -> None:
    with pytest.raises(DataError, match="no folder 'train': add it, or give the path of one"):
        classes_of("test/1.png", "val/1.png")


def test_a_few_images_outside_class_folders_are_skipped_and_with_more_there_are_no_classes() -> None:
    many = [f"{name}/{index}.png" for name in ("cat", "dog") for index in range(19)]
    few, more = Layout([*many, "logo.png", "x.png"]), Layout([*many, "logo.png", "x.png", "y.png"])
    assert few.class_names == ["cat", "dog"] and more.class_names == []
    faults = {place.path: place.fault for place in few if place.fault}
    assert faults == dict.fromkeys(["logo.png", "x.png"], "is outside the class folders")
    assert not any(place.fault for place in more)


@pytest.mark.parametrize("outside", ["more/1.png", "more/cat/1.png", "cover.png"])
def test_images_outside_the_split_folders_are_skipped_with_the_reason(tmp_path: Path, outside: str) -> None:
    pictures(tmp_path / "in", "train/cat/1.png", "train/dog/1.png", "val/cat/1.png", outside)
    dataset = prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.25)
    assert skipped(dataset) == {outside: OUTSIDE}
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.description.splits == {"train": 2, "val": 1}


def test_test_images_may_be_unlabelled_beside_labelled_training_images(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "train/cat/1.png", "train/dog/1.png", "test/1.png", "test/2.png")
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert labels(dataset) == [0, 1]
    assert labels(dataset, "test") == [-1, -1]
    assert [label for _, label in dataset.rows("test")] == [None, None]


def test_without_labels_of_training_images_other_labels_are_ignored(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "train/1.png", "train/2.png", "test/cat/1.png")
    assert prepared(tmp_path / "in", tmp_path / "out").class_names == []


@pytest.mark.parametrize(
    "path", [".DS_Store", "._a.png", "a/._a.png", "__MACOSX/a.png", "a/__MACOSX/b/c.png", ".git/a.png", "a/.b/c.png"]
)
def test_files_of_operating_systems_are_hidden(path: str) -> None:
    assert is_hidden(path) and not is_image(path)


@pytest.mark.parametrize("path", ["a.png", "a.b/c.PNG", "x..jpg", "a/b.JPeG", "MACOSX/a.tif"])
def test_other_names_are_not_hidden(path: str) -> None:
    assert is_image(path) and not is_hidden(path)


# A dataset.json


def test_a_listing_gives_labels_order_and_names(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png", "x/c.png", "x/d.png")
    rows = [["x/d.png", 1], ["a.png", 0], ["x/c.png", 1], ["b.png", 2]]
    write(tmp_path / "in" / "dataset.json", json.dumps({"labels": rows, "class_names": ["ant", "bee", "cat"]}).encode())
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert [entry["file"] for entry in entries(dataset)] == [path for path, _ in rows]
    assert labels(dataset) == [1, 0, 1, 2]
    assert dataset.class_names == ["ant", "bee", "cat"]
    assert dataset.description.account.ignored == 0


def test_a_listing_without_names_numbers_the_classes() -> None:
    table = listed({"labels": [["a.png", 2], ["b.png", 0]]}, "a.png", "b.png")
    assert table and table.class_names == ["0", "2"]  # a class without a training image is not a class
    assert table.labels == {"a.png": 1, "b.png": 0}


def test_a_listing_may_give_shares_of_each_class(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    rows = [["a.png", [0, 1, 0.5]], ["b.png", None], ["c.png", [1, 0, 0]]]
    write(tmp_path / "in" / "dataset.json", json.dumps({"labels": rows}).encode())
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert labels(dataset) == [[0, 1, 0.5], [0, 0, 0], [1, 0, 0]]
    assert dataset.class_names == ["0", "1", "2"]


def test_an_image_that_is_not_listed_or_is_missing_is_skipped_with_the_reason(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    write(tmp_path / "in" / "dataset.json", b'{"labels": [["a.png", 0], ["b.png", 1], ["gone.png", 1]]}')
    dataset = prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.5)
    reasons = {"c.png": "is not listed in dataset.json", "gone.png": "is listed in dataset.json but does not exist"}
    assert skipped(dataset) == reasons
    assert labels(dataset) == [0, 1]


def test_a_listing_in_the_folder_that_contains_everything_is_found(tmp_path: Path) -> None:
    """As if such a folder was copied, or packed together with its name."""
    pictures(tmp_path / "in" / "faces", "00000/a.png", "00000/b.png")
    write(tmp_path / "in" / "faces" / "dataset.json", b'{"labels": [["00000/b.png", 0], ["00000/a.png", 1]]}')
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert list(packed_by_name(dataset)) == ["faces/00000/b.png", "faces/00000/a.png"]
    assert labels(dataset) == [0, 1]


FOREIGN = [
    b"[1, 2]",
    b"{}",
    b'{"name": "mine"}',
    b'"labels"',
    b"null",
    b'{"labels": 3}',
    b'{"labels": ["cat", "dog"]}',
    b'{"labels": [["a.png"]]}',
    b'{"labels": [["a.png", 0, 1]]}',
]


@pytest.mark.parametrize("content", FOREIGN)
def test_another_file_with_that_name_is_ignored(tmp_path: Path, content: bytes) -> None:
    pictures(tmp_path / "in", "cat/a.png", "dog/b.png")
    write(tmp_path / "in" / "dataset.json", content)
    assert find(str(tmp_path / "in")).class_names == ["cat", "dog"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\xfd",
        b"nonsense",
        b"[" * 100_000,
        b'{"labels": [["a.png", -1]]}',
        b'{"labels": [["a.png", 0.5]]}',
        b'{"labels": [["a.png", true]]}',
        b'{"labels": [["a.png", "cat"], ["b.png", 1]]}',
        b'{"labels": [["a.png", {}]]}',
        b'{"labels": [["a.png", []]]}',
        b'{"labels": [["a.png", [[1]]]]}',
        b'{"labels": [["a.png", ["x"]]]}',
        b'{"labels": [["a.png", [NaN]]]}',
        b'{"labels": [["a.png", [1e999]]]}',
        b'{"labels": [["a.png", [1' + b"0" * 400 + b"]]]}",
        b'{"labels": [["a.png", 1000000000000]]}',
        b'{"labels": [["a.png", 1' + b"0" * 5000 + b"]]}",
        b'{"labels": [["a.png", 0], ["b.png", [1]]]}',
        b'{"labels": [["a.png", [1]], ["b.png", [1, 2]]]}',
        b'{"labels": [["a.png", null]]}',
        b'{"labels": [["a.png", 1]], "class_names": ["only"]}',
        b'{"labels": [["a.png", 0]], "class_names": 5}',
    ],
    ids=lambda content: str(content[:50]),
)
def test_a_malformed_listing_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    write(tmp_path / "in" / "dataset.json", content)
    with pytest.raises(DataError, match=r"dataset\.json"):
        find(str(tmp_path / "in"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
ROWS = st.lists(st.tuples(st.sampled_from(["a.png", "b.png", "c"]), JSON | st.integers(0, 3)), max_size=3)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(JSON | ROWS, JSON)
def test_any_listing_is_read_or_refused(rows: Any, names: Any) -> None:
    try:
        layout = Layout(["a.png", "b.png"], table=listed({"labels": rows, "class_names": names}, "a.png", "b.png"))
    except DataError:
        return
    found = list(layout)
    assert sorted(path for path, *_ in found if path not in layout.missing) == ["a.png", "b.png"]
    for _, _, label, *_ in found:
        assert label is None or isinstance(label, np.ndarray) or label < len(layout.class_names)


PART = st.sampled_from(["train", "val", "test", "cat", "dog", "Train", "x"])
PATHS = st.lists(st.tuples(st.lists(PART, max_size=3), st.sampled_from(["1.png", "2.png"])), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(PATHS, st.sets(st.integers(0, 7)))
def test_every_file_of_any_tree_appears_once(tree: Any, faulty: set[int]) -> None:
    paths = sorted({"/".join([*folders, name]) for folders, name in tree})
    faults = {path: "is broken" for index, path in enumerate(paths) if index in faulty}
    try:
        layout = Layout(paths, faults=faults)
    except DataError as error:
        assert "--splits" in str(error)
        return
    found = list(layout)
    assert [path for path, *_ in found] == paths
    for path, split, label, fault, _ in found:
        assert split in ("train", "val", "test")
        assert label is None or 0 <= label < len(layout.class_names)
        assert fault == faults.get(path, fault)
        assert fault or split in layout.splits
        assert fault or split != "train" or not layout.class_names or label is not None
    without = Layout([path for path in paths if path not in faults])
    assert layout.class_names == without.class_names  # files that are not read do not matter
    assert [place for place in found if place[0] not in faults] == list(without)
