"""Decode, orient, crop, resize, pack: once, on all cores, into the cache. Training never decodes an image."""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ganloom.core.errors import DataError
from ganloom.core.files import storage_errors, write_atomically
from ganloom.data.decode import Preprocessing, decode
from ganloom.data.packed import Description, PackedDataset, open_packed, shard_path
from ganloom.data.sources import Item, Label, Source
from ganloom.data.sources.contract import SPLITS

__all__ = ["Preprocessing", "cache_folder", "prepare"]

SHARD_BYTES = 128 * 2**20
MOST_SKIPPED = 0.05  # of all files; more than this is a fault of the folder, not of a file
WORKERS = os.cpu_count() or 1
CHUNK = 64 * WORKERS  # images in flight: enough for every core, little for the memory


def cache_folder() -> Path:
    """Where packed datasets are kept: `GANLOOM_CACHE`, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganloom"
    return Path(os.environ.get("GANLOOM_CACHE") or default).expanduser()


def prepare(
    source: Source, preprocessing: Preprocessing, progress: Callable[[int, int], None] | None = None
) -> PackedDataset:
    """The packed dataset of a source, from the cache or made now; `progress` hears of (done, total) images.

    Several processes may ask at once: one prepares, the others wait for it. Raises `DataError` when too many files
    cannot be read or sizes disagree, `StorageError` when the cache cannot be written.
    """
    digest = hashlib.sha256(f"{preprocessing}\n".encode())
    for line in source.fingerprint():
        digest.update(f"{line}\n".encode("utf-8", "surrogateescape"))  # file names may be any bytes
    cache = cache_folder()
    folder = cache / f"{source.name}-{digest.hexdigest()[:16]}"
    with storage_errors(cache, "Name another folder for prepared images with the environment variable GANLOOM_CACHE."):
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / "dataset.json").exists():
                unfinished = cache / f".{folder.name}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was killed
                unfinished.mkdir()
                try:
                    _pack(source, preprocessing, unfinished, progress or (lambda done, total: None))
                    shutil.rmtree(folder, ignore_errors=True)  # damaged: it has no dataset.json
                    os.replace(unfinished, folder)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
    return open_packed(folder)


def _pack(source: Source, preprocessing: Preprocessing, folder: Path, progress: Callable[[int, int], None]) -> None:
    items = sorted(source.items(), key=lambda item: SPLITS.index(item.split))  # stable: paths stay in order
    counts = dict.fromkeys(SPLITS, 0)
    labels: list[Label] = []
    skipped: list[tuple[str, str]] = []
    shards = _ShardWriter(folder)
    grey = True
    with open(folder / "files.jsonl", "w", encoding="utf-8") as files:
        for item, result in _decode_all(items, preprocessing):
            if isinstance(result, str):
                skipped.append((item.name, result))
                continue
            shards.add(result, item.name)
            grey = grey and _is_grey(result)
            counts[item.split] += 1
            labels.append(item.label)
            files.write(json.dumps({"file": item.name, "split": item.split}) + "\n")
            if len(labels) % 100 == 0:
                progress(len(labels) + len(skipped), len(items))
    shards.flush()
    _account_for(skipped, len(items), folder, keep=cache_folder() / f"{source.name}-skipped.csv")
    if not counts["train"]:
        raise DataError(f"no training image of {source.name} could be read.")
    channels = preprocessing.channels or (1 if grey else 3)
    if channels == 1 and shards.shape[2] > 1:
        _keep_one_channel(folder, shards.count)

    splits, first = {}, 0
    for split, count in counts.items():
        splits[split] = (first, first + count)
        first += count
    if source.class_names:
        np.save(folder / "labels.npy", _label_array(labels))
    height, width, _ = shards.shape
    values = {
        "name": source.name,
        "shape": (channels, height, width),
        "class_names": list(source.class_names),
        "splits": {split: rows for split, rows in splits.items() if rows[1] > rows[0]},
        "rows_per_shard": shards.rows,
        "preprocessing": str(preprocessing),
        "skipped": len(skipped),
    }
    description = Description(**values, content_hash=_content_hash(values, folder, shards.count))
    write_atomically(folder / "dataset.json", description.model_dump_json(indent=2).encode())


def _decode_all(
    items: list[Item], preprocessing: Preprocessing
) -> Iterator[tuple[Item, NDArray[np.uint8] | str]]:  # [H, W, C], or why not
    """Every item in order, decoded on all cores; Pillow lets go of Python's lock while it works."""
    with ThreadPoolExecutor(WORKERS) as pool:
        remaining = iter(items)
        while chunk := list(islice(remaining, CHUNK)):
            yield from zip(chunk, pool.map(lambda item: decode(item, preprocessing), chunk), strict=True)


