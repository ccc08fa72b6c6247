"""Does the guard detect failing trainings early, without false alarms? What does it cost, and do rollbacks help?

    python benchmarks/guard.py --fashion FILE.npz [--cifar FILE.npz] [--every LENGTH] [--only "NAME;NAME"] [--again]

Trainings at 32x32 on two cores. The cause of a failure acts from the start, or from the image count `starts`:

verdicts    the guard's verdicts, with the image count (patience: three checks in a row)
delay       images from the cause to the first expected verdict
cost        share of the training time that the checks took; `every` is the interval chosen for 3 %
fd          Frechet distance of the final EMA generator from its training images (loomnet-1, n=2000): without actions
            of the guard, and, where a rollback is allowed, with them (`rollback`), at the same number of images
In healthy trainings every verdict is a false alarm.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as the command line does; must be set before torch is imported

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import ganloom
import machine
import trial
from ganloom.core.errors import RunError
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find
from ganloom.guard.guard import Guard
from ganloom.runs import open_folder
from ganloom.tracking.jsonl import read_log
from ganloom.training.health import SUSPICIONS
from ganloom.training.step import AdversarialStep, Stats

NARROW = {"net.g.width": 32, "net.d.width": 32, "train.batch": 16}
BLOCKS = {"net.g.blocks": "dcgan", "net.d.blocks": "dcgan"}
R1 = {"net.d.norm": "none", "penalties.r1.weight": 0.1, "penalties.r1.interval": 4}
STILL = 1e-12  # in effect a learning rate of 0, which is refused


class Case(NamedTuple):
    data: str
    recipe: str
    settings: dict[str, Any]
    expected: AbstractSet[str] = frozenset()  # the expected verdicts; none for a healthy training
    kimg: int = 24
    starts: int = 0  # image count from which `harm` is done before each step
    harm: str | None = None
    rollback: str | None = None  # the verdict that may roll back


def rates(g: float, d: float) -> dict[str, Any]:
    return {"optimizer.g.lr": g, "optimizer.d.lr": d}


DIVERGES, STALLS, OVERFITS = {"divergence", "collapse"}, {"stalled"}, {"overfitting"}
FAST, FASTER = rates(2e-2, 2e-2), rates(2e-1, 2e-1)  # 100 times the rates of the recipes
NO_D, NO_G, HARDLY_G = rates(2e-4, STILL), rates(4e-6, 1e-2), rates(1e-6, 2e-4)
LABELS = {"data.labels": True}
FIVE, LONG_FEW = rates(1e-3, 1e-3), {"overfitting", "memorisation"}
MINIMAX = rates(2e-4, 1e-2) | {"loss": "minimax", "train.d_updates": 2}
GROWING = {"net.name": "progressive", "growth": {"hold": "4 kimg", "fade": "4 kimg"}}
CASES = {
    "rates x100, fashion": Case("fashion", "sndcgan-32", NARROW | FAST, DIVERGES, rollback="divergence"),
    "rates x100, shapes": Case("shapes", "dcgan-32", NARROW | FAST, DIVERGES, rollback="divergence"),
    "rates x100, r3gan, fashion": Case("fashion", "r3gan-32-small", FASTER, DIVERGES, kimg=12, rollback="divergence"),
    "rates x100, r3gan, shapes": Case("shapes", "r3gan-32-small", FASTER, DIVERGES, kimg=12, rollback="divergence"),
    "D's rate 0, fashion": Case("fashion", "dcgan-32", NARROW | NO_D, STALLS, rollback="stalled"),
    "D's rate 0, shapes": Case("shapes", "dcgan-32", NARROW | NO_D, STALLS, rollback="stalled"),
    "G constant, fashion": Case("fashion", "dcgan-32", NARROW, {"collapse"}, starts=8000, harm="constant"),
    "G constant, shapes": Case("shapes", "dcgan-32", NARROW, {"collapse"}, starts=8000, harm="constant"),
    "NaN, fashion": Case("fashion", "dcgan-32", NARROW, {"divergence"}, starts=8000, harm="nan"),
    "50 images, fashion": Case("fashion-50", "dcgan-32", NARROW, OVERFITS, kimg=32, rollback="overfitting"),
    "50 images, shapes": Case("shapes-50", "dcgan-32", NARROW, OVERFITS, kimg=32, rollback="overfitting"),
    "50 images, rates x5, fashion": Case("fashion-50", "dcgan-32", NARROW | FIVE, LONG_FEW, kimg=120),
    "50 images, rates x5, shapes": Case("shapes-50", "dcgan-32", NARROW | FIVE, LONG_FEW, kimg=80),
    "minimax, D's rate x50": Case(
        "fashion", "dcgan-32", NARROW | MINIMAX, {"overpowering"}, 40, rollback="overpowering"
    ),
    "D's rate x50, G's /50": Case("fashion", "dcgan-32", NARROW | NO_G, {"overpowering", "stalled"}, kimg=32),
    "G's rate /200": Case("fashion", "dcgan-32", NARROW | HARDLY_G, {"overpowering", "stalled"}, kimg=32),
    "labels shuffled": Case("fashion-shuffled", "dcgan-32", NARROW | LABELS),
    "dcgan-32, fashion": Case("fashion", "dcgan-32", NARROW),
    "dcgan-32, shapes": Case("shapes", "dcgan-32", NARROW),
    "sndcgan-32, cifar": Case("cifar", "sndcgan-32", NARROW),
    "lsgan-32, fashion": Case("fashion", "lsgan-32", NARROW),
    "rpgan-32, shapes": Case("shapes", "rpgan-32", NARROW),
    "wgan-gp-32, fashion": Case("fashion", "wgan-gp-32", NARROW),
    "mlp-28, fashion": Case("fashion", "mlp-28", {"train.batch": 32}),
    "digits, digits": Case("digits", "digits", {}),
    "cdcgan, fashion": Case("fashion", "dcgan-32", NARROW | LABELS),
    "growing, fashion": Case("fashion", "dcgan-32", NARROW | GROWING | BLOCKS | R1),
    "r3gan-32-small, shapes": Case("shapes", "r3gan-32-small", {}, kimg=16),
    "stylegan2-32-small, fashion": Case("fashion", "stylegan2-32-small", {}, kimg=16),
}


@contextlib.contextmanager
def harmed(case: Case) -> Iterator[None]:
    """Inside the context, steps are harmed as the case describes."""
    advance = AdversarialStep.advance

    def harmed_advance(step: AdversarialStep, *, measure: bool) -> Stats:
        if case.harm and step.nimg >= case.starts:
            with torch.no_grad():
                last_of(step).fill_(0.0 if case.harm == "constant" else torch.nan)
        return advance(step, measure=measure)

    AdversarialStep.advance = harmed_advance  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        AdversarialStep.advance = advance  # type: ignore[method-assign]


@contextlib.contextmanager
def looks_timed(looks: list[float]) -> Iterator[None]:
    """Inside the context, the seconds of every check of the guard are added to the list."""
    look = Guard.look

    def timed(guard: Guard, *arguments: Any) -> Any:
        began = time.monotonic()
        result = look(guard, *arguments)
        looks.append(time.monotonic() - began)
        return result

    Guard.look = timed  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Guard.look = look  # type: ignore[method-assign]


def last_of(step: AdversarialStep) -> torch.Tensor:
    """The kernel of G's last convolution."""
    return [weight for weight in step.g.weights if weight.ndim == 4][-1]


