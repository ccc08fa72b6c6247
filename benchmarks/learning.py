"""What each recipe learns in the same time: coloured shapes, and with `--fashion` clothes, all at 32x32.

    python benchmarks/learning.py [--minutes 0.5] [--fashion FILE.npz] [--only NAME,NAME] [--again] [--seed 0]

Every case is trained by `ganloom.train` in a separate process, without scores or sample images, so that all of its time
is training. The results say what works on two cores in a minute, not what the papers reach: cases marked `*` are
adapted to two cores, with fewer channels, smaller batches or higher learning rates than their recipes (see `settings`
in the results). Cases that are already in the results, with the same minutes and seed, are kept.

fd          Frechet distance in loomnet-1's features, 2,000 images on each side; `before` is that of the untrained G
modes, KL   classes covered, and the divergence of their shares from the real ones in nats, as in the metric `modes`;
            one classifier judges all cases
drawn       for shapes: fraction of images that are one shape in one colour, found by drawing the most similar one
pairs       for shapes: pairs of shape and colour among those images, out of 30
NaN         whether the log or an image contained NaN

`held out` are 2,000 real images that were not trained on. Images are saved in a folder beside the results.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as the command line does; must be set before torch is imported

import argparse
import contextlib
import functools
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import ganloom
import machine
import trial
from ganloom.core.errors import ModelError
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find
from ganloom.data.sources.shapes import BACKGROUND, COLOURS, COUNT, SHAPES, Factors, draw, factors
from ganloom.evaluation.inputs import whole_split
from ganloom.metrics.classifier import fit, small_images
from ganloom.metrics.contract import Images
from ganloom.metrics.modes import covered, divergence, posteriors, shares, temperature

SIZE, FIRST_SIZE = 32, 4  # pixels of the images, and where progressive growing starts
N, LEARNED, HELD_BACK = 2000, 10_000, 1000  # images: generated; to train the classifier; to test it
MAX_RESIDUAL = 0.3  # of an image's energy, after subtracting the shape found in it; real images: below 0.02
WIDTH = {"net.g.width": 64, "net.d.width": 64}  # for two cores; the published widths need a GPU
OFTEN = {"train.batch": 16, "train.d_updates": 1}  # as many updates of G as possible
NARROW = dict.fromkeys(WIDTH, 32)  # for two convolutions per level and a gradient penalty at every step
R1 = {"net.d.norm": "none", "penalties.r1.weight": 0.1, "penalties.r1.interval": 4}  # as in lsgan-32
BLOCKS = {"net.g.blocks": "dcgan", "net.d.blocks": "dcgan"}


def _rates(lr: float) -> dict[str, float]:
    return {"optimizer.g.lr": lr, "optimizer.d.lr": lr}


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "dcgan-32": ("dcgan-32", {}),
    "lsgan-32": ("lsgan-32", {}),
    "wgan-32": ("wgan-32", {"train.batch": 16, **_rates(2e-4)}),
    "wgan-gp-32": ("wgan-gp-32", {"train.batch": 16, **_rates(4e-4)}),
    "sndcgan-32": ("sndcgan-32", {}),
    "rpgan-32": ("rpgan-32", {}),
    "diffaugment": ("dcgan-32", {"augment": "diffaugment"}),
    "sngan-32": ("sngan-32", {**WIDTH, **OFTEN}),
    "sagan-32": ("sagan-32", {**WIDTH, **OFTEN}),
    "biggan-32": ("biggan-32", {**WIDTH, **OFTEN}),
    "progressive": ("progressive-64", {"net.latent": 128, **NARROW}),
    "progressive-dcgan": ("dcgan-32", {"net.name": "progressive", "train.batch": 16, **WIDTH, **BLOCKS, **R1}),
    "cdcgan-32": ("dcgan-32", {"data.labels": True}),
    "acgan-32": ("acgan-32", {}),
    "sngan-projection-32": ("sngan-projection-32", {**WIDTH, **OFTEN}),
    "mlp": ("mlp-28", {}),
    "r3gan-32-small": ("r3gan-32-small", {}),
    "stylegan2-32-small": ("stylegan2-32-small", {}),
}
# For progressive growing, kimg per minute of training: to hold each level, from 4 pixels up, and to fade in the next.
# Most of the time is left for the full image size.
GROWTH: dict[str, dict[str, tuple[float, ...]]] = {
    "progressive": {"hold": (0.5, 0.5, 1), "fade": (0.5, 0.5, 1)},
    "progressive-dcgan": {"hold": (1, 1, 2), "fade": (1, 1, 2)},
}


def changes(case: str, minutes: float) -> dict[str, Any]:
    growth = {
        f"growth.{key}": [f"{kimg * minutes:g} kimg" for kimg in each] for key, each in GROWTH.get(case, {}).items()
    }
    return CASES[case][1] | growth


class Judge:
    """Judges generated images of one dataset; its classifier is trained once."""

    size = SIZE

    def __init__(self, name: str, source: str, folder: Path) -> None:
        self.name, self.source, self.folder = name, source, folder
        self.channels = 3 if name == "shapes" else 1
        self.dataset: PackedDataset = prepare(find(source), Preprocessing((SIZE, SIZE), self.channels))
        training = whole_split(self.dataset, "train")
        classes = len(self.dataset.class_names)
        labels = np.asarray(training.labels)
        rows = np.random.default_rng(0).permutation(len(labels))[: LEARNED + HELD_BACK]
        back, learned = rows[:HELD_BACK], rows[HELD_BACK:]
        self.classifier = fit(small_images(training, learned), labels[learned], classes, 0)
        logits = self.classifier.logits(small_images(training, back))
        self.temperature = temperature(logits, labels[back])
        self.accuracy = float((logits.argmax(1) == labels[back]).mean())
        self.real = np.bincount(labels, minlength=classes) / len(labels)

    def held_out(self) -> dict[str, Any]:
        """The same numbers for real images that were not trained on."""
        if self.name == "shapes":
            images = np.stack([np.asarray(draw(factors(COUNT + i), SIZE, SIZE)) for i in range(N)])
        else:
            images = self.dataset.images(np.arange(N), "test")
        np.save(file := self.folder / f"{self.name}-held-out.npy", images)
        return {"fd": self.distance(file), **self.variety(images), "classifier_accuracy": self.accuracy}

    def of_model(self, file: Path) -> tuple[dict[str, Any], torch.Tensor | None]:
        """The numbers and the images [N, C, H, W] of a model; neither if its images contain NaN or infinity."""
        try:
            distance = self.distance(file)
        except ModelError:
            return {}, None
        pictures = ganloom.load(file, device="cpu").sample(N)
        return {"fd": distance, **self.variety(pictures.permute(0, 2, 3, 1).numpy())}, pictures

    def distance(self, file: Path) -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            (score,) = ganloom.evaluate(file, self.source, metrics="fd", n=N, device="cpu")
        return score.value

    def variety(
        self,
        pictures: NDArray[np.uint8],  # [N, H, W, C]
    ) -> dict[str, Any]:
        given = Images(lambda rows: pictures[rows], np.arange(len(pictures)), None, "", "", "generated")
        made = shares(posteriors(self.classifier.logits(small_images(given)), self.temperature), self.real)
        result = {"modes": int(covered(made, self.real).sum()), "modes_kl": divergence(made, self.real)}
        if self.name == "shapes":
            pairs = len(SHAPES) * len(COLOURS)
            shown = np.bincount(drawn(pictures) + 1, minlength=pairs + 1)[1:] / len(pictures)
            result |= {"drawn": float(shown.sum()), "pairs": int(covered(shown, np.full(pairs, 1 / pairs)).sum())}
        return result


def drawn(
    pictures: NDArray[np.uint8],  # [N, 32, 32, 3]
) -> NDArray[np.int64]:  # [N], one of 30 pairs of shape and colour, or -1 for none
    """Which shape in which colour, drawn at the centre of an image's ink, equals the image, if any does."""
    ink = pictures.astype(np.float32) - np.array(BACKGROUND, np.float32)
    colours = np.array(list(COLOURS.values()), np.float32) - np.array(BACKGROUND, np.float32)
    along, squares = ink @ colours.T, (colours**2).sum(axis=1)
    amounts = np.clip(along / squares, 0, 1)  # [N, 32, 32, 6], how much of each colour
    best = (2 * amounts * along - amounts**2 * squares).sum(axis=(1, 2)).argmax(axis=1)  # explains the most
    found = np.full(len(ink), -1)
    positions = np.arange(SIZE) + 0.5 - SIZE / 2
    for index, (picture, colour) in enumerate(zip(ink, best, strict=True)):
        amount = np.where((part := amounts[index, ..., colour]) > 0.5, part, 0)  # noise must not shift the centre
        mass = amount.sum() + 1e-9
        right, down = amount.sum(axis=0) @ positions / mass, amount.sum(axis=1) @ positions / mass
        errors = [np.square(picture - template(shape, colour, right, down)).sum() for shape in range(len(SHAPES))]
        if min(errors) < MAX_RESIDUAL * np.square(picture).sum():
            found[index] = int(np.argmin(errors)) * len(COLOURS) + colour
    return found


