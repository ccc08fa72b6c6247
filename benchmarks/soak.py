"""Does a long training leak memory, files or threads? `python benchmarks/soak.py --data FILE.npz --minutes 30`.

One training with everything on: guard, scores, sample images, checkpoints, TensorBoard, ADA. Every ten seconds its
resident memory, open files, threads and the size of its run folder are recorded. The first sixth is warm-up and left
out; growth compares the last tenth of the time with the first tenth after the warm-up. Also measured: the guard's share
of the time, at the interval that it chooses itself.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

import ganloom
import machine
from ganloom.runs import RunFolder
from guard import NARROW, looks_timed

EVERY = 10.0  # seconds


class Moment(NamedTuple):
    seconds: float
    resident: int  # bytes
    files: int
    threads: int
    checkpoints: int  # bytes in the run folder
    rest: int


def moment(began: float, run: Path) -> Moment:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    sizes = {False: 0, True: 0}
    for folder, _, names in os.walk(run):
        for name in names:
            try:
                sizes["checkpoints" in folder] += (Path(folder) / name).stat().st_size
            except FileNotFoundError:  # it has just been replaced
                continue
    return Moment(
        round(time.monotonic() - began, 1),
        pages * resource.getpagesize(),
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        sizes[True],
        sizes[False],
    )


def watch(run: Path, done: threading.Event, moments: list[Moment]) -> None:
    began = time.monotonic()
    while not done.wait(EVERY):
        moments.append(moment(began, run))


def summary(moments: list[Moment]) -> dict[str, Any]:
    """For each column the medians of the two tenths, their growth, and the maximum."""
    warm = moments[len(moments) // 6 :]
    tenth = max(1, len(moments) // 10)
    rows = {}
    for column in Moment._fields[1:]:
        first, last = (
            statistics.median(getattr(each, column) for each in part) for part in (warm[:tenth], warm[-tenth:])
        )
        most = max(getattr(each, column) for each in warm)
        rows[column] = {"first": first, "last": last, "growth": last / first - 1, "most": most}
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="FILE.npz")
    parser.add_argument("--minutes", type=float, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    settings = {
        **NARROW,
        "data.size": 32,
        "train.length": f"{arguments.minutes} minutes",
        "augment": {"name": "ada", "kimg": 100},
        "log.every": "1 kimg",
        "sample.every": "10 kimg",
        "checkpoint.every": "5 kimg",
    }
    moments: list[Moment] = []
    looks: list[float] = []
    done = threading.Event()
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "run"
        watcher = threading.Thread(target=watch, args=(out, done, moments))
        watcher.start()
        began = time.monotonic()
        try:
            with looks_timed(looks):
                ganloom.train(arguments.data, recipe="dcgan-32", out=out, device="cpu", settings=settings)
        finally:
            done.set()
            watcher.join()
        seconds, run = time.monotonic() - began, RunFolder(out)
        config = run.config
        results = {
            "minutes": arguments.minutes,
            "images": max(int(path.stem) for path in run.checkpoints.glob("*.json")),
            "guard": {"every": str(config.guard.every), "looks": len(looks), "share": sum(looks) / seconds},
            "evaluations every": str(config.evaluate.every),
            **summary(moments),
            "moments": [list(each) for each in moments[:: max(1, len(moments) // 40)]],
        }
    for column in Moment._fields[1:]:
        row = results[column]
        print(f"{column:<12} {row['first']:>14,.0f} {row['last']:>14,.0f} {row['growth']:>+8.2%}  most {row['most']:,}")
    print(f"guard        every {config.guard.every}, {len(looks)} looks, {sum(looks) / seconds:.2%} of the time")
    machine.write("soak", results, depth=0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
