"""A dataset.json in StyleGAN's format is read, or a line says why not."""

import json
from pathlib import Path
from typing import Any

import pytest
from making import pictures, write

from ganloom.core.errors import DataError
from ganloom.data.sources import Source, find, listing


def opened(folder: Path, labels: Any, *names: str, **more: Any) -> Source:
    pictures(folder, *names)
    write(folder / "dataset.json", json.dumps({"labels": labels, **more}).encode())
    return find(str(folder))


def found(source: Source) -> dict[str, Any]:
    """The class of each image."""
    return {
        item.name: source.class_names[item.label] if isinstance(item.label, int) else None for item in source.items()
    }


def test_an_image_that_is_listed_with_two_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.json lists a\.png twice, with the labels 0 and 2: keep one"):
        opened(tmp_path, [["a.png", 0], ["b.png", 1], ["a.png", 2]], "a.png", "b.png")


def test_an_image_that_is_listed_twice_with_one_label_is_read(tmp_path: Path) -> None:
    source = opened(tmp_path, [["a.png", 0], ["b.png", 1], ["a.png", 0]], "a.png", "b.png")
    assert found(source) == {"a.png": "0", "b.png": "1"} and source.count == 2


def test_labels_may_be_an_object(tmp_path: Path) -> None:
    assert found(opened(tmp_path, {"a.png": 1, "b.png": 0}, "a.png", "b.png")) == {"a.png": "1", "b.png": "0"}


def test_labels_may_be_the_names_of_classes(tmp_path: Path) -> None:
    source = opened(tmp_path, [["a.png", "dog"], ["b.png", "cat"], ["c.png", None]], "a.png", "b.png", "c.png")
    assert source.class_names == ["cat", "dog"]
    assert found(source) == {"a.png": "dog", "b.png": "cat", "c.png": None}
    rows = [["a.png", "dog"], ["b.png", "cat"]]
    assert opened(tmp_path / "in", rows, "a.png", "b.png", class_names=["dog", "cat"]).class_names == ["dog", "cat"]
    with pytest.raises(DataError, match="'cat' is not one of its class_names"):
        opened(tmp_path / "out", rows, "a.png", "b.png", class_names=["dog", "cow"])


def test_backslashes_are_read_as_slashes(tmp_path: Path) -> None:
    source = opened(tmp_path, [["x/a.png", 0], ["x\\b.png", 1]], "x/a.png", "x/b.png")
    assert found(source) == {"x/a.png": "0", "x/b.png": "1"}


def test_other_suffixes_are_read_and_said(tmp_path: Path) -> None:
    source = opened(tmp_path, [["a.jpg", 0], ["b.jpg", 1]], "a.png", "b.png")
    assert found(source) == {"a.png": "0", "b.png": "1"}
    assert any("a.jpg is a.png" in text for _, text in source.remarks)


def test_a_class_without_an_image_is_left_out_and_names_stay(tmp_path: Path) -> None:
    source = opened(tmp_path, [["a.png", 1], ["b.png", 2]], "a.png", "b.png", class_names=["none", "cat", "dog"])
    assert found(source) == {"a.png": "cat", "b.png": "dog"}
    assert any("none has no training image" in text for _, text in source.remarks)


def test_a_file_in_another_format_is_said(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    write(tmp_path / "dataset.json", b'{"name": "mine"}')
    assert any("dataset.json is not read" in text for _, text in find(str(tmp_path)).remarks)


def test_a_listing_further_down_does_not_hide_a_table(tmp_path: Path) -> None:
    """Such as that of a dataset that was packed into the folder of its images."""
    pictures(tmp_path, "a.png", "b.png")
    write(tmp_path / "labels.csv", b"file_name,label\na.png,cat\nb.png,dog\n")
    write(tmp_path / "old" / "dataset.json", b'{"format": 2}')
    source = find(str(tmp_path))
    assert found(source) == {"a.png": "cat", "b.png": "dog"}
    assert any("old/dataset.json is not read" in text for _, text in source.remarks)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"a.png": 1, "b.png": 0}, ["labels that are an object"]),
        ([["a.png", "cat"], ["b.png", "dog"]], ["labels that are names of classes"]),
        ([["x\\a.png", 1], ["x\\b.png", 0]], ["paths with backslashes"]),
        ([["a.png", 1], ["b.png", 0]], []),
    ],
)
def test_what_is_unusual_about_a_listing_is_said(tmp_path: Path, labels: Any, said: list[str]) -> None:
    folder = "x/" if said == ["paths with backslashes"] else ""
    remarks = [text for _, text in opened(tmp_path, labels, f"{folder}a.png", f"{folder}b.png").remarks]
    assert [f"which has {each}; not to use it: --labels none" for each in said] == [
        text.partition(", ")[2] for text in remarks if "which has" in text
    ]


def test_a_listing_that_is_far_too_large_for_its_images_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a gigabyte for ten million images is fine, and a minute of reading for three images is not."""
    monkeypatch.setattr(listing, "MAX_BYTES", 1000)
    monkeypatch.setattr(listing, "MAX_BYTES_PER_IMAGE", 100)
    rows = [[f"{index}.png", 0] for index in range(1000)]
    with pytest.raises(DataError, match=r"dataset\.json has more than 0 MiB, .* of 1 image: .* use --labels none"):
        opened(tmp_path / "few", rows, "0.png")
    assert opened(tmp_path / "all", [["0.png", 0]], "0.png").class_names == ["0"]