class _ShardWriter:
    """Collects rows and writes a shard whenever enough are together. Grey and colour may be mixed: grey is widened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shape: tuple[int, int, int] = (0, 0, 0)  # height, width, channels; known from the first image on
        self.rows = 0  # of a full shard
        self.count = 0  # shards written
        self._filled = 0
        self._buffer = np.empty(0, np.uint8)

    def add(self, image: NDArray[np.uint8], name: str) -> None:
        if not self.rows:
            self.shape = (*image.shape[:2], max(3, image.shape[2]))
            self.rows = max(1, SHARD_BYTES // int(np.prod(self.shape)))
            self._buffer = np.empty((self.rows, *self.shape), np.uint8)
        if image.shape[:2] != self.shape[:2]:
            raise DataError(
                f"{name} is {image.shape[0]}x{image.shape[1]} where the images before it are "
                f"{self.shape[0]}x{self.shape[1]}: choose one size for all with --size."
            )
        self._buffer[self._filled] = image
        self._filled += 1
        if self._filled == self.rows:
            self.flush()

    def flush(self) -> None:
        if self._filled:
            np.save(shard_path(self.folder, self.count), self._buffer[: self._filled])
            self.count += 1
            self._filled = 0


def _is_grey(image: NDArray[np.uint8]) -> bool:
    return image.shape[2] == 1 or bool((image[..., :1] == image[..., 1:3]).all())


def _keep_one_channel(folder: Path, shards: int) -> None:
    for index in range(shards):
        path = shard_path(folder, index)
        np.save(path, np.load(path)[..., :1])


def _account_for(skipped: list[tuple[str, str]], total: int, folder: Path, keep: Path) -> None:
    """Write skipped.csv; refuse a source of which too much is unreadable, and `keep` the list."""
    if not skipped:
        return
    with open(folder / "skipped.csv", "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([("file", "reason"), *skipped])
    if len(skipped) > MOST_SKIPPED * total:
        shutil.copyfile(folder / "skipped.csv", keep)
        name, reason = skipped[0]
        raise DataError(
            f"{len(skipped)} of {total} images cannot be used; the first, {name}, {reason}. "
            f"Mend or remove them (all are listed in {keep}): ganloom skips at most {MOST_SKIPPED:.0%}."
        )


def _label_array(labels: Iterable[Label]) -> NDArray[np.generic]:
    """int64 [N] or float32 [N, K]; rows of a split that came without labels are -1, or 0 of every class."""
    rows = list(labels)
    known = next(label for label in rows if label is not None)
    if isinstance(known, int):
        return np.asarray([-1 if label is None else label for label in rows], np.int64)
    return np.asarray([np.zeros_like(known) if label is None else label for label in rows], np.float32)


def _content_hash(values: dict[str, object], folder: Path, shards: int) -> str:
    """Of what training sees, wherever it came from and however it is split into files."""
    seen = {key: values[key] for key in ("shape", "class_names", "splits")}
    digest = hashlib.sha256(json.dumps(seen, sort_keys=True).encode())
    if (folder / "labels.npy").exists():
        digest.update(np.load(folder / "labels.npy").tobytes())
    for index in range(shards):
        digest.update(np.load(shard_path(folder, index), mmap_mode="r").data)
    return digest.hexdigest()
