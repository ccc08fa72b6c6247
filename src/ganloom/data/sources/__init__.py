"""Sources: one file a kind of origin. Each finds images and labels, and does nothing else to them.

A source module has `open_source(spec) -> Source`. A built-in dataset is named by its module (`digits`).
"""

import importlib
import os
from pathlib import Path

from ganloom.core.errors import DataError
from ganloom.core.names import nearest
from ganloom.data.sources.contract import Item, Label, Source

__all__ = ["BUILT_IN", "Item", "Label", "Source", "find"]

BUILT_IN = ("digits",)
ARRAYS = (".npy", ".npz")


def find(spec: str) -> Source:
    """The source for a path or a built-in name. Raises `DataError` with the remedy."""
    if spec in BUILT_IN:  # a folder of that name is ./digits
        return _open(spec, spec)
    path = Path(spec).expanduser()
    if path.is_dir():
        return _open("folder", str(path))
    if path.suffix.lower() in ARRAYS and path.exists():
        return _open("arrays", str(path))
    if path.is_file():
        raise DataError(f"{spec} is not a kind of file with images that ganloom reads: give a folder, .npy or .npz.")
    if path.suffix or os.sep in spec or path.is_absolute():
        raise DataError(f"there is nothing at {spec}: check the path.")
    raise DataError(
        f"there is no folder or file '{spec}': check the path. Nor is there a built-in dataset of that name. "
        f"{nearest(spec, BUILT_IN)}"
    )


def _open(module: str, spec: str) -> Source:
    source: Source = importlib.import_module(f"ganloom.data.sources.{module}").open_source(spec)
    return source
