"""Decode, resize and pack the images of a source, once and on all cores. Training never decodes an image.

Progress is saved regularly, so that an interrupted preparation resumes where it stopped.
"""

import contextlib
import csv
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock

from ganloom.core.errors import DataError, UnsuitableError
from ganloom.core.files import cache_folder, read_regular, safe_names, storage_errors, user_path, write_atomically
from ganloom.core.plain_json import read_json
from ganloom.core.terminal import log
from ganloom.data.decode import Decoded, Preprocessing, decode
from ganloom.data.groups import Groups
from ganloom.data.identity import content_hash, record, verify
from ganloom.data.observed import Observed
from ganloom.data.packed import (
    SKIPPED,
    Account,
    DamagedError,
    Description,
    PackedDataset,
    labels_path,
    open_packed,
)
from ganloom.data.parallel import in_order
from ganloom.data.selection import Selection
from ganloom.data.shards import Shards
from ganloom.data.sources import Item, Source
from ganloom.data.sources.contract import SPLITS, Remark
from ganloom.data.sources.packed import PackedSource
from ganloom.data.window import LazyWindow

__all__ = ["MAX_SKIPPED", "Preprocessing", "Selection", "prepare"]

MAX_SKIPPED = 0.05  # of the image files; if more cannot be used, something is wrong with the whole folder
SAVE_EVERY = 2.0  # seconds between two states from which an interrupted preparation can resume
ANOTHER_CACHE = "Choose another folder with the environment variable GANLOOM_CACHE."
KEY_FILE = "preparation.txt"  # in an unfinished dataset: the hash of what it is prepared from

Progress = Callable[[int, int | None], None]  # images done, images in total or None if that is not known


def prepare(
    source: Source,
    preprocessing: Preprocessing,
    selection: Selection | None = None,
    dest: Path | None = None,
    *,
    workers: int | None = None,
    max_skipped: float = MAX_SKIPPED,
    verified: bool = True,
    progress: Progress | None = None,
) -> PackedDataset:
    """The packed dataset of a source, in `dest` or else in the cache: prepared now, unless it exists already.

    Several processes may call it at once: one prepares, the others wait. With `verified`, the content of a dataset that
    exists is compared with its hash. One that the user named is refused if it differs; one in the cache is a copy, and
    is prepared again.

    Raises `DataError` for a dataset that has changed, and if too many files cannot be used or the images differ in
    size; `StorageError` if the disk is full.
    """
    selection = selection or Selection()
    if verified and isinstance(source, PackedSource):  # its hash stands for its images
        verify(source.dataset)
    if dest is not None and dest.is_file():
        raise DataError(
            f"{dest} exists and is not this dataset, but a file: choose another folder. A pattern of files has to "
            "be in quotes: 'part*.npz'."
        )
    if isinstance(source, PackedSource) and preprocessing.channels is None:  # keep the channels it was packed with
        preprocessing = replace(preprocessing, channels=source.dataset.shape.channels)
    if isinstance(source, PackedSource) and preprocessing.window:
        raise UnsuitableError(
            f"{source.name} is already packed in 8 bits: set a window when preparing the original images."
        )
    if dest is None and isinstance(source, PackedSource) and _matches(source.dataset, preprocessing, selection):
        return source.dataset
    root = getattr(source, "root", None)  # of the sources that read a folder
    if dest is not None and root is not None and user_path(dest).resolve().is_relative_to(Path(root).resolve()):
        raise DataError(f"{dest} lies in {root}, where the images come from: choose a folder outside it.")
    selection.check(source)
    key = _key(source, preprocessing, selection)
    cache = cache_folder()
    folder = user_path(dest).resolve() if dest else cache / f"{safe_names([source.name])[0]}-{key[:16]}"
    locks = cache / "locks"  # not beside `dest`: lock files cannot be deleted safely
    with storage_errors(cache, ANOTHER_CACHE):
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32])
    progress = progress or (lambda done, total: None)
    progress(0, None)  # shown while this process waits for another one that prepares the same
    with storage_errors(folder.parent, "Choose another folder." if dest else ANOTHER_CACHE):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock:
            dataset = _find_ready(folder, key, in_cache=dest is None, verified=verified)
            if dataset is None:
                if folder.exists():
                    folder.rmdir()  # it is empty; if it cannot be replaced, fail now and not after the work
                unfinished = folder.parent / f".{folder.name}.unfinished"
                _begin_or_resume(unfinished, key)
                try:
                    job = _Job(source, preprocessing, selection, key, unfinished)
                    job.run(workers or os.cpu_count() or 1, max_skipped, progress)
                except _TooManySkippedError:  # kept: with a higher --max-skipped it is finished
                    raise
                except DataError:  # removed: to resume it would fail again
                    shutil.rmtree(unfinished, ignore_errors=True)
                    raise
                os.replace(unfinished, folder)
                (folder / KEY_FILE).unlink()
                dataset = open_packed(folder)
                record(dataset)
    _check_skipped(dataset.description.account, max_skipped, folder / SKIPPED)
    return dataset


