"""What it costs to verify that a packed dataset has the content that its hash says (`data.verify`).

    python benchmarks/verify.py [--megabytes 1024] [--name verify]

first      seconds per gigabyte to read and hash the files, once for each state of them: from the system's cache, and
           from the disk, after the system was asked to forget them (Linux); `cpu`: of these, seconds of the processor,
           which other processes on the machine do not change
again      milliseconds where no file has changed since
10 million minutes for ten million images in colour at two sizes, at the speeds of `first`
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import machine
from ganloom.core.runtime import tune_process
from ganloom.data.identity import content_hash, verify
from ganloom.data.packed import Account, Description, PackedDataset, open_packed, shard_path

ROUNDS = 3
SIDE = 32
SHARD_BYTES = 2**28


def dataset(folder: Path, megabytes: int) -> PackedDataset:
    """Noise of that size, with its hash."""
    rows, images = SHARD_BYTES // (SIDE * SIDE * 3), megabytes * 10**6 // (SIDE * SIDE * 3)
    folder.mkdir()
    for first in range(0, images, rows):
        block = (min(rows, images - first), SIDE, SIDE, 3)
        np.save(
            shard_path(folder, "train", first // rows), np.random.default_rng(first).integers(0, 256, block, np.uint8)
        )
    account = Account(taken=images, duplicates=0, dropped=0, skipped=0, left_out=0, ungrouped=0, ignored=0)
    shape, splits = (3, SIDE, SIDE), {"train": images}
    description = Description(
        name="noise", shape=shape, class_names=[], splits=splits, rows_per_shard=rows, preprocessing="", selection="",
        window=None, account=account, source_key="", content_hash=content_hash(folder, shape, [], splits, rows),
    )  # fmt: skip
    (folder / "dataset.json").write_bytes(description.to_json())
    return open_packed(folder)


def forget(folder: Path) -> None:
    """Ask the system to drop the files from its cache."""
    for path in folder.glob("*.npy"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(
    folder: Path, *, cold: bool, recorded: bool, clock: Callable[[], float] = time.perf_counter
) -> Iterator[float]:
    for _ in range(ROUNDS):
        if not recorded:
            for record in (Path(os.environ["GANLOOM_CACHE"]) / "verified").glob("*"):
                record.unlink()
        if cold:
            forget(folder)
        opened = open_packed(folder)
        began = clock()
        verify(opened)
        yield clock() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024, help="size of the dataset")
    parser.add_argument("--name", default="verify", help="name of the file in benchmarks/results")
    options = parser.parse_args()
    tune_process()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["GANLOOM_CACHE"] = f"{temporary}/cache"
        folder = Path(temporary) / "packed"
        made = dataset(folder, options.megabytes)
        gigabytes = made.count() * made.description.row_bytes / 1e9
        first = {"cached": statistics.median(seconds(folder, cold=False, recorded=False)) / gigabytes}
        cpu = seconds(folder, cold=False, recorded=False, clock=time.process_time)
        first["cpu"] = statistics.median(cpu) / gigabytes
        if hasattr(os, "posix_fadvise"):
            first["disk"] = statistics.median(seconds(folder, cold=True, recorded=False)) / gigabytes
        again = statistics.median(seconds(folder, cold=False, recorded=True))
    sizes = {f"10 million of {side}x{side}": 1e7 * side * side * 3 / 1e9 for side in (32, 256)}
    results: dict[str, dict[str, Any]] = {
        "first, seconds per gigabyte": {name: round(each, 3) for name, each in first.items()},
        "again, milliseconds": {"cached": round(1e3 * again, 3)},
        **{
            f"{name} ({size:,.0f} GB), minutes": {where: round(each * size / 60, 1) for where, each in first.items()}
            for name, size in sizes.items()
        },
    }
    for title, values in results.items():
        print(f"{title:<44} {'  '.join(f'{name} {value}' for name, value in values.items())}")
    print(machine.write(options.name, results))


if __name__ == "__main__":
    main()
