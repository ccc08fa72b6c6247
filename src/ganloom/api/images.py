"""Prepare, open, unpack and inspect images."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from pydantic import ValidationError

from ganloom.config import Data, explain
from ganloom.core.errors import ConfigError
from ganloom.core.files import user_path
from ganloom.core.flags import READ_FLAGS, ReadFlags, settings_of, with_flags
from ganloom.core.memory import memory_errors
from ganloom.core.phases import phase
from ganloom.core.public import public
from ganloom.core.shapes import MAX_SIDE
from ganloom.core.terminal import log, shown
from ganloom.data import inspect as inspection
from ganloom.data import unpack as unpacking
from ganloom.data.dataset import Dataset
from ganloom.data.from_config import prepare_from_config
from ganloom.data.packed import SKIPPED, PackedDataset, open_packed
from ganloom.data.parallel import FEWER
from ganloom.data.sources import find

__all__ = ["inspect", "open_dataset", "prepare", "remarks", "unpack"]


@public
@with_flags(READ_FLAGS)
def prepare(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    size: int | str | tuple[int, int] | None = None,
    channels: int | None = None,
    resize: str | None = None,
    window: str | tuple[float, float] | None = None,
    holdout: str | float | None = None,
    group_by: str | None = None,
    classes: str | Sequence[str] | None = None,
    drop_duplicates: bool = False,
    max_skipped: str | float | None = None,
    fast: bool = False,
    workers: int | None = None,
    verbose: bool = False,
    **reading: Unpack[ReadFlags],
) -> Dataset:
    """Pack images into the folder `dest`, so that training on them starts immediately.

    The keywords are keys of the configuration's section `data`; None leaves the default. An interrupted preparation
    resumes where it stopped.

    Args:
        source: a folder, an archive, array files, a dataset by name, or `FILE.py:ARGUMENT`.
        dest: the folder to create.
        size: 64, "48x64" or (height, width), in pixels; by default the images' own.
        channels: 1, 3 or 4; by default grey or colour as found.
        resize: "crop", "fit" (pad with black) or "stretch", for images of another aspect ratio.
        window: "LOW:HIGH" or (low, high): the values that become black and white, of images of more than 8 bits.
        holdout: the share of images kept from training where the source has no splits, such as "5%" or 0.05.
        group_by: a regular expression; images whose names have the same match stay on one side of the hold-out.
        classes: use only these classes.
        drop_duplicates: keep only one of identical images.
        max_skipped: the maximum share of files that may be unusable.
        fast: decode JPEGs at reduced size: faster, not exact to the pixel.
        workers: threads; by default one per core.
        verbose: show progress, and what became of the files.
        reading: how the files are read, as for `ganloom prepare`: `splits`, `class_level`, `labels`, `frames` ...

    Raises `GanloomError`.

    >>> import ganloom
    >>> dataset = ganloom.prepare("shapes:16", "packed/shapes", holdout=0.1)
    >>> dataset.count("train"), dataset.count("val"), str(dataset.shape)
    (9010, 990, '16x16 RGB')

    """
    data = data_section(
        {
            "source": os.fspath(source),
            "size": size,
            "channels": channels,
            "resize": resize,
            "window": window,
            "holdout": holdout,
            "group_by": group_by,
            "classes": classes,
            "drop_duplicates": drop_duplicates,
            "max_skipped": max_skipped,
            "fast": fast,
        },
        reading,
    )
    if data.size is not None and max(data.size) > MAX_SIDE:
        raise ConfigError(f"--size {size} is more than any network takes: give at most {MAX_SIDE} pixels per side.")
    with shown(verbose), memory_errors(f"preparing {data.source}", FEWER):
        with phase(f"looking at {data.source}"):
            found = find(data)
            note = inspection.enlarged(found, data.size)
        dataset = prepare_from_config(found, data, Path(dest), workers)
        for line in account(dataset):
            log.info(line)
        if note:
            log.info(f"note: {note}")
    return dataset


@public
def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Open a packed dataset. Images stay on the disk until they are asked for. Raises `DataError`.

    >>> import ganloom
    >>> _ = ganloom.prepare("shapes:16", "packed/opened")
    >>> ganloom.open_dataset("packed/opened").class_names
    ['circle', 'square', 'triangle', 'cross', 'ring']
    """
    return open_packed(user_path(path))


