"""Image quality over training time: recipes compared with the textbook loop, on the same machine.

    python benchmarks/time_to_quality.py --data FOLDER [--sets cifar10,chest] [--minutes 10] [--seeds 3] [--only 'A;B']
        [--threads 2] [--at-once 1] [--inception FILE.npz] [--name time-to-quality] [--again]

FOLDER holds cifar10.npz, fashion_mnist.npz and chest_xray. Each training is a separate process; contenders take
turns, seed by seed. The time for scoring is not counted. Nothing else should run on the machine. With `--threads 1
--at-once 2` two trainings run at the same time, each on its own core: this takes half as long, and both slow each other
down equally.

textbook-128, -16   the loop of textbook.py with a batch size of 128, 16 and others; scored with G in evaluation and in
                    training mode, and the better score counts
default             what `ganloom train` derives for these images and minutes, without labels, since the textbook loop
                    uses none; scored with the EMA generator
default, labels     the same with labels, which ganloom uses if there are classes
any other           the same with other settings, or the recipe of that name; see contenders.py

The score is the Frechet distance between `--n` training images and as many generated ones in loomnet-1's features. With
`--inception` (see scripts/inception_trunk.py), the last images are also scored in the features of the Inception trunk,
with `--inception-n` images.
Times faster: the time in which a textbook loop reached its distance after 2, 5 and 10 minutes, divided by the time in
which the contender reached the same distance; per seed, then median, minimum and maximum. `>`: it had reached it at the
first evaluation; `<1`: it never did.
"""

import os
import sys

if any("--compete" in argument and "textbook" not in argument for argument in sys.argv):
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as the command line does; must be set before torch is imported

import argparse
import json
import math
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import pairwise, product
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import machine
from contenders import CONTENDERS, CPU, SETS, make, open_set
from ganloom.core import rng
from ganloom.core.pictures import grid, save_png
from ganloom.core.runtime import tune_process
from ganloom.metrics import frechet
from ganloom.metrics.contract import Images
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors import loomnet
from ganloom.metrics.pairs import some

FIRST = 15.0  # seconds until the first evaluation; each further one comes after 1.41 times as many
TARGETS = (2.0, 5.0, 10.0)  # minutes of the textbook loop
SHEET = 64  # images on a saved sheet


def moments(minutes: float) -> list[float]:
    """Seconds at which to evaluate: spaced logarithmically, and including the targets."""
    budget = minutes * 60
    spaced = [FIRST * 2 ** (k / 2) for k in range(40)]
    return sorted({*(t for t in spaced if t < 0.93 * budget), *(m * 60 for m in TARGETS if m <= minutes), budget})


def compete(arguments: argparse.Namespace) -> None:
    """Train once; print each evaluation as one line of JSON."""
    name, set_name, seed = arguments.compete.split(";")
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    dataset = open_set(arguments.data, set_name)
    judge = Extraction(loomnet.load(), CPU)
    rows = some(dataset.count(), arguments.n, rng.key(0, "real"))
    content = dataset.description.content_hash
    reals = Images(dataset.images, rows, None, set_name, content, "train")
    real = judge.cached(reals).pooled
    if not isinstance(CONTENDERS[name], int):
        tune_process()
    contender = make(name, dataset, arguments.minutes, int(seed))
    seconds = 0.0
    best: NDArray[np.uint8] | None = None
    for moment in moments(arguments.minutes):
        began = time.monotonic()
        while seconds + time.monotonic() - began < moment:
            contender.step()
        seconds += time.monotonic() - began
        scored = []
        for pictures in contender.pictures(arguments.n):
            features = judge.features(Images.generated(pictures)).pooled
            scored.append((frechet.from_features(real, features), pictures))
        distance, best = min(scored, key=lambda each: each[0])
        print(
            json.dumps({"seconds": round(seconds, 2), "images": contender.nimg, "fd": round(distance, 3)}), flush=True
        )
    assert best is not None
    save_png(Path(arguments.sheet), grid(torch.from_numpy(best[:SHEET].copy()).permute(0, 3, 1, 2)))
    if arguments.inception:
        print(json.dumps({"inception": trunk_distance(arguments, reals, best)}), flush=True)


