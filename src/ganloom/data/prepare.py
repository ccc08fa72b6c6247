"""Decode, orient, crop, resize, pack: once, on all cores. Training never decodes an image.

What is done is kept as it is done, so that a preparation which was interrupted goes on where it stopped.
"""

import contextlib
import csv
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock

from ganloom.core.errors import DataError
from ganloom.core.files import cache_folder, storage_errors, write_atomically
from ganloom.data.decode import Decoded, Preprocessing, decode
from ganloom.data.packed import Account, Description, PackedDataset, labels_path, open_packed, shard_path
from ganloom.data.parallel import in_order
from ganloom.data.selection import Selection
from ganloom.data.shards import Shards
from ganloom.data.sources import Item, Source
from ganloom.data.sources.contract import SPLITS
from ganloom.data.sources.packed import PackedSource
from ganloom.data.window import LazyWindow

__all__ = ["MOST_SKIPPED", "Preprocessing", "Selection", "prepare"]

MOST_SKIPPED = 0.05  # of the images' files; more than this is a fault of the folder, not of a file
KEEP_EVERY = 2.0  # seconds between two moments that an interrupted preparation can go on from
ANOTHER_CACHE = "Name another with the environment variable GANLOOM_CACHE."
CONTINUED = "preparation.txt"  # in an unfinished dataset: the key of what it is made of

Progress = Callable[[int, int | None], None]  # images done, of how many; None where only the end will tell


def prepare(
    source: Source,
    preprocessing: Preprocessing,
    selection: Selection | None = None,
    dest: Path | None = None,
    *,
    workers: int | None = None,
    max_skipped: float = MOST_SKIPPED,
    progress: Progress | None = None,
) -> PackedDataset:
    """The packed dataset of a source, made now or found made: in `dest`, or in the cache without it.

    Several processes may ask at once: one prepares, the others wait for it. Raises `DataError` when too many files
    cannot be used or sizes disagree, `StorageError` when there is no room.
    """
    selection = selection or Selection()
    if isinstance(source, PackedSource) and preprocessing.channels is None:  # what was decided once stays
        preprocessing = replace(preprocessing, channels=source.dataset.shape.channels)
    if isinstance(source, PackedSource) and preprocessing.window:
        raise DataError(f"{source.name} is packed, in 8 bits: a window is for preparing it from where it came from.")
    if dest is None and isinstance(source, PackedSource) and _is_as_wanted(source.dataset, preprocessing, selection):
        return source.dataset
    selection.check(source)
    key = _key(source, preprocessing, selection)
    cache = cache_folder()
    folder = dest.expanduser().resolve() if dest else cache / f"{source.name}-{key[:16]}"
    locks = cache / "locks"  # not beside `dest`: lock files cannot be deleted safely
    with storage_errors(cache, ANOTHER_CACHE):
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32])
    progress = progress or (lambda done, total: None)
    progress(0, None)  # another process may be at it, and then this one waits
    with storage_errors(folder.parent, "Name another folder." if dest else ANOTHER_CACHE):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock:
            if not _is_made(folder, key, in_cache=dest is None):
                if folder.exists():
                    folder.rmdir()  # empty, as was checked; one that cannot be replaced is better known now
                unfinished = folder.parent / f".{folder.name}.unfinished"
                _begin(unfinished, key)
                try:
                    job = _Job(source, preprocessing, selection, key, unfinished)
                    job.run(workers or os.cpu_count() or 1, max_skipped, progress)
                except _TooManySkippedError:  # with --max-skipped there is nothing more to do
                    raise
                except DataError:  # it would only end so again
                    shutil.rmtree(unfinished, ignore_errors=True)
                    raise
                os.replace(unfinished, folder)
                (folder / CONTINUED).unlink()
    dataset = open_packed(folder)
    _check_skipped(dataset.description.account, max_skipped, folder / "skipped.csv")
    return dataset


class _TooManySkippedError(DataError):
    pass


def _check_skipped(account: Account, max_skipped: float, listed: Path, first: str = "") -> None:
    """Raise `DataError` when too many of the images' files could not be used."""
    total = account.taken + account.dropped + account.skipped
    if account.skipped > max_skipped * total:
        raise _TooManySkippedError(
            f"{account.skipped} of {total} images cannot be used{first}. Mend or remove them (all are listed in "
            f"{listed}), or allow more than {max_skipped:.0%} with data.max_skipped (--max-skipped)."
        )