class _TooManySkippedError(DataError):
    pass


def _check_skipped(account: Account, max_skipped: float, listed: Path, first: str = "") -> None:
    """Raise `DataError` if too many of the image files could not be used."""
    total = account.taken + account.dropped + account.skipped
    if account.skipped > max_skipped * total:
        raise _TooManySkippedError(
            f"{account.skipped} of {total} images cannot be used{first}. Repair or remove them (all are listed in "
            f"{listed}), or allow more than {max_skipped:.0%} with data.max_skipped (--max-skipped)."
        )


def _matches(dataset: PackedDataset, preprocessing: Preprocessing, selection: Selection) -> bool:
    shape = dataset.shape
    size, channels = (shape.height, shape.width), shape.channels
    same_images = selection == Selection() or str(selection) == dataset.description.selection
    return same_images and preprocessing.size in (None, size) and preprocessing.channels in (None, channels)


def _key(source: Source, preprocessing: Preprocessing, selection: Selection) -> str:
    digest = hashlib.sha256(f"{preprocessing}\n{selection}\n".encode())
    for line in source.fingerprint():
        digest.update(f"{line}\n".encode("utf-8", "surrogateescape"))  # file names may be any bytes
    return digest.hexdigest()


def _find_ready(folder: Path, key: str, *, in_cache: bool, verified: bool) -> PackedDataset | None:
    """The dataset if it exists, `verified` if asked for.

    If the folder has any other content, that is deleted in the cache; elsewhere `DataError` is raised.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    found = None
    with contextlib.suppress(DataError):
        found = open_packed(folder)
    if found is None or found.description.source_key != key:
        if not in_cache:
            raise DataError(
                f"{folder} exists and is not this dataset, or is incomplete: choose another folder, or delete it."
            )
        _discard(folder)
        return None
    try:
        if verified:
            verify(found)
    except DamagedError:
        if not in_cache:
            raise
        _discard(folder)
        return None
    return found


def _discard(folder: Path) -> None:
    """Delete a copy that ganloom itself has made, and can make again."""
    log.info(f"the prepared copy in the cache, {folder}, is damaged: it is deleted and prepared again")
    shutil.rmtree(folder)


def _begin_or_resume(unfinished: Path, key: str) -> None:
    """Create the working folder, unless an interrupted preparation of the same dataset left one."""
    try:
        if read_regular(unfinished / KEY_FILE) == key.encode():
            return
    except OSError:
        pass
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    write_atomically(unfinished / KEY_FILE, key.encode())


class _Job:
    """One preparation. All of its state is in the folder: the packed rows, and one line per file in files.jsonl."""

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
        self.seen: set[bytes] = set()  # digests of the decoded images, to find duplicates
        self.done = self.taken = self.duplicates = self.dropped = self.left_out = self.ungrouped = 0
        self.skipped: list[tuple[str, str]] = []
        self.observed = Observed()
        self.jpegs = 0
        self.window = LazyWindow(source, preprocessing.window)
        self.has_splits = tuple(source.splits) != ("train",)
        self.groups = Groups(selection, self.has_splits)

    def run(self, workers: int, max_skipped: float, progress: Progress) -> None:
        """Prepare everything that is not done yet."""
        finished = self._resume()
        with (
            open(self.folder / "files.jsonl", "a", encoding="utf-8") as account,
            Shards(self.folder, self.splits, self.preprocessing.channels, bool(self.class_names)) as shards,
        ):
            lines: list[str] = []  # of files.jsonl, not written yet
            saved_at = time.monotonic()
            try:
                for item, result in in_order(islice(self.source.items(), finished, None), self._decode, workers):
                    entry = self._take(item, result, shards)
                    self._count(entry)
                    lines.append(json.dumps(entry) + "\n")
                    if time.monotonic() - saved_at > SAVE_EVERY:
                        _save(shards, account, lines)
                        saved_at = time.monotonic()
                    if self.done % 100 == 0:
                        progress(self.done, self.source.count)
            finally:
                _save(shards, account, lines)
            progress(self.done, self.source.count)
        self._finish(shards, max_skipped)

    def _resume(self) -> int:
        """Count what an interrupted preparation has done, and return the number of items that are finished."""
        path = self.folder / "files.jsonl"
        if not path.exists():
            return 0
        with open(path, "r+b") as file:
            for line in file:
                if not line.endswith(b"\n"):  # it was interrupted while writing this line
                    file.seek(-len(line), os.SEEK_CUR)
                    file.truncate()
                    break
                try:
                    self._count(read_json(line))
                except (ValueError, TypeError, LookupError, AttributeError):
                    raise DataError(
                        f"the unfinished dataset {self.folder} is damaged ({path.name}) and was removed: prepare again."
                    ) from None
        return self.done

    def _count(self, entry: dict[str, Any]) -> None:
        """Add an entry of files.jsonl to the counts, whether it is new or from before an interruption."""
        self.done += 1
        if "skipped" in entry:
            self.skipped.append((entry["file"], entry["skipped"]))
            return
        self.left_out += "left_out" in entry
        if "sha256" not in entry:
            return
        self.seen.add(bytes.fromhex(entry["sha256"]))
        if split := entry.get("split"):
            self.splits[split] += 1
            self.taken += 1
            self.ungrouped += self.selection.group_by is not None and not self.selection.has_group(entry["file"])
            self.duplicates += "duplicate" in entry
            self.jpegs += "jpeg" in entry
            self.observed.add(
                entry["file"], deep="windowed" in entry, coloured="coloured" in entry, frames=entry.get("frames", 1)
            )
            self.groups.add(entry["file"], split, entry.get("group"), entry["sha256"])
        else:
            self.dropped += 1

    def _take(self, item: Item, result: Decoded | str | None, shards: Shards) -> dict[str, Any]:
        """Pack an image, and return its entry for files.jsonl."""
        if result is None:
            return {"file": item.name, "left_out": True}
        if isinstance(result, str):
            return {"file": item.name, "skipped": result}
        duplicate = {"duplicate": True} if bytes.fromhex(result.digest) in self.seen else {}
        if duplicate and self.selection.drop_duplicates:
            return {"file": item.name, "sha256": result.digest, **duplicate}
        held_out = not self.has_splits and self.selection.is_held_out(item, result.digest)
        split = "val" if held_out else item.split
        label = self.selection.label(item.label, self.source)
        shards.add(split, result.pixels, label, item.name)
        entry = {"file": item.name, "split": split, "sha256": result.digest, **duplicate}
        seen = {"windowed": result.windowed, "coloured": result.coloured, "jpeg": result.jpeg, "group": item.group}
        entry |= {key: value for key, value in seen.items() if value}
        return entry | ({"frames": result.frames} if result.frames > 1 else {})

    def _decode(self, item: Item) -> Decoded | str | None:
        """The pixels, the reason why there are none, or None for an item whose class is not selected."""
        if not self.selection.takes(item.label, self.source):
            return None
        return decode(item, self.preprocessing, self.window)

    def _finish(self, shards: Shards, max_skipped: float) -> None:
        """Check that enough images could be used, and write dataset.json, which completes the dataset."""
        account = Account(
            taken=self.taken,
            duplicates=self.duplicates,
            dropped=self.dropped,
            skipped=len(self.skipped),
            left_out=self.left_out,
            ungrouped=self.ungrouped,
            ignored=self.source.ignored,
            jpegs=self.jpegs,
        )
        if self.skipped:
            self._list_skipped(self.folder / SKIPPED)
            kept = cache_folder() / f"{safe_names([self.source.name])[0]}-skipped.csv"
            try:
                _check_skipped(account, max_skipped, kept, "; the first: {} {}".format(*self.skipped[0]))
            except _TooManySkippedError:
                self._list_skipped(kept)
                raise
        if not self.splits["train"]:
            held_out = self.splits["val"] and "val" not in self.source.splits
            remedy = " All were held out: set data.holdout (--holdout) to 0." if held_out else ""
            raise DataError(f"no training image of {self.source.name} could be used.{remedy}")
        assert shards.shape
        height, width, channels = shards.shape
        window = self.window() if self.observed.deep else None
        observed = self.observed.remarks(self.preprocessing.channels, self.preprocessing.window, window)
        values: dict[str, Any] = {
            "name": self.source.name,
            "shape": (channels, height, width),
            "class_names": self.class_names,
            "splits": {split: count for split, count in self.splits.items() if count},
            "rows_per_shard": shards.rows_per_shard,
            "preprocessing": str(self.preprocessing),
            "selection": str(self.selection),
            "window": window,
            "account": account,
            "remarks": (*self.source.remarks, *observed, *self.groups.remarks(), *self._untrained()),
            "source_key": self.key,
        }
        hashed = content_hash(self.folder, values["shape"], self.class_names, values["splits"], shards.rows_per_shard)
        description = Description(**values, content_hash=hashed)
        write_atomically(self.folder / "dataset.json", description.to_json())

    def _untrained(self) -> Iterator[Remark]:
        """What is said of classes that have lost all of their training images, such as to the hold-out."""
        if not self.class_names:
            return
        labels = np.load(labels_path(self.folder, "train"))
        used = np.flatnonzero(labels.any(0)) if labels.ndim == 2 else np.unique(labels)
        lost = [name for number, name in enumerate(self.class_names) if number not in set(used.tolist())]
        if lost:
            some = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
            text = f"no training image is left of {some}: choose the others with data.classes (--classes)"
            yield Remark("classes", text)

    def _list_skipped(self, path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows([("file", "reason"), *self.skipped])


def _save(shards: Shards, account: IO[str], lines: list[str]) -> None:
    """Write to the disk: first the rows, then files.jsonl, so that it never lists a row that is missing."""
    shards.flush()
    pending = lines[:]
    # Cleared before writing: Ctrl-C in between runs this again, and a missing line is better than one written twice.
    lines.clear()
    account.writelines(pending)
    account.flush()