def trunk_distance(arguments: argparse.Namespace, reals: Images, pictures: NDArray[np.uint8]) -> float:
    os.environ["INCEPTION_TRUNK"] = str(arguments.inception)
    sys.path.append(str(Path(__file__).parent.parent / "scripts"))
    from inception_trunk import trunk

    judge, n = Extraction(trunk(), CPU), arguments.inception_n
    few = Images(reals.take, reals.positions[:n], None, reals.name, reals.identity, reals.split)
    return frechet.from_features(judge.cached(few).pooled, judge.features(Images.generated(pictures[:n])).pooled)


class Curve(NamedTuple):
    """Distances of one training over time."""

    seconds: list[float]
    fd: list[float]

    def reached(self, distance: float) -> float:
        """Seconds until this distance, interpolated between evaluations on log axes; `inf` if never reached, 0 if
        reached at the first evaluation.
        """
        if self.fd[0] <= distance:
            return 0.0
        for (a, b), (before, after) in zip(pairwise(self.seconds), pairwise(self.fd), strict=True):
            if after <= distance:
                share = math.log(before / distance) / math.log(before / after)
                return float(a * (b / a) ** share)
        return math.inf

    def at(self, seconds: float) -> float:
        return next(fd for when, fd in zip(self.seconds, self.fd, strict=True) if when >= 0.999 * seconds)


def curve(row: dict[str, Any]) -> Curve:
    return Curve([look["seconds"] for look in row["looks"]], [look["fd"] for look in row["looks"]])


def faster(mine: dict[str, Curve], theirs: dict[str, Curve], minutes: float) -> list[float]:
    """Times faster, for each seed."""
    seconds = minutes * 60
    return [seconds / max(mine[seed].reached(theirs[seed].at(seconds)), 1e-9) for seed in sorted(mine.keys() & theirs)]


def summary(ratios: list[float]) -> str:
    def one(ratio: float) -> str:
        return "<1" if ratio == 0 else ">" if ratio > 1e6 else f"{ratio:.1f}"

    if not ratios:
        return "-"
    return one(statistics.median(ratios)) + f" ({one(min(ratios))}-{one(max(ratios))})"


def show(set_name: str, results: dict[str, dict[str, Any]], minutes: float) -> None:
    targets = [target for target in TARGETS if target <= minutes]
    names = [name for name in CONTENDERS if results.get(name)]
    curves = {name: {seed: curve(row) for seed, row in results[name].items()} for name in names}
    heads = "".join(f"{f'fd at {m:g} min':>14}" for m in targets)
    print(f"\n{set_name:<22} {'img/s':>6} {heads}  {'inception':>9}")
    for name in names:
        rows = list(results[name].values())
        speed = statistics.median(row["looks"][-1]["images"] / row["looks"][-1]["seconds"] for row in rows)
        distances = [statistics.median(each.at(60 * m) for each in curves[name].values()) for m in targets]
        trunk = [row["inception"] for row in rows if "inception" in row]
        print(
            f"{name:<22} {speed:>6.0f} "
            + "".join(f"{distance:>14.1f}" for distance in distances)
            + f"  {statistics.median(trunk) if trunk else math.nan:>9.2f}"
        )
    for loop in (name for name in names if isinstance(CONTENDERS[name], int)):
        print(f"{f'sooner than {loop} at':<29}" + "".join(f"{f'{m:g} min':>20}" for m in targets))
        for name in (name for name in names if name != loop):
            ratios = "".join(f"{summary(faster(curves[name], curves[loop], m)):>20}" for m in targets)
            print(f"{name:<29}{ratios}")


