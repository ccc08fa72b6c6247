import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganloom.core.errors import DataError
from ganloom.data.sources import find
from ganloom.data.sources.contract import SPLITS
from ganloom.data.sources.folder import FolderSource


def folder(root: Path, *names: str) -> FolderSource:
    """A source of files that are there but never opened: that is for prepare."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return FolderSource(root)


def found(source: FolderSource) -> list[tuple[str, str, object]]:
    return [(item.name, item.split, item.label) for item in source.items()]


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    source = folder(tmp_path / "photos", "b.png", "a.jpg")
    assert found(source) == [("a.jpg", "train", None), ("b.png", "train", None)]
    assert source.class_names == []
    assert source.name == "photos"


def test_a_folder_of_folders_has_a_class_a_folder(tmp_path: Path) -> None:
    source = folder(tmp_path, "dog/1.png", "cat/2.png", "cat/deep/er/1.png")
    assert source.class_names == ["cat", "dog"]
    assert found(source) == [("cat/2.png", "train", 0), ("cat/deep/er/1.png", "train", 0), ("dog/1.png", "train", 1)]


def test_one_image_outside_of_the_classes_makes_it_flat(tmp_path: Path) -> None:
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
    assert source.class_names == ["ant", "cat", "dog"]
    assert found(source) == [
        ("test/ant/1.png", "test", 0),
        ("test/dog/1.png", "test", 2),
        ("train/cat/1.png", "train", 1),
        ("train/dog/1.png", "train", 2),
    ]


@pytest.mark.parametrize("other", ["cat/1.png", "1.png"])
def test_folders_are_only_splits_when_nothing_lies_outside_of_them(tmp_path: Path, other: str) -> None:
    source = folder(tmp_path, "train/1.png", "test/1.png", other)
    assert {split for _, split, _ in found(source)} == {"train"}


def test_without_a_training_folder_there_are_no_splits(tmp_path: Path) -> None:
    source = folder(tmp_path, "val/1.png", "test/1.png")
    assert source.class_names == ["test", "val"]


def test_hidden_files_and_what_macs_leave_behind_are_no_images(tmp_path: Path) -> None:
    source = folder(
        tmp_path, "cat/1.png", "cat/._1.png", "cat/.hidden.png", ".git/1.png", "__MACOSX/cat/1.png", "cat/.DS_Store"
    )
    assert [name for name, _, _ in found(source)] == ["cat/1.png"]
    assert source.class_names == ["cat"]


def test_a_suffix_may_be_in_any_case_and_other_files_are_passed_over(tmp_path: Path) -> None:
    names = ["a.PNG", "b.JpG", "c.jpeg", "d.TIFF", "e.webp", "f.bmp"]
    source = folder(tmp_path, *names, "notes.txt", "png", "g.png.txt", "labels.csv")
    assert [name for name, _, _ in found(source)] == names


@pytest.mark.parametrize("name", [None, "notes.txt", ".hidden.png", "__MACOSX/1.png"])
def test_a_folder_without_images_is_refused_and_says_what_it_looked_for(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(DataError, match=r"no images in .*: looked for .*\.jpg, .*\.png.* in it and below it"):
        folder(tmp_path, *([name] if name else []))


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "photos", "1.png")
    monkeypatch.chdir(tmp_path / "photos")
    assert find(".").name == "photos"


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    folder(root, "1.png")
    (root / "again").symlink_to(root, target_is_directory=True)
    assert [name for name, _, _ in found(FolderSource(root))] == ["1.png"]


def test_the_fingerprint_names_every_image_with_its_size_and_time(tmp_path: Path) -> None:
    source = folder(tmp_path, "b.png", "a/c.png")
    (tmp_path / "b.png").write_bytes(b"12345")
    time = (tmp_path / "b.png").stat().st_mtime_ns
    lines = list(source.fingerprint())
    assert lines[0] == str(tmp_path.resolve())
    assert lines[1].startswith("a/c.png\t0\t")
    assert lines[2] == f"b.png\t5\t{time}"


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
    except DataError:
        assert wanted == []
    else:
        items = list(source.items())
        assert [item.name for item in items] == wanted
        assert all(item.split in SPLITS for item in items)
        numbers = {item.label for item in items}
        assert numbers <= (set(range(len(source.class_names))) if source.class_names else {None})
        assert [item.name for item in FolderSource(root).items()] == wanted  # always in the same order
    finally:
        shutil.rmtree(root)