def template(shape: int, colour: int, right: float, down: float) -> NDArray[np.float32]:  # [32, 32, 3]
    """The ink of a shape whose centre of mass is that many pixels from the centre of the image, to a quarter pixel."""
    if SHAPES[shape] == "triangle":
        down -= 0.2 * 0.2 * SIZE  # the centre of its corners is a fifth of the radius above its centre of mass
    (x, x_part), (y, y_part) = (divmod(round(4 * part), 4) for part in (right, down))
    return np.roll(_template(shape, colour, x_part, y_part), (y, x), (0, 1))


@functools.cache
def _template(shape: int, colour: int, x_part: int, y_part: int) -> NDArray[np.float32]:
    centre = Factors(shape, colour, 0.5 + x_part / 4 / SIZE, 0.5 + y_part / 4 / SIZE)
    return np.asarray(draw(centre, SIZE, SIZE), np.float32) - np.array(BACKGROUND, np.float32)


COLUMNS = (
    ("fd", "fd", ".3f"), ("before", "before", ".3f"), ("modes", "modes", "d"), ("modes_kl", "KL", ".3f"),
    ("drawn", "drawn", ".2f"), ("pairs", "pairs", "d"), ("images", "images", ",d"),
    ("images_per_second", "img/s", ".1f"), ("nan", "NaN", ""),
)  # fmt: skip