def draw(set_name: str, results: dict[str, dict[str, Any]], file: Path) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    figure = Figure(figsize=(7.2, 4.4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for number, name in enumerate(name for name in CONTENDERS if results.get(name)):
        curves = [curve(row) for row in results[name].values()]
        count = min(len(each.seconds) for each in curves)
        seconds = [statistics.median(each.seconds[k] for each in curves) for k in range(count)]
        values = [[each.fd[k] for each in curves] for k in range(count)]
        axes.plot(seconds, [statistics.median(each) for each in values], label=name, color=f"C{number}")
        axes.fill_between(seconds, [*map(min, values)], [*map(max, values)], color=f"C{number}", alpha=0.2)
    axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel="fd[loomnet-1]", title=set_name)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter("")
    axes.legend()
    figure.savefig(file, metadata={"Software": None})


def race(
    name: str, set_name: str, seed: int, arguments: argparse.Namespace, sheet: Path, free: SimpleQueue[set[int]]
) -> dict[str, Any]:
    """One training in a separate process, on free cores."""
    given = [f"--{key.replace('_', '-')}={getattr(arguments, key)}" for key in ("data", "minutes", "n", "threads")]
    if arguments.inception:
        given += [f"--inception={arguments.inception}", f"--inception-n={arguments.inception_n}"]
    command = [sys.executable, __file__, f"--compete={name};{set_name};{seed}", f"--sheet={sheet}", *given]
    cores = free.get()
    if cores:
        command = ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command]
    try:
        lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    finally:
        free.put(cores)
    looks = [json.loads(line) for line in lines if line.startswith("{")]
    row = {"looks": [look for look in looks if "fd" in look]}
    return row | {key: look[key] for look in looks for key in ("inception",) if key in look}


def shares(threads: int, at_once: int) -> SimpleQueue[set[int]]:
    """The cores of each simultaneous training; an empty set, which means all cores, if there is only one."""
    free = SimpleQueue[set[int]]()
    if at_once == 1:
        free.put(set())
        return free
    cores = sorted(os.sched_getaffinity(0))
    if at_once * threads > len(cores):
        raise SystemExit(f"{at_once} trainings of {threads} threads need more than the {len(cores)} available cores.")
    for index in range(at_once):
        free.put(set(cores[index * threads : (index + 1) * threads]))
    return free


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--sets", default="cifar10,fashion,chest")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="contenders, separated by semicolons")
    parser.add_argument("--n", type=int, default=10_000, help="images on each side")
    parser.add_argument("--threads", type=int, default=2, help="per training")
    parser.add_argument("--at-once", type=int, default=1, help="simultaneous trainings, each on its own cores")
    parser.add_argument("--inception", type=Path, metavar="FILE.npz")
    parser.add_argument("--inception-n", type=int, default=2000)
    parser.add_argument("--name", default="time-to-quality", help="name of the results")
    parser.add_argument("--again", action="store_true", help="also train again what is already in the results")
    parser.add_argument("--compete", help=argparse.SUPPRESS)
    parser.add_argument("--sheet", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.compete:
        compete(arguments)
        return 0
    names = arguments.only.split(";") if arguments.only else [*CONTENDERS]
    asked = arguments.sets.split(",")
    if unknown := [name for name in names if name not in CONTENDERS] + [name for name in asked if name not in SETS]:
        known = f"{'; '.join(CONTENDERS)}; and the sets {', '.join(SETS)}"
        parser.error(f"there is no {', '.join(unknown)}; there are {known}")
    if missing := [name for name in asked if not (arguments.data / SETS[name][0]).exists()]:
        parser.error(f"{arguments.data} has no {', '.join(SETS[name][0] for name in missing)}")
    file, folder = machine.RESULTS / f"{arguments.name}.json", machine.RESULTS / arguments.name
    folder.mkdir(parents=True, exist_ok=True)
    results = json.loads(file.read_text())["results"] if file.exists() else {}
    conditions = f"{arguments.minutes:g} minutes, {arguments.threads} threads, {arguments.at_once} at once"
    sets = {name: results.setdefault(f"{name}, {conditions}", {}) for name in asked}
    free = shares(arguments.threads, arguments.at_once)
    with ThreadPoolExecutor(arguments.at_once) as pool:
        races = {}
        for seed, set_name, name in product(range(arguments.seeds), sets, names):
            if str(seed) not in sets[set_name].setdefault(name, {}) or arguments.again:
                sheet = folder / f"{set_name}-{name.replace(', ', '-').replace(' ', '-')}-{seed}.png"
                races[pool.submit(race, name, set_name, seed, arguments, sheet, free)] = set_name, name, seed
        try:
            for each in as_completed(races):
                set_name, name, seed = races[each]
                row = sets[set_name][name][str(seed)] = each.result()
                machine.write(arguments.name, results, depth=3)
                print(set_name, name, seed, row["looks"][-1], flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # otherwise the rest would train for hours first
            raise
    for set_name, rows in sets.items():
        show(set_name, rows, arguments.minutes)
        draw(set_name, rows, folder / f"{set_name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
