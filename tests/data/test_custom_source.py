"""`FILE.py:ARGUMENT` is a source of images."""

import os
from pathlib import Path

import numpy as np
import pytest

import contributing
from ganloom.core.errors import ConfigError, DataError
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import absolute, find

SOURCE = """
from functools import partial
from PIL import Image
from ganloom.data.sources import Item

class Greys:
    name, class_names, splits, count, ignored = "greys", ("a", "b"), ("train",), 4, 0

    def __init__(self, spec):
        self.spec = spec

    def fingerprint(self):
        yield "always the same"

    def items(self):
        for index in range(4):
            yield Item(str(index), "train", index % 2, partial(Image.new, "L", (4, 4), 10 * index))

def open_source(spec):
    return Greys(spec)
"""


def written(folder: Path, *changes: tuple[str, str]) -> str:
    text = SOURCE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "greys.py").write_text(text)
    return str(folder / "greys.py")


def levels(spec: str) -> list[int]:
    dataset = prepare(find(spec), Preprocessing())
    splits = [dataset.images(np.arange(dataset.count(split)), split) for split in dataset.splits]
    return sorted(np.concatenate(splits)[:, 0, 0, 0].tolist())


def test_the_images_of_a_custom_source_are_prepared(tmp_path: Path) -> None:
    source = find(written(tmp_path))
    assert (source.name, list(source.class_names), source.count) == ("greys", ["a", "b"], 4)
    assert levels(written(tmp_path)) == [0, 10, 20, 30]


def test_the_text_after_the_colon_is_the_argument(tmp_path: Path) -> None:
    spec = written(tmp_path, ("4, 0", "4, 0\n    class_names = property(lambda self: [self.spec])"), ("index % 2", "0"))
    assert list(find(f"{spec}:x:y=3").class_names) == ["x:y=3"]
    assert list(find(spec).class_names) == [""]


def test_images_of_a_changed_file_are_prepared_again(tmp_path: Path) -> None:
    """Even if the fingerprint of the source stays the same."""
    assert levels(written(tmp_path)) == [0, 10, 20, 30]
    assert levels(written(tmp_path, ("10 * index", "11 * index"))) == [0, 11, 22, 33]


def test_another_argument_is_another_set_of_images(tmp_path: Path) -> None:
    spec = written(tmp_path, ("10 * index", "int(self.spec) * index"))
    assert levels(f"{spec}:3") == [0, 3, 6, 9]
    assert levels(f"{spec}:4") == [0, 4, 8, 12]


def test_an_absolute_source_holds_in_any_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    (tmp_path / "train").mkdir()
    monkeypatch.chdir(tmp_path)
    assert absolute("./greys.py") == absolute("greys.py:") == f"{tmp_path}/greys.py"
    assert absolute("greys.py:train") == f"{tmp_path}/greys.py:train", "a word was read as the folder with that name"
    assert absolute("greys.py:./train") == f"{tmp_path}/greys.py:{tmp_path}/train"
    assert absolute("greys.py:a/b") == f"{tmp_path}/greys.py:a/b"
    assert [*find("greys.py:./train").fingerprint()] == [*find(absolute("greys.py:./train")).fingerprint()]


def test_numpy_integers_are_labels(tmp_path: Path) -> None:
    items = list(find(written(tmp_path, ("index % 2", "__import__('numpy').int64(index % 2)"))).items())
    assert [(item.label, type(item.label)) for item in items] == [(0, int), (1, int), (0, int), (1, int)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def open_source", "def open_sauce", r"greys\.py has no open_source: it should define open_source\(spec\)"),
        ("open_source(spec)", "open_source()", r"open_source\(\) has the wrong signature: write open_source\(spec\)\."),
        (
            "return Greys(spec)",
            "return [spec]",
            "returns an object of type list, which lacks name, class_names, splits",
        ),
        ("return Greys(spec)", "return Greys(1 / 0)", r"greys\.py, line 20: ZeroDivisionError"),
        ('"greys"', '"my/greys"', "should be valid as the name of a folder, not 'my/greys'"),
        ('"greys"', '".."', "should be valid as the name of a folder"),
        ('"greys"', "3", "should be valid as the name of a folder"),
        ('("train",)', '("training",)', r"some of train, val, test, not \['training'\]"),
        ('("train",)', "()", "some of train, val, test"),
        ("for index", "open('nothing')\n        for index", r"greys\.py, line 16: FileNotFoundError"),
        (
            "yield Item(",
            "yield (",
            r"items\(\) should yield Item\(name, split, label, open\), not tuple",
        ),
        ('"train", index', '"val", index', "the split 'val' of 0 is not one of its splits"),
        ("index % 2", "index", "label of 2 should be a number from 0 to 1"),
        ("index % 2", "-1", "label of 0 should be a number from 0 to 1, an array of 2 values, or None, not -1"),
        ("index % 2", "'a'", "label of 0 should be a number from 0 to 1"),
        ('("a", "b")', "()", "0 has the label 0, but class_names is empty"),
        (
            "index % 2",
            "0 if index else __import__('numpy').ones(2)",
            "the label of 1 has type int, other labels have ndarray",
        ),
        ("Image.new", "len", r"4 of 4 images cannot be used; the first: 0 cannot be read: len\(\) takes"),
    ],
)
def test_an_invalid_source_is_refused_with_the_reason(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        levels(written(tmp_path, (old, new)))


def test_classes_may_be_named_by_numbers(tmp_path: Path) -> None:
    assert find(written(tmp_path, ('("a", "b")', "range(2)"))).class_names == ["0", "1"]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*none\.py"):
        find(f"{tmp_path}/none.py:3")


def test_the_example_in_contributing_draws_different_rings(tmp_path: Path) -> None:
    contributing.write_files(tmp_path)
    items = list(find(f"{tmp_path}{os.sep}rings.py:60").items())
    pictures = {np.asarray(item.open()).tobytes() for item in items}
    assert len(items) == 60 and len(pictures) > 55
