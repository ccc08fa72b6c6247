"""Small datasets for the tests of this folder."""

from pathlib import Path
from typing import Any

import numpy as np

from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.sources import find

ALL = Selection(holdout=0)  # no hold-out, so that rows are the images in order


def pack(folder: Path, **arrays: Any) -> PackedDataset:
    """Pack arrays, named as in an .npz file."""
    np.savez(folder / "arrays.npz", **arrays)
    return prepare(find(str(folder / "arrays.npz")), Preprocessing(), ALL)


def pack_all(path: Path, size: tuple[int, int] | None = None, channels: int | None = None) -> PackedDataset:
    """Pack a folder or a file."""
    return prepare(find(str(path)), Preprocessing(size, channels), ALL)
