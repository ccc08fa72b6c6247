"""Find images and labels wherever they are: folders, archives, arrays, published datasets. One file per kind of source.

A source module has `open_source(spec) -> Source`. A source that is not a path is named by its module, some with an
argument after a colon: `digits`, `shapes:64`, `medmnist:pathmnist`. A custom source is `FILE.py` or `FILE.py:ARGUMENT`.
"""

import glob
import importlib
import os
from pathlib import Path

from ganloom.core.code import split
from ganloom.core.errors import DataError
from ganloom.core.names import nearest
from ganloom.data.sources.contract import Item, Label, Source

__all__ = ["BUILT_IN", "Item", "Label", "Source", "absolute", "find"]

BUILT_IN = {
    "celeba": "",
    "cifar10": "",
    "cifar100": "",
    "digits": "",
    "fashion_mnist": "",
    "hf": "OWNER/NAME",
    "lsun": "CATEGORY",
    "medmnist": "NAME",
    "mnist": "",
    "shapes": "[SIZE]",
}
"""The datasets that have a name, with the argument after the colon."""

PREFIXES = {**BUILT_IN, "dicom": "PATH"}
FOLDERS = ("dicom", "hf")  # the argument may be the path of a folder; for the others it never is
ARRAYS = (".npy", ".npz")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def find(spec: str, follow_links: bool = False) -> Source:
    """The source for a path, a pattern of array files, a name or a Python file. Raises `GanloomError` with the remedy.

    `follow_links` allows symbolic links of a folder to lead out of it.
    """
    name, colon, argument = spec.partition(":")
    if name in PREFIXES:  # a folder of that name is ./digits
        wanted = PREFIXES[name]
        if not argument and wanted and not wanted.startswith("["):
            raise DataError(f"'{name}' needs an argument: write {name}:{wanted}.")
        if colon and not wanted:
            raise DataError(f"'{name}' takes no argument: write {name}.")
        if name == "dicom":
            return _dicom(argument, follow_links)
        return _open(name, argument)
    if split(spec):
        return _open("custom", absolute(spec))
    path = Path(spec).expanduser()
    if path.is_dir():
        return _folder(path, follow_links)
    if path.is_file() and path.name.lower().endswith(ARRAYS):
        return _open("arrays", str(path))
    if path.is_file() and path.name.lower().endswith(ARCHIVES):
        return _open("archive", str(path))
    if path.is_file():
        kinds = ", ".join(ARRAYS + ARCHIVES)
        raise DataError(f"ganloom cannot read images from {spec}: give a folder, or a file of type {kinds}.")
    if glob.has_magic(spec) and spec.lower().endswith(ARRAYS):
        return _open("arrays", str(path))
    if path.suffix or os.sep in spec or path.is_absolute():
        raise DataError(f"there is nothing at {spec}: check the path.")
    raise DataError(
        f"there is no folder, file or built-in dataset '{spec}': check the path or the name. {nearest(spec, BUILT_IN)}"
    )


def absolute(spec: str) -> str:
    """The same source with its paths made absolute, so that it holds in any working folder."""
    name, colon, argument = spec.partition(":")
    if name in FOLDERS and colon and Path(argument).expanduser().is_dir():
        return f"{name}:{Path(argument).expanduser().resolve()}"
    if name in PREFIXES:
        return spec
    if parts := split(spec):
        path, given = parts
        is_path = any(mark in given for mark in ("/", os.sep)) and Path(given).expanduser().exists()
        argument = str(Path(given).expanduser().resolve()) if is_path else given
        return f"{Path(path).expanduser().resolve()}{f':{argument}' if argument else ''}"
    return str(Path(spec).expanduser().resolve())


def _folder(path: Path, follow_links: bool) -> Source:
    from ganloom.data.sources import dicom, folder, packed

    if packed.is_packed(path):
        return packed.open_source(str(path))
    if dicom.has_only_dicom(path):
        return dicom.open_source(str(path), follow_links)
    return folder.open_source(str(path), follow_links)


def _dicom(path: str, follow_links: bool) -> Source:
    from ganloom.data.sources import dicom

    return dicom.open_source(path, follow_links)


def _open(module: str, spec: str) -> Source:
    source: Source = importlib.import_module(f"ganloom.data.sources.{module}").open_source(spec)
    return source