def show(name: str, row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{name:<21} failed: {row['failed']}"
    values = {**row, "before": row.get("before", {}).get("fd")}
    cells = ("-" if values.get(key) is None else format(values[key], form) for key, _, form in COLUMNS)
    star = "*" if {"net.g.width", "train.batch"} & row.get("settings", {}).keys() else ""
    grown = "" if row.get("level") is None else f"  grown to {FIRST_SIZE * 2 ** row['level']:.0f} pixels"
    return f"{name + star:<21} " + " ".join(f"{cell:>8}" for cell in cells) + grown


def table(results: dict[str, dict[str, Any]]) -> str:
    lines = []
    for dataset, rows in results.items():
        lines += ["", f"{dataset:<21} " + " ".join(f"{title:>8}" for _, title, _ in COLUMNS)]
        lines += [show(name, rows[name]) for name in ("held out", *CASES) if name in rows]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=0.5, help="per training")
    parser.add_argument("--fashion", type=Path, metavar="FILE.npz", help="Fashion-MNIST; without it, only shapes")
    parser.add_argument("--datasets", help="shapes,fashion or one of them [default: all that are available]")
    parser.add_argument("--only", help=f"cases, comma-separated: {', '.join(CASES)}")
    parser.add_argument("--again", action="store_true", help="also train again what is already in the results")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="learning", help="name of the file and the folder in benchmarks/results")
    arguments = parser.parse_args()
    sources = {"shapes": f"shapes:{SIZE}"} | ({"fashion": str(arguments.fashion)} if arguments.fashion else {})
    datasets = arguments.datasets.split(",") if arguments.datasets else list(sources)
    cases = arguments.only.split(",") if arguments.only else list(CASES)
    if unknown := [name for name in datasets if name not in sources] + [name for name in cases if name not in CASES]:
        parser.error(f"there is no {', '.join(unknown)} (fashion needs --fashion FILE.npz)")

    results, pictures = trial.open_results(arguments.name)
    budget = {"minutes": arguments.minutes, "seed": arguments.seed}
    for name in datasets:
        rows = results.setdefault(name, {})
        missing = [case for case in cases if arguments.again or not budget.items() <= rows.get(case, {}).items()]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            os.environ["GANLOOM_CACHE"] = f"{temporary}/cache"
            judge = Judge(name, sources[name], Path(temporary))
            rows["held out"] = judge.held_out()
            for case in missing:
                print(f"{name}: {case}", flush=True)
                given = CASES[case][0], changes(case, arguments.minutes)
                rows[case] = trial.run(case, *given, arguments.minutes, arguments.seed, judge, pictures)
                print(show(case, rows[case]), flush=True)
                machine.write(arguments.name, results, depth=2)
    print(table(results), pictures, sep="\n")
    return int(any("failed" in row for rows in results.values() for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
