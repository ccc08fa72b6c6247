"""Few images: no augmentation, DiffAugment and ADA in the same minutes, on 300 blood smears and on 500 cats.

    python benchmarks/few_images.py --blood FOLDER --cats cifar10.npz [--minutes 8] [--again] [--seed 0]

blood       FOLDER of about 360 smears, 64x64: 300 are trained on, the others show what copying would look like;
            recipe few-images-64
cats        500 of CIFAR-10's training cats, 32x32; the other 4,500 show what copying would look like; recipe sndcgan-32

fd          Frechet distance in loomnet-1's features, of 2,000 generated images: of blood from the training images, as
            there are hardly others; of cats from 2,000 that were not trained on
memorised   share of generated images that lie nearer to a training image than all but 1 % of the held-out ones
ratio       the median distance to the nearest training image, over that of held-out ones: far below 1 where G copies
p           what ADA came to
Pictures lie beside the results, in the folder of their name: of each row a sheet, and the sixteen images nearest to a
training image, each with that one at its right.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as our command line does, before torch is imported

import argparse
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ganloom
import machine
import trial
from ganloom.core.errors import ModelError
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.selection import Selection
from ganloom.data.sources import find
from ganloom.tracking.jsonl import read_log

SETS = {"blood": ("few-images-64", 64, "train"), "cats": ("sndcgan-32", 32, "test")}  # recipe, size, fd's real images
BLOOD, CATS, CAT = 300, 500, 3  # images to train on; CIFAR-10's number of cats
POLICY = ["shift", "geometry", "color"]
METHODS: dict[str, dict[str, Any]] = {
    "none": {"augment": None},
    "diffaugment": {"augment": {"name": "diffaugment"}},
    # From 0 to 1 in 20 kimg at the soonest: the published 500 are for trainings of 25,000.
    "ada": {"augment": {"name": "ada", "policy": POLICY, "target": 0.6, "kimg": 20}},
}
N = 2000


class Few:
    """A few images for training, and others of the same kind; the judge of a trial."""

    channels = 3

    def __init__(self, name: str, file: Path, folder: Path) -> None:
        self.name, self.folder = name, folder
        _, self.size, self.split = SETS[name]
        form = Preprocessing((self.size, self.size), self.channels)
        everything = prepare(find(str(file)), form, Selection(holdout=0))
        rows, trained_on = np.arange(everything.count()), BLOOD
        if name == "cats":
            rows, trained_on = np.flatnonzero(np.asarray(everything.labels(rows)) == CAT), CATS
        images = everything.images(np.random.default_rng(0).permutation(rows))
        file = folder / f"{name}.npz"
        np.savez(file, train_images=images[:trained_on], test_images=images[trained_on:])
        self.source, self.dataset = str(file), prepare(find(str(file)), form)

    def of_model(self, file: Path) -> tuple[dict[str, Any], torch.Tensor | None]:
        report = file.with_suffix(".json")  # and beside it the picture of the nearest neighbours
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                given = {"n": N, "device": "cpu", "out": report}
                (distance,) = ganloom.evaluate(file, self.source, metrics="fd", split=self.split, **given)
                copied = ganloom.evaluate(file, self.source, metrics="memorisation", **given)
        except ModelError:
            return {}, None
        values = {score.metric: score.value for score in copied}
        numbers = {"fd": distance.value, "memorised": values["memorised"], "ratio": values["memorisation_ratio"]}
        return numbers, ganloom.load(file, device="cpu").sample(N)


def show(name: str, row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{name:<14} failed: {row['failed']}"
    p = "-" if row.get("p") is None else f"{row['p']:.2f}"
    return (
        f"{name:<14} {row['fd']:>8.1f} {row['memorised']:>10.3f} {row['ratio']:>6.2f} {p:>6} {row['images']:>8,d} "
        f"{row['images_per_second']:>6.0f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blood", type=Path, metavar="FOLDER")
    parser.add_argument("--cats", type=Path, metavar="FILE.npz", help="CIFAR-10, with labels")
    parser.add_argument("--minutes", type=float, default=8, help="of training, each")
    parser.add_argument("--again", action="store_true", help="train also what is in the results already")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="few-images", help="of the file and the folder under benchmarks/results")
    arguments = parser.parse_args()
    files = {name: getattr(arguments, name) for name in SETS if getattr(arguments, name)}
    if not files:
        parser.error("give --blood, --cats or both")

    file, pictures = machine.RESULTS / f"{arguments.name}.json", machine.RESULTS / arguments.name
    pictures.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = json.loads(file.read_text())["results"] if file.exists() else {}
    budget = {"minutes": arguments.minutes, "seed": arguments.seed}
    for name, where in files.items():
        rows = results.setdefault(name, {})
        print(f"\n{name:<14} {'fd':>8} {'memorised':>10} {'ratio':>6} {'p':>6} {'images':>8} {'img/s':>6}")
        with tempfile.TemporaryDirectory() as temporary:
            os.environ["GANLOOM_CACHE"] = f"{temporary}/cache"
            few = Few(name, where, Path(temporary))
            for method, changes in METHODS.items():
                if arguments.again or not budget.items() <= rows.get(method, {}).items():
                    recipe = SETS[name][0]
                    row = trial.run(method, recipe, changes, few, arguments.minutes, arguments.seed, pictures)
                    run = few.folder / f"{name}-{method}"
                    if "failed" not in row:
                        row["p"] = read_log(run / "log.jsonl")[-1].get("augment_p")
                        (nearest,) = run.glob("model-*.png")
                        nearest.replace(pictures / f"{name}-{method}-nearest.png")
                    rows[method] = row
                    machine.write(arguments.name, results)
                print(show(method, rows[method]), flush=True)
    print(file)
    return int(any("failed" in row for rows in results.values() for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
