"""Every word for a split is understood in every kind of source, from one table."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganloom.data.sources import find
from ganloom.data.sources.hf import _splits
from ganloom.data.sources.splits import SHORT_WORDS, SPLIT_WORDS

WORDS = SPLIT_WORDS | SHORT_WORDS


def partner(word: str) -> str:
    """Another word, of another split, so that there are images for training and others."""
    words = SHORT_WORDS if word in SHORT_WORDS else SPLIT_WORDS
    return next(each for each, split in words.items() if split == ("test" if WORDS[word] == "train" else "train"))


def folder(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).mkdir()
        for index in range(4):
            Image.new("L", (8, 8), index).save(root / name / f"{index}.png")
    return root


def archive(root: Path, names: list[str]) -> Path:
    (root / "in").mkdir()
    with zipfile.ZipFile(root / "a.zip", "w") as made:
        for path in sorted(folder(root / "in", names).rglob("*.png")):
            made.write(path, path.relative_to(root / "in"))
    return root / "a.zip"


def npz(root: Path, names: list[str]) -> Path:
    np.savez(root / "a.npz", **{f"x_{name}": np.zeros((4, 8, 8), np.uint8) for name in names})
    return root / "a.npz"


def npy(root: Path, names: list[str]) -> Path:
    for name in names:
        np.save(root / f"images_{name}.npy", np.zeros((4, 8, 8), np.uint8))
    return root


def table(root: Path, names: list[str]) -> Path:
    rows = []
    for name in names:
        for index in range(4):
            Image.new("L", (8, 8), index).save(root / f"{name}{index}.png")
            rows.append(f"{name}{index}.png,{index % 2},{name}")
    (root / "labels.csv").write_text("file,label,split\n" + "\n".join(rows))
    return root


def tables(root: Path, names: list[str]) -> Path:
    for name in names:
        for index in range(4):
            Image.new("L", (8, 8), index).save(root / f"a{name}{index}.png")
        rows = "\n".join(f"a{name}{index}.png,{index % 2}" for index in range(4))
        (root / f"{name}.csv").write_text(f"file,label\n{rows}")
    return root


def pixels(root: Path, names: list[str]) -> Path:
    rows = [f"{index % 2},{' '.join(['7'] * 64)},{name}" for name in names for index in range(4)]
    (root / "a.csv").write_text("emotion,pixels,Usage\n" + "\n".join(rows))
    return root / "a.csv"


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("make", [folder, archive, npz, npy, table, tables, pixels])
def test_every_word_works_in_every_kind_of_source(
    make: Callable[[Path, list[str]], Path], word: str, tmp_path: Path
) -> None:
    names = [word, partner(word)]
    counts = {WORDS[name]: 0 for name in names}
    for item in find(str(make(tmp_path, names))).items():
        counts[item.split] += 1
    assert counts == {WORDS[name]: 4 for name in names}


@pytest.mark.parametrize("word", WORDS)
def test_every_word_works_in_published_datasets(word: str) -> None:
    names = [word, partner(word)]
    assert _splits(names) == {name: WORDS[name] for name in names}


def test_less_usual_words_of_published_datasets_do_not_add_the_same_images_again() -> None:
    assert _splits(["train", "trainval", "val", "dev"]) == {"train": "train", "val": "val"}


def test_short_words_alone_are_no_splits(tmp_path: Path) -> None:
    """`te` may be Telugu, and `ts` a time series."""
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 8, 8), np.uint8), te=np.zeros(4, np.int64))
    assert tuple(find(str(tmp_path / "a.npz")).splits) == ("train",)
