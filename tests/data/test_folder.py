import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import pictures
from PIL import UnidentifiedImageError

from ganloom.config import Reading
from ganloom.core.errors import DataError
from ganloom.data.sources import Source, find
from ganloom.data.sources.contract import SPLITS, RefusedError
from ganloom.data.sources.folder import LEADS_BACK, LEADS_OUT, FolderSource
from ganloom.data.sources.layout import OUTSIDE


def folder(root: Path, *names: str) -> FolderSource:
    """A source of files that exist but are never opened."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return FolderSource(root)


def found(source: FolderSource) -> list[tuple[str, str, object]]:
    return [(item.name, item.split, item.label) for item in source.items()]


def refusals(source: Source) -> dict[str, str]:
    """The reasons of the items that are refused. (The other files are empty, which is another error.)"""
    reasons = {}
    for item in source.items():
        try:
            item.open()
        except RefusedError as error:
            reasons[item.name] = str(error)
        except UnidentifiedImageError:
            pass
    return reasons


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    source = folder(tmp_path / "photos", "b.png", "a.jpg")
    assert found(source) == [("a.jpg", "train", None), ("b.png", "train", None)]
    assert source.class_names == []
    assert source.name == "photos"


def test_a_folder_of_folders_has_one_class_per_folder(tmp_path: Path) -> None:
    source = folder(tmp_path, "dog/1.png", "cat/2.png", "cat/deep/er/1.png")
    assert source.class_names == ["cat", "dog"]
    assert found(source) == [("cat/2.png", "train", 0), ("cat/deep/er/1.png", "train", 0), ("dog/1.png", "train", 1)]


def test_pictures_of_runs_are_left_out(tmp_path: Path) -> None:
    inside = ("runs/a/samples/000000000960.png", "runs/a/config.yaml", "runs/a/run.json")
    source = folder(tmp_path, "dog/1.png", "cat/2.png", *inside)
    assert [name for name, _, _ in found(source)] == ["cat/2.png", "dog/1.png"]
    assert source.class_names == ["cat", "dog"] and source.ignored == 0


@pytest.mark.parametrize("letter", ["a", "\u7c73"])
def test_a_long_name_is_shortened(tmp_path: Path, letter: str) -> None:
    name = folder(tmp_path / (letter * 80), "1.png").name
    assert name and set(name) == {letter} and len(name.encode()) <= 100


def test_one_image_outside_the_class_folders_makes_it_flat(tmp_path: Path) -> None:
    source = folder(tmp_path, "dog/1.png", "cat/2.png", "3.png")
    assert [label for _, _, label in found(source)] == [None] * 3
    assert source.class_names == []


@pytest.mark.parametrize(
    ("train", "val", "test"), [("train", "val", "test"), ("Training", "VALID", "Test"), ("TRAIN", "validation", "test")]
)
def test_folders_named_as_splits_are_splits(tmp_path: Path, train: str, val: str, test: str) -> None:
    source = folder(tmp_path, f"{train}/1.png", f"{val}/1.png", f"{test}/1.png", f"{train}/2.png")
    assert {name: split for name, split, _ in found(source)} == {
        f"{train}/1.png": "train", f"{train}/2.png": "train", f"{val}/1.png": "val", f"{test}/1.png": "test"
    }  # fmt: skip
    assert source.class_names == []


def test_classes_of_all_splits_are_numbered_together(tmp_path: Path) -> None:
    source = folder(tmp_path, "train/dog/1.png", "train/cat/1.png", "test/dog/1.png", "test/ant/1.png")
    assert source.class_names == ["cat", "dog"]
    assert found(source) == [
        ("test/ant/1.png", "test", None),
        ("test/dog/1.png", "test", 1),
        ("train/cat/1.png", "train", 0),
        ("train/dog/1.png", "train", 1),
    ]


@pytest.mark.parametrize("other", ["cat/1.png", "1.png"])
def test_images_outside_the_split_folders_are_skipped_with_the_reason(tmp_path: Path, other: str) -> None:
    source = folder(tmp_path, "train/dog/1.png", "test/dog/1.png", other)
    assert source.splits == ("test", "train")
    assert source.class_names == ["dog"]
    assert refusals(source) == {other: OUTSIDE}


@pytest.mark.parametrize("other", ["cat/1.png", "1.png"])
def test_a_folder_train_beside_others_without_a_second_split_is_a_class(tmp_path: Path, other: str) -> None:
    source = folder(tmp_path, "train/1.png", other)
    assert source.splits == ("train",)
    assert {split for _, split, _ in found(source)} == {"train"}
    assert source.class_names == (["cat", "train"] if other == "cat/1.png" else [])


def test_splits_without_a_training_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split folders \(test, val\) but no folder 'train'"):
        folder(tmp_path, "val/cat/1.png", "test/cat/1.png")


def test_hidden_files_and_those_of_macos_are_ignored_and_counted(tmp_path: Path) -> None:
    source = folder(
        tmp_path, "cat/1.png", "cat/._1.png", "cat/.hidden.png", ".git/1.png", "__MACOSX/cat/1.png", "cat/.DS_Store"
    )  # fmt: skip
    assert [name for name, _, _ in found(source)] == ["cat/1.png"]
    assert source.ignored == 5


def test_a_suffix_may_be_in_any_case_and_other_files_are_counted(tmp_path: Path) -> None:
    names = ["a.PNG", "b.JpG", "c.jpeg", "d.TIFF", "e.webp", "f.bmp"]
    source = folder(tmp_path, *names, "notes.txt", "png", "g.png.txt", "labels.csv")
    assert [name for name, _, _ in found(source)] == names
    assert source.ignored == 4


@pytest.mark.parametrize("name", [None, "notes.txt", ".hidden.png", "__MACOSX/1.png"])
def test_a_folder_without_images_is_refused_and_says_what_it_looked_for(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(DataError, match=r"no images in .*: looked for .*\.jpg, .*\.png.* in it and below it"):
        folder(tmp_path, *([name] if name else []))


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "photos", "1.png")
    monkeypatch.chdir(tmp_path / "photos")
    assert find(".").name == "photos"


def test_a_link_to_a_folder_that_contains_it_is_not_followed_and_reported(tmp_path: Path) -> None:
    root = tmp_path / "root"
    folder(root, "1.png")
    (root / "again").symlink_to(root, target_is_directory=True)
    source = FolderSource(root)
    assert [name for name, _, _ in found(source)] == ["1.png", "again"]
    assert refusals(source) == {"again": LEADS_BACK}


def test_links_that_stay_in_the_folder_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    folder(root, "kept/1.png", "cat/1.png")
    (root / "dog").symlink_to(root / "kept")
    (root / "cat" / "2.png").symlink_to(root / "kept" / "1.png")
    source = FolderSource(root)
    assert [name for name, _, _ in found(source)] == ["cat/1.png", "cat/2.png", "dog/1.png", "kept/1.png"]
    assert source.class_names == ["cat", "dog", "kept"]
    assert refusals(source) == {}


def test_links_out_of_the_folder_are_followed_only_when_asked(tmp_path: Path) -> None:
    root = tmp_path / "root"
    folder(root, "cat/1.png")
    folder(tmp_path / "elsewhere", "2.png")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "3.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    assert refusals(FolderSource(root)) == {"dog": LEADS_OUT, "cat/3.png": LEADS_OUT}
    source = find(Reading(source=str(root), follow_links=True))
    assert [item.name for item in source.items()] == ["cat/1.png", "cat/3.png", "dog/2.png"]
    assert source.class_names == ["cat", "dog"]


def test_the_fingerprint_names_every_image_with_its_size_and_time(tmp_path: Path) -> None:
    source = folder(tmp_path, "b.png", "a/c.png")
    (tmp_path / "b.png").write_bytes(b"12345")
    time = (tmp_path / "b.png").stat().st_mtime_ns
    lines = list(source.fingerprint())
    assert lines[0] == str(tmp_path.resolve())
    assert lines[-2].startswith("a/c.png\t0\t")
    assert lines[-1] == f"b.png\t5\t{time}"


def test_the_fingerprint_changes_with_the_listing_of_labels(tmp_path: Path) -> None:
    before = list(folder(tmp_path, "1.png", "2.png").fingerprint())
    (tmp_path / "dataset.json").write_text('{"labels": [["1.png", 0], ["2.png", 1]]}', encoding="utf-8")
    assert list(FolderSource(tmp_path).fingerprint()) != before


folders = st.sampled_from(["a", "B c", "ü", "train", "Val", "test", ".hidden", "__MACOSX"])
files = st.sampled_from(["1.png", "2.JPG", "ü.webp", "a b.tiff", ".4.png", "5.txt", "png"])
paths = st.builds(lambda parts, name: (*parts, name), st.lists(folders, max_size=3), files)


@settings(deadline=None)
@given(tree=st.sets(paths, max_size=12))
def test_any_tree_gives_each_visible_image_once_in_order_or_is_refused(tree: set[tuple[str, ...]]) -> None:
    hidden = (".", "__MACOSX")
    wanted = sorted(
        "/".join(path) for path in tree
        if not any(part.startswith(hidden) for part in path) and path[-1] not in ("5.txt", "png")
    )  # fmt: skip
    root = Path(tempfile.mkdtemp())
    try:
        source = folder(root, *("/".join(path) for path in tree))
    except DataError as error:
        assert wanted == [] or "--splits" in str(error)
    else:
        items = list(source.items())
        wanted = [path for path in wanted if path not in source._layout.copies]
        assert [item.name for item in items] == wanted
        assert all(item.split in SPLITS for item in items)
        numbers: set[object] = set(range(len(source.class_names))) if source.class_names else {None}
        outside = refusals(source)  # of the splits
        assert {item.label for item in items if item.split == "train" and item.name not in outside} <= numbers
        assert {item.label for item in items} <= numbers | {None}  # val and test may lack a class
        assert [item.name for item in FolderSource(root).items()] == wanted  # always in the same order
    finally:
        shutil.rmtree(root)


def test_a_file_that_cannot_be_read_and_nobody_asked_for_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> BinaryIO:
        raise PermissionError(13, "Permission denied", str(path))

    root = pictures(tmp_path, "1.png")
    (root / "notes.xyz").touch()
    monkeypatch.setattr("ganloom.data.sources.folder.open_regular", refuse)
    assert FolderSource(root).count == 1
    taken = FolderSource(root, Reading(source=str(root), any_suffix=True))
    assert any("1 other files cannot be read (notes.xyz)" in text for _, text in taken.remarks)