@public
def unpack(dataset: str | os.PathLike[str], dest: str | os.PathLike[str], *, verbose: bool = False) -> Path:
    """Write a packed dataset as a folder of PNG files or, if `dest` ends in .zip, as a zip in StyleGAN's format.

    Both can be prepared again, to the same dataset. Returns the path written. Raises `GanloomError`.

    >>> import ganloom
    >>> _ = ganloom.prepare("digits", "packed/digits")
    >>> str(ganloom.unpack("packed/digits", "digits.zip"))
    'digits.zip'
    """
    opened = open_packed(user_path(dataset))
    with shown(verbose), phase(f"unpacking {opened.name}") as progress:
        return unpacking.unpack(opened, Path(dest), progress)


@public
@with_flags(READ_FLAGS)
def inspect(
    source: str | os.PathLike[str], *, workers: int | None = None, verbose: bool = False, **reading: Unpack[ReadFlags]
) -> inspection.Findings:
    """Check every image of a source: sizes, classes, duplicates, damaged files. Raises `DataError` if there are none.

    >>> import ganloom
    >>> findings = ganloom.inspect("digits")
    >>> findings.count, len(findings.class_names), len(findings.faults)
    (1797, 10, 0)
    """
    with shown(verbose), memory_errors(f"looking at {os.fspath(source)}", FEWER):
        found = find(data_section({"source": os.fspath(source)}, reading))
        with phase(f"looking at {found.name}") as progress:
            return inspection.inspect(found, workers=workers, progress=progress)


def data_section(values: Mapping[str, Any], reading: ReadFlags) -> Data:
    """A validated section `data` of the configuration. Raises `ConfigError`."""
    values = {**values, **{key.removeprefix("data."): value for key, value in settings_of(reading).items()}}
    try:
        return Data.model_validate({key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        raise ConfigError(explain(error, Data)) from None


def account(dataset: PackedDataset) -> Iterator[str]:
    """What became of every file, in words."""
    description = dataset.description
    splits = ", ".join(f"{count:,} {split}" for split, count in description.splits.items())
    classes = f" in {len(description.class_names)} classes" if description.class_names else ""
    yield f"packed    {description.account.taken:,} images{classes}: {splits}"
    yield f"shape     {dataset.shape}"
    yield from remarks(dataset)
    yield f"dataset   {dataset.path}"


def remarks(dataset: PackedDataset) -> Iterator[str]:
    """What the user should know about a dataset: how it was read, what was skipped, and so on."""
    description, account = dataset.description, dataset.description.account
    yield from (f"{topic:<9} {text}" for topic, text in description.remarks)
    if account.duplicates or account.dropped:
        kept = "kept; leave them out with data.drop_duplicates=true (--drop-duplicates)"
        fate = f"{account.dropped:,} dropped" if account.dropped else kept
        yield f"twice     {account.duplicates + account.dropped:,} images are identical to an earlier one ({fate})"
    if account.skipped:
        yield f"skipped   {account.skipped:,} files, listed with reasons in {dataset.path / SKIPPED}"
    if account.ungrouped:
        yield f"alone     {account.ungrouped:,} images do not match data.group_by (--group-by): each is its own group"
    if account.left_out:
        yield f"left out  {account.left_out:,} images of other classes"
    if account.ignored:
        yield f"ignored   {account.ignored:,} files that are not images, or are masks or second copies of images"
    if description.window:
        low, high = description.window
        setting = "data.window (--window)"
        yield f"window    values {low:g} to {high:g} became black to white (images of more than 8 bits; see {setting})"
