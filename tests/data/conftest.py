from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own: what is prepared in it is prepared for the first time."""
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., PackedDataset]:
    """Pack arrays named as in an .npz file."""

    def pack(name: str = "arrays", **arrays: Any) -> PackedDataset:
        np.savez(tmp_path / f"{name}.npz", **arrays)
        return prepare(find(str(tmp_path / f"{name}.npz")), Preprocessing(None, None))

    return pack
