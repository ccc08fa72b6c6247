"""The hash that identifies a packed dataset. It is computed from the bytes, not believed: scores, cached features and
resumed runs rely on it.

Reading takes time, so it is done once for each state of the files: a record in the cache holds their sizes, times and
inodes. The dataset then opens no file that is in another state.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ganloom.core.errors import DataError, StorageError
from ganloom.core.files import FileState, cache_folder, read_regular, sha256, write_atomically
from ganloom.core.phases import phase
from ganloom.data.dataset import Dataset
from ganloom.data.mapped import Mapped
from ganloom.data.packed import DamagedError, PackedDataset, labels_path, reading, shard_path

__all__ = ["content_hash", "record", "verified_hash", "verify"]

PIECE_BYTES = 2**26  # read between two calls of `progress`

Progress = Callable[[int, int | None], None]  # images read, images in all


class _Record(BaseModel):
    """What was found when a dataset was last read as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    description: str  # hash of what dataset.json says, of which content_hash is a part
    files: dict[str, FileState]
    # Of the files, in nanoseconds. Programs that set back the time of a change do not set back this one; but a new
    # link to the file changes it, too, so all that follows from it is another reading.
    status_changes: dict[str, int]


def verify(dataset: PackedDataset) -> None:
    """Raise `DataError` unless the images and labels are those that dataset.json was written for."""
    current = _current(dataset)
    if _recorded(dataset) != current:
        with phase(f"verifying {dataset.name}") as progress:
            _compare(dataset, progress)
        if _current(dataset) != current:
            raise DataError(f"the packed dataset {dataset.path} was changed while it was read: try again.")
        _remember(dataset, current)
    dataset.mark_verified(current.files)


def verified_hash(dataset: Dataset) -> str:
    """The content hash as a key of what depends on the content; empty if it is only stated, not verified."""
    return dataset.content_hash if isinstance(dataset, PackedDataset) and dataset.verified is not None else ""


def record(dataset: PackedDataset) -> None:
    """Remember that the files have the content that dataset.json says, which has just been computed from them."""
    current = _current(dataset)
    _remember(dataset, current)
    dataset.mark_verified(current.files)


def _compare(dataset: PackedDataset, progress: Progress) -> None:
    """Raise `DamagedError` unless the files have the content that dataset.json says."""
    description = dataset.description
    with reading(dataset.path):
        found = content_hash(
            dataset.path, description.shape, description.class_names, description.splits, description.rows_per_shard,
            progress,
        )  # fmt: skip
    if found != dataset.content_hash:
        raise DamagedError(
            f"the packed dataset {dataset.path} is not what it was when it was prepared: its content has the hash "
            f"{found[:16]}, its dataset.json says {dataset.content_hash[:16]}. A file was changed, or copied "
            "incompletely: restore it, or delete the dataset and prepare it again."
        )


def _remember(dataset: PackedDataset, known: _Record) -> None:
    path = _record_path(dataset)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, known.model_dump_json().encode())
    except (OSError, StorageError):  # a cache that cannot be written: it is read again next time
        pass


def content_hash(
    folder: Path,
    shape: tuple[int, int, int],  # channels, height, width
    class_names: Sequence[str],
    splits: Mapping[str, int],  # images in each
    rows_per_shard: int,
    progress: Progress | None = None,
) -> str:
    """The SHA-256 hash of what training sees, whatever the source and however the images are split into files."""
    seen = {"shape": shape, "class_names": list(class_names), "splits": dict(splits)}
    digest = hashlib.sha256(json.dumps(seen, sort_keys=True).encode())
    done, total = 0, sum(splits.values())
    for split, count in splits.items():
        if class_names:
            digest.update(Mapped(labels_path(folder, split)).rows.tobytes())
        for index in range(-(-count // rows_per_shard)):
            for rows in _pieces(Mapped(shard_path(folder, split, index)).rows):
                digest.update(rows.data)
                done += len(rows)
                if progress:
                    progress(done, total)
    return digest.hexdigest()


def _pieces(images: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, PIECE_BYTES // max(1, images[:1].nbytes))
    for start in range(0, len(images), rows):
        yield images[start : start + rows]


def _current(dataset: PackedDataset) -> _Record:
    description = dataset.description
    paths = [
        shard_path(dataset.path, split, first // description.rows_per_shard)
        for split, count in description.splits.items()
        for first in range(0, count, description.rows_per_shard)
    ]
    paths += [labels_path(dataset.path, split) for split in description.splits if description.class_names]
    with reading(dataset.path):
        states = {path.name: path.stat() for path in paths}
    return _Record(
        description=sha256(description.model_dump_json().encode()),
        files={name: FileState.of(state) for name, state in states.items()},
        status_changes={name: state.st_ctime_ns for name, state in states.items()},
    )


def _recorded(dataset: PackedDataset) -> _Record | None:
    try:
        return _Record.model_validate_json(read_regular(_record_path(dataset)))
    except (OSError, ValidationError):
        return None


def _record_path(dataset: PackedDataset) -> Path:
    name = hashlib.sha256(os.fsencode(dataset.path.resolve())).hexdigest()[:32]
    return cache_folder() / "verified" / f"{name}.json"
