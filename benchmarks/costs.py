"""The cost of a training image: weights, arithmetic, speed and memory of every architecture that has a recipe.

    python benchmarks/costs.py [--seconds 6] [--only NAME,NAME] [--name costs]

Each row is a separate process that trains on noise in memory: no disk, no log, no evaluation. Progressive networks
are at their full size. With --only the other rows of the file are kept. Rows with a `*` have a width that suits a CPU;
the others are the recipes unchanged.

G, D        million weights
GFLOP/img   convolutions and matrix products of a whole step, forward and backward, including penalties (lazy ones
            averaged over their interval), per image that the step takes from the dataset
img/s       the median over the steps, after one warm-up step
GFLOP/s     the same as arithmetic per second
of DCGAN    GFLOP/s relative to the recipe dcgan-32, which is timed in turns with every row; `<` marks less than half
MiB         peak memory of the process in training (Linux), minus its memory after importing torch and ganloom
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as the command line does; must be set before torch is imported

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import machine
from ganloom.config import Config, recipe_names, recipe_values
from ganloom.core.distributed import World
from ganloom.core.runtime import flushed_denormals, tune_process
from ganloom.core.shapes import ImageShape
from ganloom.data.packed import PackedDataset
from ganloom.training.assembly import assemble, resolve
from ganloom.training.step import AdversarialStep

CPU = torch.device("cpu")
REFERENCE = "dcgan-32"
NARROW = {"net.g.width": 64, "net.d.width": 64}  # for two cores; the published widths need a GPU
AS_THEY_ARE = (
    "dcgan-32",
    "dcgan-64",
    "mlp-28",
    "wgan-32",
    "wgan-gp-32",
    "sndcgan-32",
    "lsgan-32",
    "rpgan-32",
    "few-images-64",
    "sngan-32",
    "sagan-32",
    "biggan-32",
    "progressive-64",
    "chest-xray-progressive-128",
    "stylegan2-32-small",
    "r3gan-32-small",
)
WIDE = ("sngan-32", "sagan-32", "biggan-32", "progressive-64", "stylegan2-32", "stylegan2-64", "r3gan-32")
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in AS_THEY_ARE if name in recipe_names()},
    **{f"{name}*": (name, NARROW) for name in WIDE},
    "stylegan2-64* recomputed": ("stylegan2-64", {**NARROW, "train.recompute": True}),
}
CLASSES, KEPT = 10, 1024  # classes, and different images, of the noise
ROUND_SECONDS, MIN_ROUNDS = 1.0, 2
SLOW = 0.5  # times the arithmetic per second of the reference


class Noise(PackedDataset):
    """Random images in memory instead of prepared ones: training on them costs the same."""

    def __init__(self, shape: ImageShape) -> None:
        self._shape = shape
        random = np.random.default_rng(0)
        self._images = random.integers(0, 256, (KEPT, shape.height, shape.width, shape.channels), np.uint8)

    @property
    def shape(self) -> ImageShape:
        return self._shape

    @property
    def class_names(self) -> list[str]:
        return [str(number) for number in range(CLASSES)]

    def count(self, split: str = "train") -> int:
        return KEPT

    def images(self, index: NDArray[np.int64], split: str = "train") -> NDArray[np.uint8]:
        return self._images[index]

    def labels(self, index: NDArray[np.int64], split: str = "train") -> NDArray[Any]:
        return index % CLASSES


class Flops(TorchDispatchMode):
    """Counts like torch's FlopCounterMode, whose hooks do not support second derivatives."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def configured(name: str) -> Config:
    recipe, settings = ROWS[name]
    values = recipe_values(recipe)
    source = {"data.source": "noise"} | ({"growth": None} if "growth" in values else {})
    config = Config.build(values, {**settings, **source})
    return resolve(config, shape_of(config), 1)


def shape_of(config: Config) -> ImageShape:
    assert config.data.size is not None
    return ImageShape(config.data.channels or 3, *config.data.size)


def make_step(config: Config) -> AdversarialStep:
    return assemble(config, Noise(shape_of(config)), CPU, World(), total=10**9)


