"""The data path: how fast images are prepared, and what loading them costs in training, against a textbook loader.

    python benchmarks/data.py --originals FOLDER --small FOLDER [--name data]

`--originals` is a folder of about 80 large photographs or X-rays (repeated ten times), `--small` one of small images.

prepare     images per second with 1 and 2 workers, to 128x128
epoch       images per second and CPU seconds for one epoch at 64x64, floats in [-1, 1], batches of 64: the stream of
            the packed dataset against Pillow, which opens, resizes and crops every file again, as tutorials do
batch       milliseconds for 64 images, as uint8, at 32x32 and at 256x256
memory      peak memory (Linux) of a process that reads 200,000 images of 32x32 from 10,000 and from 1,000,000
open        milliseconds to open a dataset of 1,000 and of 10,000,000 images
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import machine
from ganloom.core.pictures import to_float
from ganloom.core.runtime import tune_process
from ganloom.data.decode import Preprocessing
from ganloom.data.packed import Account, Description, PackedDataset, open_packed, shard_path
from ganloom.data.prepare import prepare
from ganloom.data.selection import Selection
from ganloom.data.sources import find
from ganloom.data.stream import Stream

ROUNDS = 3
BATCH = 64
READ = 200_000


def measure_prepare(folder: Path, temporary: Path) -> dict[str, float]:
    """Images per second for each number of workers: the median over rounds, in turns."""
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for round_ in range(ROUNDS):
        for workers, each in speeds.items():
            dest = temporary / f"prepared-{round_}-{workers}"
            began = time.perf_counter()
            prepare(find(str(folder)), Preprocessing((128, 128)), dest=dest, workers=workers)
            each.append(count(folder) / (time.perf_counter() - began))
            shutil.rmtree(dest)
    return {f"{workers} workers": round(statistics.median(each), 1) for workers, each in speeds.items()}


def count(folder: Path) -> int:
    return len(files(folder))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.jp*g"))


def measure_epoch(folder: Path, temporary: Path) -> dict[str, Any]:
    """An epoch of each loader, in turns: images per second and CPU seconds."""
    dataset = prepare(
        find(str(folder)), Preprocessing((64, 64), 1), Selection(holdout=0.0), temporary / f"packed-{folder.name}"
    )
    seconds: dict[str, list[float]] = {"textbook": [], "stream": []}
    work: dict[str, list[float]] = {"textbook": [], "stream": []}
    for round_ in range(ROUNDS):
        for name, loader in (("textbook", textbook(folder)), ("stream", stream(dataset, round_))):
            began, before = time.perf_counter(), time.process_time()
            images = sum(len(batch) for batch in loader)
            seconds[name].append(time.perf_counter() - began)
            work[name].append(time.process_time() - before)
            assert images == dataset.count()
    ratios = [theirs / ours for theirs, ours in zip(work["textbook"], work["stream"], strict=True)]
    return {
        "images": dataset.count(),
        "images_per_second": {name: round(dataset.count() / statistics.median(each)) for name, each in seconds.items()},
        "cpu_seconds_an_epoch": {name: round(statistics.median(each), 4) for name, each in work.items()},
        "textbook_to_stream_cpu": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
    }


def textbook(folder: Path) -> Iterator[torch.Tensor]:
    """Resize the shorter side, crop the centre, convert to floats: every file in every epoch."""
    batch = []
    for path in files(folder):
        with Image.open(path) as image:
            grey = image.convert("L")
        scale = 64 / min(grey.size)
        grey = grey.resize((max(64, round(grey.width * scale)), max(64, round(grey.height * scale))))
        left, top = (grey.width - 64) // 2, (grey.height - 64) // 2
        pixels = np.asarray(grey.crop((left, top, left + 64, top + 64)), np.float32)
        batch.append(torch.from_numpy(pixels / 127.5 - 1)[None])
        if len(batch) == BATCH:
            yield torch.stack(batch)
            batch = []
    if batch:
        yield torch.stack(batch)


def stream(dataset: PackedDataset, epoch: int) -> Iterator[torch.Tensor]:
    samples = Stream(dataset, 0, with_labels=False)
    first, size = epoch * dataset.count(), dataset.count()
    for start in range(0, size, BATCH):
        yield to_float(samples.images(first + start, min(BATCH, size - start)))


def synthetic(folder: Path, images: int, side: int, noise: bool) -> PackedDataset:
    """A packed dataset without a source: noise, or sparse files if only their size matters."""
    folder.mkdir(parents=True)
    rows = 2**30 // (side * side * 3)
    for first in range(0, images, rows):
        shape = (min(rows, images - first), side, side, 3)
        path = shard_path(folder, "train", first // rows)
        shard = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        if noise:
            shard[:] = np.random.default_rng(first).integers(0, 256, shape, np.uint8)
    account = Account(taken=images, duplicates=0, dropped=0, skipped=0, left_out=0, ungrouped=0, ignored=0)
    description = Description(
        name="synthetic", shape=(3, side, side), class_names=[], splits={"train": images}, rows_per_shard=rows,
        preprocessing="", selection="", window=None, account=account, source_key="", content_hash="",
    )  # fmt: skip
    (folder / "dataset.json").write_bytes(description.to_json())
    return open_packed(folder)


def measure_batches(temporary: Path) -> dict[str, Any]:
    """Milliseconds per batch after the first epoch."""
    result = {}
    for side, images, limit in ((32, 50_000, 0.1), (32, 500_000, 0.1), (256, 5_000, 3.0)):
        folder = temporary / f"noise-{side}-{images}"
        samples = Stream(synthetic(folder, images, side, noise=True), 0, with_labels=False)
        taken = []
        for batch in range(2 * images // BATCH):
            began = time.perf_counter()
            samples.images(batch * BATCH, BATCH)
            taken.append(time.perf_counter() - began)
        second = np.array(taken[images // BATCH :]) * 1e3
        result[f"{side}x{side} of {images:,}"] = {
            "median_ms": round(float(np.median(second)), 4),
            "mean_ms": round(float(second.mean()), 4),
            "mean_ms_first_epoch": round(float(np.mean(taken[: images // BATCH]) * 1e3), 4),
            "limit_ms": limit,
        }
    return result


def measure_memory(temporary: Path) -> dict[str, Any]:
    result = {}
    for images in (10_000, 1_000_000):
        folder = temporary / f"holes-{images}"
        synthetic(folder, images, 32, noise=False)
        command = [sys.executable, __file__, "--read", str(folder)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        result[f"{images:,} images"] = {"before_mib": float(answer[0]), "peak_mib": float(answer[1])}
    return result


def read(folder: Path) -> None:
    """Read many images in the order of training; print the memory before and at the peak, in MiB."""
    samples = Stream(open_packed(folder), 0, with_labels=False)
    before = peak()
    for start in range(0, READ, BATCH):
        samples.images(start, BATCH)
    print(before, peak())


def peak() -> float:
    """Peak memory of this process alone in MiB: getrusage would include the memory of the parent."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


