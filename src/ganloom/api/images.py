"""Images as a person names them, looked at, prepared, opened and unpacked, with a progress bar on the way."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ganloom.config import Data, explain
from ganloom.core.errors import ConfigError
from ganloom.core.terminal import log, progress_bar
from ganloom.data import inspect as inspection
from ganloom.data import unpack as unpacking
from ganloom.data.from_config import prepare_from_config
from ganloom.data.packed import PackedDataset, open_packed
from ganloom.data.sources import find

__all__ = ["inspect", "open_dataset", "prepare", "remarks", "unpack"]


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
    follow_links: bool = False,
    fast: bool = False,
    workers: int | None = None,
) -> PackedDataset:
    """Pack a source into the folder `dest`, from which any training starts at once.

    The keywords are keys of the configuration's section `data`, and None leaves its default: size is 64, "48x64" or
    (height, width), window "LOW:HIGH", shares "5%" or 0.05. An interrupted preparation goes on where it stopped; Ctrl-C
    ends in `SystemExit`. Raises `GanloomError`.
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
            "follow_links": follow_links,
            "fast": fast,
        }
    )
    dataset = prepare_from_config(find(data.source, data.follow_links), data, Path(dest), workers)
    for line in account(dataset):
        log.info(line)
    return dataset


def open_dataset(path: str | os.PathLike[str]) -> PackedDataset:
    """Open a packed dataset. Raises `DataError`."""
    return open_packed(Path(path))


def unpack(dataset: str | os.PathLike[str], dest: str | os.PathLike[str]) -> Path:
    """Write a packed dataset as a folder of PNG files or, with a `dest` ending in .zip, as a zip for StyleGAN.

    Both can be prepared again, to the same dataset. Raises `GanloomError`.
    """
    opened = open_packed(Path(dataset))
    with progress_bar("unpacking", opened.name) as progress:
        return unpacking.unpack(opened, Path(dest), progress)


def inspect(
    source: str | os.PathLike[str], *, follow_links: bool = False, workers: int | None = None
) -> inspection.Findings:
    """Look at every image of a source. Raises `DataError` when there are none to look at."""
    found = find(os.fspath(source), follow_links)
    with progress_bar("looking at", found.name) as progress:
        return inspection.inspect(found, workers=workers, progress=progress)


def data_section(values: Mapping[str, Any]) -> Data:
    """A checked section `data` of the configuration. Raises `ConfigError`."""
    try:
        return Data.model_validate({key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        raise ConfigError(explain(error, Data)) from None


def account(dataset: PackedDataset) -> Iterator[str]:
    """What became of every file, for people."""
    told = dataset.description
    splits = ", ".join(f"{count:,} {split}" for split, count in told.splits.items())
    classes = f" in {len(told.class_names)} classes" if told.class_names else ""
    yield f"packed    {told.account.taken:,} images{classes}: {splits}"
    yield f"shape     {dataset.shape}"
    yield from remarks(dataset)
    yield f"dataset   {dataset.path}"


def remarks(dataset: PackedDataset) -> Iterator[str]:
    """What is not as simple as it might have been."""
    told, account = dataset.description, dataset.description.account
    if account.duplicates or account.dropped:
        kept = "kept; leave them out with data.drop_duplicates=true (--drop-duplicates)"
        fate = f"{account.dropped:,} dropped" if account.dropped else kept
        yield f"twice     {account.duplicates + account.dropped:,} images are equal to an earlier one ({fate})"
    if account.skipped:
        yield f"skipped   {account.skipped:,} files, listed with reasons in {dataset.path / 'skipped.csv'}"
    if account.ungrouped:
        yield f"alone     {account.ungrouped:,} images have names without the pattern of groups: each is its own group"
    if account.left_out:
        yield f"left out  {account.left_out:,} images of other classes"
    if account.ignored:
        yield f"ignored   {account.ignored:,} files that are no images, or lie in a second copy of the splits"
    if told.window:
        low, high = told.window
        setting = "data.window (--window)"
        yield f"window    values {low:g} to {high:g} became black to white (images of more than 8 bits; see {setting})"
