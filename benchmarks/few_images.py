"""Few images: no augmentation, DiffAugment and ADA for the same time, on 300 blood smears and on 500 cats.

    python benchmarks/few_images.py --blood FOLDER --cats cifar10.npz [--minutes 8] [--again] [--seed 0]

blood       FOLDER of about 360 smears, 64x64: 300 for training, the others are held out; recipe few-images-64
cats        500 of CIFAR-10's training cats, 32x32; the other 4,500 are held out; recipe sndcgan-32

fd          Frechet distance of 2,000 generated images in loomnet-1's features. Cats are compared with 2,000 held-out
            cats. Of blood there are too few held-out images, so it is compared with the training images, which rewards
            a G that copies them.
memorised   fraction of the generated images that are nearer to a training image than 99 % of the held-out ones are
            (blood: than all 64 are; without copying this gives .016)
ratio       median distance to the nearest training image, relative to that of held-out images: far below 1 if G copies
p           the largest p that ADA reached
`copies` are 2,000 random draws from the training images: the result of a G that has memorised them.
Images are saved in a folder beside the results: for each row a sheet, and the sixteen images that are nearest to a
training image, each with that training image to its right.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as the command line does; must be set before torch is imported

import argparse
import contextlib
import io
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import ganloom
import machine
import trial
from ganloom.core.errors import DataError, ModelError
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.selection import Selection
from ganloom.data.sources import find
from ganloom.tracking.jsonl import read_log

SETS = {
    "blood": ("few-images-64", 64, "train"),
    "cats": ("sndcgan-32", 32, "test"),
}  # recipe, size, split that fd compares with
BLOOD, CATS, CAT = 300, 500, 3  # training images; the class number of cats in CIFAR-10
POLICY = ["shift", "geometry", "color"]
METHODS: dict[str, dict[str, Any]] = {
    "none": {"augment": None},
    "diffaugment": {"augment": {"name": "diffaugment"}},
    # p can rise from 0 to 1 in 20 kimg. The published 500 kimg are for trainings of 25,000 kimg.
    "ada": {"augment": {"name": "ada", "policy": POLICY, "target": 0.6, "kimg": 20}},
}
N = 2000


class Few:
    """A few training images and held-out images of the same kind; the judge of a trial."""

    channels = 3

    def __init__(self, name: str, file: Path, folder: Path) -> None:
        self.name, self.folder = name, folder
        _, self.size, self.split = SETS[name]
        preprocessing = Preprocessing((self.size, self.size), self.channels)
        everything = prepare(find(str(file)), preprocessing, Selection(holdout=0))
        rows, trained_on = np.arange(everything.count()), BLOOD
        if name == "cats":
            rows, trained_on = np.flatnonzero(np.asarray(everything.labels(rows)) == CAT), CATS
        images = everything.images(np.random.default_rng(0).permutation(rows))
        file = folder / f"{name}.npz"
        np.savez(file, train_images=images[:trained_on], test_images=images[trained_on:])
        self.source, self.dataset = str(file), prepare(find(str(file)), preprocessing)

    def of_model(self, file: Path) -> tuple[dict[str, Any], torch.Tensor | None]:
        try:
            return self.measured(file), ganloom.load(file, device="cpu").sample(N)
        except (ModelError, DataError):  # NaN or infinite values, or all images are equal
            return {}, None

    def copies(self) -> dict[str, float]:
        """The scores of as many random draws from the training images."""
        folder = self.folder / "copies"
        folder.mkdir()
        drawn = np.random.default_rng(1).integers(0, self.dataset.count(), N)
        for index, picture in enumerate(self.dataset.images(drawn)):
            Image.fromarray(picture).save(folder / f"{index}.png")
        return self.measured(folder)

    def measured(self, target: Path) -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluate = partial(
                ganloom.evaluate, target, self.source, n=N, device="cpu", out=target.with_suffix(".json")
            )
            (distance,) = evaluate(metrics="fd", split=self.split)
            copied = evaluate(metrics="memorisation")
        values = {score.metric: score.value for score in copied}
        return {"fd": distance.value, "memorised": values["memorised"], "ratio": values["memorisation_ratio"]}


COLUMNS = (
    ("fd", ".1f"), ("memorised", ".3f"), ("ratio", ".2f"), ("p", ".2f"), ("images", ",d"), ("images_per_second", ".0f"),
)  # fmt: skip


def show(name: str, row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{name:<14} failed: {row['failed']}"
    cells = ("-" if row.get(key) is None else format(row[key], form) for key, form in COLUMNS)
    return f"{name:<14} " + " ".join(f"{cell:>9}" for cell in cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blood", type=Path, metavar="FOLDER")
    parser.add_argument("--cats", type=Path, metavar="FILE.npz", help="CIFAR-10, with labels")
    parser.add_argument("--minutes", type=float, default=8, help="per training")
    parser.add_argument("--again", action="store_true", help="also train again what is already in the results")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="few-images", help="name of the file and the folder in benchmarks/results")
    arguments = parser.parse_args()
    files = {name: getattr(arguments, name) for name in SETS if getattr(arguments, name)}
    if not files:
        parser.error("give --blood, --cats or both")

    results, pictures = trial.open_results(arguments.name)
    for name, where in files.items():
        rows = results.setdefault(name, {})
        titles = ("fd", "memorised", "ratio", "p", "images", "img/s")
        print(f"\n{name:<14} " + " ".join(f"{title:>9}" for title in titles))
        with tempfile.TemporaryDirectory() as temporary:
            os.environ["GANLOOM_CACHE"] = f"{temporary}/cache"
            few = Few(name, where, Path(temporary))
            rows["copies"] = few.copies()
            print(show("copies", rows["copies"]), flush=True)
            for method, changes in METHODS.items():
                given = SETS[name][0], changes, arguments.minutes, arguments.seed
                if arguments.again or not trial.is_of(rows.get(method, {}), *given):
                    rows[method] = trial.run(method, *given, few, pictures)
                    run = few.folder / f"{name}-{method}"
                    seen = [row["augment_p"] for row in read_log(run / "log.jsonl") if "augment_p" in row]
                    rows[method]["p"] = max(seen, default=None)
                    for nearest in run.glob("model-*.png"):
                        nearest.replace(pictures / f"{name}-{method}-nearest.png")
                    machine.write(arguments.name, results, depth=2)
                print(show(method, rows[method]), flush=True)
    print(pictures)
    return int(any("failed" in row for rows in results.values() for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
