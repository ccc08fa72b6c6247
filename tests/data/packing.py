"""Small datasets for the tests of this folder."""

from pathlib import Path
from typing import Any

import numpy as np

from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find


def pack(folder: Path, **arrays: Any) -> PackedDataset:
    """Pack arrays, named as in an .npz file."""
    np.savez(folder / "arrays.npz", **arrays)
    return prepare(find(str(folder / "arrays.npz")), Preprocessing(None, None))