def _is_as_wanted(dataset: PackedDataset, preprocessing: Preprocessing, selection: Selection) -> bool:
    shape = dataset.shape
    size, channels = (shape.height, shape.width), shape.channels
    same_images = selection == Selection() or str(selection) == dataset.description.selection
    return same_images and preprocessing.size in (None, size) and preprocessing.channels in (None, channels)


def _key(source: Source, preprocessing: Preprocessing, selection: Selection) -> str:
    digest = hashlib.sha256(f"{preprocessing}\n{selection}\n".encode())
    for line in source.fingerprint():
        digest.update(f"{line}\n".encode("utf-8", "surrogateescape"))  # file names may be any bytes
    return digest.hexdigest()


def _is_made(folder: Path, key: str, in_cache: bool) -> bool:
    """Whether the dataset is there. Raises `DataError` when something else is, which the cache is rid of."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    with contextlib.suppress(DataError):
        if open_packed(folder).description.source_key == key:
            return True
    if in_cache:
        shutil.rmtree(folder)
        return False
    raise DataError(f"{folder} exists and is not this dataset, or not all of it: name another folder, or delete it.")


def _begin(unfinished: Path, key: str) -> None:
    """Make the folder to work in, or go on with one that was begun for the same dataset."""
    try:
        if (unfinished / CONTINUED).read_bytes() == key.encode():
            return
    except OSError:
        pass
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    write_atomically(unfinished / CONTINUED, key.encode())


class _Job:
    """One preparation. Its whole state is in the folder: the rows packed, and in files.jsonl a line for each file."""

    def __init__(
        self, source: Source, preprocessing: Preprocessing, selection: Selection, key: str, folder: Path
    ) -> None:
        self.source = source
        self.preprocessing = preprocessing
        self.selection = selection
        self.key = key
        self.folder = folder
        self.class_names = selection.class_names(source)
        self.splits = dict.fromkeys(SPLITS, 0)
        self.seen: set[bytes] = set()  # digests of what was decoded, to find duplicates
        self.done = self.taken = self.duplicates = self.dropped = self.left_out = self.ungrouped = 0
        self.skipped: list[tuple[str, str]] = []
        self.windowed = False
        self.window = LazyWindow(source, preprocessing.window)

    def run(self, workers: int, max_skipped: float, progress: Progress) -> None:
        kept = self._recall()
        with (
            open(self.folder / "files.jsonl", "a", encoding="utf-8") as account,
            Shards(self.folder, self.splits, self.preprocessing.channels, bool(self.class_names)) as shards,
        ):
            lines: list[str] = []  # of the account, not yet in the file
            kept_at = time.monotonic()
            try:
                for item, result in in_order(islice(self.source.items(), kept, None), self._decode, workers):
                    entry = self._take(item, result, shards)
                    self._count(entry)
                    lines.append(json.dumps(entry) + "\n")
                    if time.monotonic() - kept_at > KEEP_EVERY:
                        _keep(shards, account, lines)
                        kept_at = time.monotonic()
                    if self.done % 100 == 0:
                        progress(self.done, self.source.count)
            finally:
                _keep(shards, account, lines)
            progress(self.done, self.source.count)
        self._finish(shards, max_skipped)

    def _recall(self) -> int:
        """Take up what an interrupted preparation has done; the number of items that are dealt with."""
        path = self.folder / "files.jsonl"
        if not path.exists():
            return 0
        with open(path, "r+b") as file:
            for line in file:
                if not line.endswith(b"\n"):  # the kill came in the middle of it
                    file.seek(-len(line), os.SEEK_CUR)
                    file.truncate()
                    break
                try:
                    self._count(json.loads(line))
                except (ValueError, TypeError, LookupError, AttributeError):
                    raise DataError(
                        f"what was begun in {self.folder} is damaged ({path.name}) and is removed: prepare again."
                    ) from None
        return self.done

    def _count(self, entry: dict[str, Any]) -> None:
        """Keep the books: the same whether an entry is made now or was made before an interruption."""
        self.done += 1
        if "skipped" in entry:
            self.skipped.append((entry["file"], entry["skipped"]))
            return
        self.left_out += "left_out" in entry
        self.windowed = self.windowed or "windowed" in entry
        if "sha256" not in entry:
            return
        self.seen.add(bytes.fromhex(entry["sha256"]))
        if split := entry.get("split"):
            self.splits[split] += 1
            self.taken += 1
            self.ungrouped += self.selection.group_by is not None and not self.selection.has_group(entry["file"])
            self.duplicates += "duplicate" in entry
        else:
            self.dropped += 1

    def _take(self, item: Item, result: Decoded | str | None, shards: Shards) -> dict[str, Any]:
        """Pack an image; the line of the account for it."""
        if result is None:
            return {"file": item.name, "left_out": True}
        if isinstance(result, str):
            return {"file": item.name, "skipped": result}
        twice = {"duplicate": True} if bytes.fromhex(result.digest) in self.seen else {}
        if twice and self.selection.drop_duplicates:
            return {"file": item.name, "sha256": result.digest, **twice}
        alone = tuple(self.source.splits) == ("train",)
        split = "val" if alone and self.selection.is_held_out(item.name, result.digest) else item.split
        shards.add(split, result.pixels, self.selection.label(item.label, self.source), item.name)
        windowed = {"windowed": True} if result.windowed else {}
        return {"file": item.name, "split": split, "sha256": result.digest, **twice, **windowed}

    def _decode(self, item: Item) -> Decoded | str | None:
        """None for an item whose class was not asked for."""
        if not self.selection.takes(item.label, self.source):
            return None
        return decode(item, self.preprocessing, self.window)

    def _finish(self, shards: Shards, max_skipped: float) -> None:
        """Check the account and write dataset.json, which makes the folder a dataset."""
        account = Account(
            taken=self.taken,
            duplicates=self.duplicates,
            dropped=self.dropped,
            skipped=len(self.skipped),
            left_out=self.left_out,
            ungrouped=self.ungrouped,
            ignored=self.source.ignored,
        )
        if self.skipped:
            self._list_skipped(self.folder / "skipped.csv")
            kept = cache_folder() / f"{self.source.name}-skipped.csv"
            try:
                _check_skipped(account, max_skipped, kept, "; the first, {}, {}".format(*self.skipped[0]))
            except _TooManySkippedError:
                self._list_skipped(kept)
                raise
        if not self.splits["train"]:
            held_out = self.splits["val"] and "val" not in self.source.splits
            remedy = " All were held out: set data.holdout (--holdout) to 0." if held_out else ""
            raise DataError(f"no training image of {self.source.name} could be packed.{remedy}")
        assert shards.shape
        height, width, channels = shards.shape
        values: dict[str, Any] = {
            "name": self.source.name,
            "shape": (channels, height, width),
            "class_names": self.class_names,
            "splits": {split: count for split, count in self.splits.items() if count},
            "rows_per_shard": shards.rows_per_shard,
            "preprocessing": str(self.preprocessing),
            "selection": str(self.selection),
            "window": self.window() if self.windowed else None,
            "account": account,
            "source_key": self.key,
        }
        description = Description(**values, content_hash=_content_hash(values, self.folder))
        write_atomically(self.folder / "dataset.json", description.model_dump_json(indent=2).encode())

    def _list_skipped(self, path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows([("file", "reason"), *self.skipped])


def _keep(shards: Shards, account: IO[str], lines: list[str]) -> None:
    """To the disk, the rows before the account: what it says is there is there, whenever a kill comes."""
    shards.flush()
    pending = lines[:]
    lines.clear()  # first: Ctrl-C may come at any moment, and what is written twice is worse than what is not
    account.writelines(pending)
    account.flush()


def _content_hash(values: dict[str, Any], folder: Path) -> str:
    """Of what training sees, wherever it came from and however it is split into files."""
    seen = {key: values[key] for key in ("shape", "class_names", "splits")}
    digest = hashlib.sha256(json.dumps(seen, sort_keys=True).encode())
    for split, count in values["splits"].items():
        if values["class_names"]:
            digest.update(np.load(labels_path(folder, split)).tobytes())
        for index in range(-(-count // values["rows_per_shard"])):
            digest.update(np.load(shard_path(folder, split, index), mmap_mode="r").data)
    return digest.hexdigest()