def source_of(case: Case, given: dict[str, str], folder: Path) -> str:
    """The source of the images of a case; some are derived from another source and written to `folder`."""
    name, _, kind = case.data.partition("-")
    source = given.get(name, name)
    if not kind:
        return source
    file = folder / f"{case.data}.npz"
    if not file.exists():
        whole = prepare(find(source), Preprocessing((32, 32)))
        write(file, whole, kind)
    return str(file)


def write(file: Path, whole: PackedDataset, kind: str) -> None:
    test = np.arange(whole.count() - 500, whole.count())
    train = np.arange(50 if kind == "50" else test[0])
    labels: dict[str, Any] = {}
    if kind == "shuffled":
        shuffled = np.random.default_rng(0).permutation(whole.labels(train))
        labels = {"train_labels": shuffled, "test_labels": whole.labels(test)}
    np.savez(file, train_images=whole.images(train), test_images=whole.images(test), **labels)


def run(case: Case, source: str, out: Path, actions: dict[str, str]) -> tuple[dict[str, Any], Path]:
    never = dict.fromkeys(("evaluate.every", "sample.every"), "0 images")
    settings = {"data.size": 32, "train.length": f"{case.kimg} kimg", "checkpoint.every": "4 kimg", **never}
    settings |= {"trackers.tensorboard": False, **case.settings, **actions}
    looks: list[float] = []
    began = time.monotonic()
    with harmed(case), looks_timed(looks), contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(RunError):
        ganloom.train(source, recipe=case.recipe, out=out, device="cpu", settings=settings)
    opened, seconds = open_folder(out), time.monotonic() - began
    rows = read_log(opened.log)
    verdicts = [[row["event"], row["nimg"]] for row in rows if row.get("event") in SUSPICIONS]
    verdicts = [[change.reason, change.nimg] for change in opened.changes] + verdicts
    first = min((nimg for name, nimg in verdicts if name in case.expected), default=None)
    row = {
        "every": str(opened.config.guard.every),
        "verdicts": verdicts,
        "delay": None if first is None else first - case.starts,
        "cost": sum(looks) / seconds,
        "looks": len(looks),
    }
    return row, opened.model