def measure_open(temporary: Path) -> dict[str, float]:
    result = {}
    for images in (1_000, 10_000_000):
        folder = temporary / f"open-{images}"
        synthetic(folder, images, 32, noise=False)
        taken = []
        for _ in range(20):
            began = time.perf_counter()
            open_packed(folder)
            taken.append(time.perf_counter() - began)
        result[f"{images:,} images"] = round(statistics.median(taken) * 1e3, 3)
    return result


def repeat(folder: Path, times: int, dest: Path) -> Path:
    """A folder that has every image several times, as hard links or copies, without splits."""
    once = files(folder)
    for index, path in enumerate(once * times):
        target = dest / f"{index // len(once)}" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)
    return dest


def show(title: str, values: dict[str, Any]) -> None:
    print(title)
    for name, value in values.items():
        print(f"  {name:<24} {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=Path, help="a folder of about 80 large JPEGs")
    parser.add_argument("--small", type=Path, help="a folder of thousands of small JPEGs")
    parser.add_argument("--name", default="data", help="name of the file in benchmarks/results")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    tune_process()
    if options.read:
        read(options.read)
        return
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["GANLOOM_CACHE"] = f"{temporary}/cache"
        folders = []
        if options.originals:
            folders.append(repeat(options.originals, 10, Path(temporary) / "originals"))
        if options.small:
            folders.append(repeat(options.small, 1, Path(temporary) / "small"))
        for folder in folders:
            name = f"{folder.name} ({count(folder)} files)"
            results[f"prepare {name}, images/s"] = measure_prepare(folder, Path(temporary))
            show(f"prepare {name}, images/s", results[f"prepare {name}, images/s"])
            results[f"epoch {name}"] = measure_epoch(folder, Path(temporary))
            show(f"epoch {name}", results[f"epoch {name}"])
        for title, measured in (
            ("batch of 64, uint8", measure_batches(Path(temporary))),
            ("peak memory of reading", measure_memory(Path(temporary))),
            ("open, ms", measure_open(Path(temporary))),
        ):
            results[title] = measured
            show(title, measured)
    print(machine.write(options.name, results))


if __name__ == "__main__":
    main()
