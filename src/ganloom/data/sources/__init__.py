"""Find images and labels wherever they are: folders, archives, arrays, published datasets. One file per kind of source.

A source module has `open_source(spec) -> Source`. A source that is not a path is named by its module, some with an
argument after a colon: `digits`, `shapes:64`, `medmnist:pathmnist`. A custom source is `FILE.py` or `FILE.py:ARGUMENT`.
"""

import glob
import importlib
import os
import re

from ganloom.config import Reading
from ganloom.core.code import split
from ganloom.core.errors import DataError, UnsuitableError
from ganloom.core.files import user_path
from ganloom.core.names import nearest
from ganloom.data.sources.contract import Item, Label, Source

__all__ = ["BUILT_IN", "Item", "Label", "Source", "absolute", "find", "refuse_missing"]

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


def find(given: str | Reading) -> Source:
    """The source for a path, a pattern of array files, a name or a Python file. Raises `GanloomError` with the remedy.

    A `Reading` also says how to read it, which must be possible for that kind of source.
    """
    section = Reading(source=given) if isinstance(given, str) else given
    reading = Reading(**{key: getattr(section, key) for key in Reading.model_fields})  # and nothing else of `data`
    refuse_missing(reading.source)
    spec = _as_named(reading.source)
    name, _, argument = spec.partition(":")
    if name in PREFIXES:  # a folder of that name is ./digits
        return _open(name, argument, reading)
    if split(spec):
        return _open("custom", absolute(spec), reading)
    from ganloom.data.sources import kinds

    path = user_path(spec)
    if path.is_dir():
        return _open(kinds.of_folder(path, reading.any_suffix), str(path), reading)
    if path.is_file():
        return _open(kinds.of_file(path), str(path), reading)
    return _open(kinds.of_pattern(spec), str(path), reading)


def refuse_missing(source: str) -> None:
    """Raises `DataError` with the remedy if there is nothing that `find` could open. It reads no file."""
    if not source.strip():
        raise DataError("the name of the source is empty: give a folder, a file or a dataset. Is a variable unset?")
    spec = _as_named(source)
    name, colon, argument = spec.partition(":")
    if name in PREFIXES:
        wanted = PREFIXES[name]
        if not argument and wanted and not wanted.startswith("["):
            raise DataError(f"'{name}' needs an argument: write {name}:{wanted}.")
        if colon and not wanted:
            raise DataError(f"'{name}' takes no argument: write {name}.")
        return
    path = user_path(spec)
    if split(spec) or path.is_dir() or path.is_file() or glob.has_magic(spec):
        return
    if web := re.match(r"([a-z][a-z0-9+.-]+)://", spec, re.IGNORECASE):
        how = f" (curl -LO {spec})" if web[1].lower() in ("http", "https", "ftp") else ""
        raise DataError(
            f"{spec} is an address: download it first{how}, then give the path of the file. For a dataset on Hugging "
            "Face, write hf:OWNER/NAME."
        )
    if path.suffix or os.sep in spec or path.is_absolute():
        raise DataError(f"there is nothing at {spec}: check the path.")
    from ganloom.data.sources.medmnist import SETS

    meant = f"Did you mean 'medmnist:{spec.lower()}'?" if spec.lower() in SETS else nearest(spec, BUILT_IN)
    raise DataError(f"there is no folder, file or built-in dataset '{spec}': check the path or the name. {meant}")


def absolute(spec: str) -> str:
    """The same source with its paths made absolute, so that it holds in any working folder."""
    spec = _as_named(spec)
    name, colon, argument = spec.partition(":")
    if name in FOLDERS and colon and user_path(argument).is_dir():
        return f"{name}:{user_path(argument).resolve()}"
    if name in PREFIXES:
        return spec
    if parts := split(spec):
        path, given = parts
        is_path = any(mark in given for mark in ("/", os.sep)) and user_path(given).exists()
        argument = str(user_path(given).resolve()) if is_path else given
        return f"{user_path(path).resolve()}{f':{argument}' if argument else ''}"
    return str(user_path(spec).resolve())


def _as_named(spec: str) -> str:
    """A source in capitals or with other dashes as its name: `CIFAR-10` is `cifar10`. A path comes first."""
    name, colon, argument = spec.partition(":")
    if name in PREFIXES or user_path(spec).exists():
        return spec
    plain = {re.sub("[-_ ]", "", known): known for known in PREFIXES}
    found = plain.get(re.sub("[-_ ]", "", name.lower()))
    return f"{found}{colon}{argument}" if found else spec


def _open(name: str, spec: str, reading: Reading) -> Source:
    """Let a module open a source. Its `SETTINGS` are the keys of `Reading` that it follows."""
    module = importlib.import_module(f"ganloom.data.sources.{name}")
    known: frozenset[str] = getattr(module, "SETTINGS", frozenset())
    for key, field in Reading.model_fields.items():
        if key not in {"source", *known} and getattr(reading, key) != field.default:
            raise UnsuitableError(f"data.{key} cannot be followed for {reading.source}: leave it out.")
    source: Source = module.open_source(spec, reading) if known else module.open_source(spec)
    return source
