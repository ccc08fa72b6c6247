"""Images per second of ganloom's DCGAN training, compared with the textbook loop; of the whole program, compared with
its bare step; and of the bare step, compared with the limit that its convolutions set.

    python benchmarks/step.py [--batch 128 16] [--sizes 32 64] [--rounds 5]
        [--width 64] [--precision fp32] [--name step]

Each contender is a separate process, as its user would start it. They take turns in rounds on the same machine, so that
changes in its speed affect all of them. The ratio is computed per round; the median of the ratios can be quoted.

textbook    the loop of textbook.py: default layout, DataLoader, plain Adam
bare        our two steps on one batch in memory: no data stream, no EMA, no log, no console
program     `ganloom train` as a user runs it: stream, EMA, log, TensorBoard and console at the recipe's intervals
            (samples and checkpoints are timed separately, and shown as a share of their interval: `files`)

`allowed` is the speed if a step took only the time of its convolutions and matrix products, forward and backward, each
timed alone in its layout; `of it` is the fraction of that speed that the bare step reaches, round by round.
"""

import os
import sys

if "textbook" not in sys.argv:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as the command line does; must be set before torch is imported

import argparse
import io
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console as Terminal

import machine
from convolutions import calls_of, seconds_of
from ganloom.config import Config, recipe_values
from ganloom.core.distributed import World
from ganloom.core.runtime import flushed_denormals, tune_process
from ganloom.core.terminal import shown_on
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find
from ganloom.models import modelfile
from ganloom.runs import RunFolder
from ganloom.session.intervals import Intervals
from ganloom.session.loop import train_until_end
from ganloom.session.recorder import Recorder
from ganloom.tracking import Trackers
from ganloom.tracking.console import Console
from ganloom.tracking.jsonl import Jsonl
from ganloom.tracking.tensorboard import TensorBoard
from ganloom.training.assembly import assemble, resolve
from ganloom.training.step import AdversarialStep
from textbook import Textbook

CPU = torch.device("cpu")
WIDTHS = {"program/textbook": 18, "program over bare": 24}  # of columns


class Setup(NamedTuple):
    """What the contenders train."""

    size: int
    batch: int
    width: int
    precision: str


class OneBatch:
    """Replaces the data stream: always returns the same batch in memory."""

    def __init__(self, images: torch.Tensor) -> None:
        self.kept = images

    def images(self, start: int, count: int) -> torch.Tensor:
        return self.kept

    def labels(self, start: int, count: int) -> None:
        return None


class NoEma:
    """Replaces the EMA generator."""

    def update(self, nimg: int, images: int, factor: float = 1.0) -> None:
        pass


def make_step(config: Config, dataset: PackedDataset) -> AdversarialStep:
    return assemble(config, dataset, CPU, World(), total=10**9)


def textbook(images: np.ndarray[Any, Any], batch: int) -> Callable[[int], None]:
    torch.manual_seed(0)
    return Textbook(torch.from_numpy(images), batch).steps


class Bare:
    """Our two steps on one batch in memory, and the convolutions in them."""

    def __init__(self, config: Config, dataset: PackedDataset) -> None:
        self.step = make_step(config, dataset)
        assert config.train.batch
        self.step.stream = OneBatch(self.step.stream.images(0, config.train.batch))  # type: ignore[assignment]
        self.step.ema = NoEma()  # type: ignore[assignment]
        self.calls = calls_of(lambda: self.steps(1))

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step.advance(measure=False)

    def convolutions(self) -> float:
        """Seconds that the convolutions of a step take, each timed alone."""
        return sum(seconds_of(call) * count for call, count in self.calls.items())


class WithoutFiles(Recorder):
    """Writes the log and calls the trackers; samples and checkpoints are timed separately."""

    def save(self, step: AdversarialStep, seconds: float) -> None:
        pass

    def samples(self, step: AdversarialStep) -> None:
        pass


def program(step: AdversarialStep, recorder: Recorder, log_every: int) -> Callable[[int], None]:
    def steps(count: int) -> None:
        end = step.nimg + count * step.images_per_step
        intervals = Intervals(end, None, log=log_every, sample=0, evaluate=0, checkpoint=0, guard=0)
        train_until_end(step, intervals, recorder, 0.0)

    return steps


def make_recorder(config: Config, dataset: PackedDataset, folder: Path) -> Recorder:
    run = RunFolder(folder)
    for sub in (run.samples, run.checkpoints):
        sub.mkdir(parents=True)
    console = Console(10**9, None, run.sample)
    header = modelfile.Header(
        net=config.net.name, latent=config.net.latent, options=config.net.g, shape=dataset.description.shape,
        labels=False, class_names=[], training={},
    )  # fmt: skip
    trackers = Trackers([Jsonl(run.log, 0), TensorBoard(run.events, 0), console])
    return Recorder(run, config, header, trackers, console)


def contend(name: str, setup: Setup, folder: Path) -> None:
    """One contender: for each input line `N`, do N steps and print how many seconds they took."""
    noise = np.load(folder / "noise.npy")
    if name == "textbook":
        serve(textbook(noise, setup.batch))
        return
    tune_process()
    with flushed_denormals():
        dataset, config = prepare_noise(folder, setup)
        if name == "bare":
            contender = Bare(config, dataset)
            serve(contender.steps, contender.convolutions)
            return
        step = make_step(config, dataset)
        with shown_on(Terminal(file=io.StringIO(), force_terminal=True, width=120)):
            recorder = make_recorder(config, dataset, folder / "run")
            without_files = WithoutFiles(recorder.folder, config, recorder.header, recorder.trackers, recorder.console)
            serve(program(step, without_files, config.log.every.images(epoch=dataset.count(), step=setup.batch)))
            answer(timed(lambda: recorder.save(step, 0.0)) + timed(lambda: recorder.samples(step)))
            recorder.trackers.close()