def work(name: str) -> None:
    """One row: print the facts of a step; then, for each input line `SECONDS`, how long each of some steps took.

    A step here is the smallest number of training steps after which every lazy penalty has had its turn.
    """
    before = peak()
    tune_process()
    with flushed_denormals():
        config = configured(name)
        step = make_step(config)
        period = math.lcm(*(penalty.interval for penalty in config.penalties.values()))
        with Flops() as counter:
            advance(step, period)
        answer(
            {
                "size": step.stream.dataset.shape.height,
                "width": [config.net.g.get("width"), config.net.d.get("width")],
                "batch": config.train.batch,
                "d_updates": config.train.d_updates,
                "weights_g": weights(step.g.net),
                "weights_d": weights(step.d.net),
                "images": period * step.images_per_step,
                "gflop_per_image": counter.total / (period * step.images_per_step) / 1e9,
            }
        )
        for line in iter(sys.stdin.readline, "end\n"):
            answer(timed(step, period, float(line)))
        answer(peak() - before)


def timed(step: AdversarialStep, period: int, wanted: float) -> list[float]:
    """Seconds of each step: as many steps as fill the time, and at least one."""
    each: list[float] = []
    while sum(each) < wanted:
        began = time.perf_counter()
        advance(step, period)
        each.append(time.perf_counter() - began)
    return each


def advance(step: AdversarialStep, count: int) -> None:
    for _ in range(count):
        step.advance(measure=False)


def weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def peak() -> float:
    """Peak memory of this process alone in MiB: `ru_maxrss` would include the memory of the parent."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


class Worker:
    """The process that measures a row."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, __file__, "--row", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts: dict[str, Any] = self.receive()

    def receive(self) -> Any:
        """Read an answer. Raises `RuntimeError` if the process has ended."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, line: str) -> Any:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.receive()

    def gflops(self, each: list[float]) -> float:
        """Arithmetic per second, from the seconds of each step."""
        return float(self.facts["gflop_per_image"] * self.facts["images"] / statistics.median(each))

    def end(self) -> float:
        peak = float(self.ask("end"))
        self.process.communicate()
        return peak


def measure(name: str, reference: Worker, seconds: float) -> dict[str, Any]:
    worker = Worker(name)
    every: list[float] = []
    ratios: list[float] = []
    while sum(every) < seconds or len(ratios) < MIN_ROUNDS:
        theirs = reference.ask(str(ROUND_SECONDS))
        ours = worker.ask(str(ROUND_SECONDS))
        every += ours
        ratios.append(worker.gflops(ours) / reference.gflops(theirs))
    facts = worker.facts
    images = facts.pop("images")
    return {
        **facts,
        "images_per_second": images / statistics.median(every),
        "gflops": facts["gflop_per_image"] * images / statistics.median(every),
        "of_dcgan": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "peak_mib": worker.end(),
    }


def show(name: str, row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{name:<28} failed: {row['failed']}"
    width, ratio = "/".join(map(str, row["width"])), row["of_dcgan"]
    batch = f"{row['batch']}x{row['d_updates']}"
    spread = f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f}) {'<' if ratio['median'] < SLOW else ' '}"
    return (
        f"{name:<28} {row['size']:>4} {width:>8} {batch:>6} {row['weights_g'] / 1e6:>7.2f} "
        f"{row['weights_d'] / 1e6:>7.2f} {row['gflop_per_image']:>10.3f} {row['images_per_second']:>8.1f} "
        f"{row['gflops']:>8.1f} {spread:>20} {row['peak_mib']:>7.0f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of steps per row, and at least two rounds")
    parser.add_argument("--only", help=f"rows, comma-separated: {', '.join(ROWS)}")
    parser.add_argument("--name", default="costs", help="name of the file in benchmarks/results")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        work(arguments.row)
        return 0
    names = arguments.only.split(",") if arguments.only else list(ROWS)
    if unknown := set(names) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    print(
        f"{'recipe':<28} {'size':>4} {'width':>8} {'batch':>6} {'G':>7} {'D':>7} {'GFLOP/img':>10} {'img/s':>8} "
        f"{'GFLOP/s':>8} {'of DCGAN':>20} {'MiB':>7}"
    )
    reference = Worker(REFERENCE)
    file = machine.RESULTS / f"{arguments.name}.json"
    results: dict[str, Any] = json.loads(file.read_text())["results"] if arguments.only and file.exists() else {}
    for name in names:
        try:
            results[name] = measure(name, reference, arguments.seconds)
        except RuntimeError as error:
            results[name] = {"failed": str(error)}
        print(show(name, results[name]), flush=True)
    reference.end()
    print(machine.write(arguments.name, results))
    return int(any("failed" in row for row in results.values()))


if __name__ == "__main__":
    sys.exit(main())