def distance(model: Path, source: str) -> float | None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(ganloom.GanloomError):
        (score,) = ganloom.evaluate(
            model, source, metrics="fd", n=2000, split="train", device="cpu", out=model.with_suffix(".json")
        )
        return score.value
    return None


def show(name: str, row: dict[str, Any]) -> str:
    said = ", ".join(f"{verdict} at {nimg / 1000:.0f}k" for verdict, nimg in row["verdicts"][:3]) or "-"
    fds = " ".join(f"{row.get(key) or float('nan'):8.1f}" for key in ("fd", "fd_mended"))
    delay = "-" if row["delay"] is None else f"{row['delay']:,}"
    return f"{name:<28} {row['every']:>8} {delay:>8} {row['cost']:>6.1%} {fds}  {said}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", required=True, metavar="FILE.npz")
    parser.add_argument("--cifar", metavar="FILE.npz")
    parser.add_argument("--only", help="names, separated by semicolons")
    parser.add_argument("--again", action="store_true", help="also train again what is already in the results")
    parser.add_argument("--every", help="images between two checks, instead of the interval for 3 %% of the time")
    parser.add_argument("--name", default="guard", help="name of the file in benchmarks/results")
    arguments = parser.parse_args()
    given = {"fashion": arguments.fashion, **({"cifar": arguments.cifar} if arguments.cifar else {})}
    results, _ = trial.open_results(arguments.name)
    print(f"{'case':<28} {'every':>8} {'delay':>8} {'cost':>6} {'fd':>8} {'rollback':>8}  verdicts")
    every = {"guard.every": arguments.every} if arguments.every else {}
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["GANLOOM_CACHE"] = f"{temporary}/cache"
        for name, case in CASES.items():
            if (arguments.only and name not in arguments.only.split(";")) or (
                case.data == "cifar" and not arguments.cifar
            ):
                continue
            if name not in results or arguments.again:
                folder = Path(temporary) / name.replace(" ", "-")
                source = source_of(case, given, Path(temporary))
                watch = {f"guard.{verdict}": "warn" for verdict in SUSPICIONS} | every
                row, model = run(case, source, folder / "watched", watch)
                if case.rollback:
                    row["fd"] = distance(model, source)
                    acting = watch | {f"guard.{case.rollback}": "rollback"}
                    rolled_back, model = run(case, source, folder / "rollback", acting)
                    row |= {"fd_mended": distance(model, source), "mended": rolled_back["verdicts"]}
                results[name] = {**row, "expected": sorted(case.expected)}
                machine.write(arguments.name, results)
            print(show(name, results[name]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