def serve(steps: Callable[[int], None], convolutions: Callable[[], float] | None = None) -> None:
    for line in iter(sys.stdin.readline, "end\n"):
        if line == "convolutions\n" and convolutions:
            answer(convolutions())
        else:
            answer(timed(lambda line=line: steps(int(line))))  # type: ignore[misc]


def answer(seconds: float) -> None:
    print(seconds, file=sys.__stdout__, flush=True)  # the live console has replaced sys.stdout


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def prepare_noise(folder: Path, setup: Setup) -> tuple[PackedDataset, Config]:
    dataset = prepare(find(str(folder / "noise.npy")), Preprocessing((setup.size, setup.size), 3))
    settings = {"train.batch": setup.batch, "data.source": "noise.npy", "train.precision": setup.precision}
    settings |= {"net.g.width": setup.width, "net.d.width": setup.width}
    return dataset, resolve(Config.build(recipe_values(f"dcgan-{setup.size}"), settings), dataset.shape, 1)


class Contender:
    """The process of a contender, which does steps on request."""

    def __init__(self, name: str, setup: Setup, folder: Path) -> None:
        command = [
            sys.executable,
            __file__,
            "--contender",
            name,
            "--sizes",
            str(setup.size),
            "--batch",
            str(setup.batch),
        ]
        command += ["--width", str(setup.width), "--precision", setup.precision]
        self.process = subprocess.Popen(
            [*command, "--folder", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def steps(self, count: int) -> float:
        return self.ask(str(count))

    def ask(self, line: str) -> float:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def measure(setup: Setup, rounds: int) -> dict[str, Any]:
    size, batch = setup.size, setup.batch
    noise = np.random.default_rng(0).integers(0, 256, (4096, size, size, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["GANLOOM_CACHE"] = str(folder / "cache")
        np.save(folder / "noise.npy", noise)
        _, config = prepare_noise(folder, setup)
        log_every, files_every = (
            length.images(epoch=len(noise), step=batch) for length in (config.log.every, config.checkpoint.every)
        )
        count = -(-log_every // batch)  # a round is one log interval, so that logging has its true share of the time
        contenders = {name: Contender(name, setup, folder) for name in ("textbook", "bare", "program")}
        for contender in contenders.values():
            contender.steps(2)
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        allowed: list[float] = []
        for _ in range(rounds):
            for name, contender in contenders.items():
                seconds[name].append(contender.steps(count))
            allowed.append(contenders["bare"].ask("convolutions") * count)
        files = contenders["program"].ask("end")
        for contender in contenders.values():
            contender.process.communicate("end\n")
    ratios = [theirs / ours for theirs, ours in zip(seconds["textbook"], seconds["program"], strict=True)]
    overheads = [ours / plain - 1 for ours, plain in zip(seconds["program"], seconds["bare"], strict=True)]
    shares = [convolutions / ours for convolutions, ours in zip(allowed, seconds["bare"], strict=True)]
    speed = {name: batch * count / statistics.median(each) for name, each in (seconds | {"allowed": allowed}).items()}
    return {
        **setup._asdict(),
        "rounds": rounds,
        "steps_per_round": count,
        "images_per_second": {name: round(value, 1) for name, value in speed.items()},
        "program_to_textbook": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "program_over_bare": {"median": statistics.median(overheads), "min": min(overheads), "max": max(overheads)},
        "bare_of_allowed": {"median": statistics.median(shares), "min": min(shares), "max": max(shares)},
        "checkpoint_and_pictures_seconds": round(files, 2),
        "checkpoint_and_pictures_share": files / (files_every / speed["program"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 16])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=64, help="of our networks; the textbook's is 64")
    parser.add_argument("--precision", default="fp32", help="of our training")
    parser.add_argument("--name", default="step", help="name of the file in benchmarks/results")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    setups = [
        Setup(size, batch, arguments.width, arguments.precision)
        for size in arguments.sizes
        for batch in arguments.batch
    ]
    if arguments.contender:
        contend(arguments.contender, setups[0], arguments.folder)
        return
    results = [measure(setup, arguments.rounds) for setup in setups]
    columns = (
        "size",
        "batch",
        "textbook",
        "bare",
        "program",
        "program/textbook",
        "program over bare",
        "allowed",
        "of it",
    )
    print("  ".join(f"{column:>{WIDTHS.get(column, 8)}}" for column in (*columns, "files")))
    for row in results:
        speed, ratio, over = row["images_per_second"], row["program_to_textbook"], row["program_over_bare"]
        cells = [row["size"], row["batch"], *(f"{speed[name]:.0f}" for name in ("textbook", "bare", "program"))]
        cells += [f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"]
        cells += [f"{over['median']:+.1%} ({over['min']:+.1%}..{over['max']:+.1%})", f"{speed['allowed']:.0f}"]
        cells += [f"{row['bare_of_allowed']['median']:.0%}", f"{row['checkpoint_and_pictures_share']:.1%}"]
        print(
            "  ".join(
                f"{cell:>{WIDTHS.get(column, 8)}}" for column, cell in zip((*columns, "files"), cells, strict=True)
            )
        )
    print(machine.write(arguments.name, results))


if __name__ == "__main__":
    main()
