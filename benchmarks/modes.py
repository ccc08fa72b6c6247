"""How many known modes a GAN finds: 100 images of shapes, and 1,000 triples of digits, on two cores.

    python benchmarks/modes.py [--minutes 4] [--only NAME,NAME] [--datasets shapes,digits] [--again] [--seed 0]

shapes      5 shapes x 5 colours x 4 positions, 32x32, shifted by up to a pixel. An image belongs to a mode if it is one
            shape in one colour (found as in benchmarks/learning.py) within 3 pixels of one of the positions.
digits      scikit-learn's digits, 16x16, three of them as red, green and blue: the 1,000 modes of Stacked MNIST (Metz
            et al. 2017). A classifier labels each channel, whether it looks like a digit or not.

modes       modes with at least a tenth of their share of 10,000 generated images: 10 images for shapes, 1 for digits,
            as is usual for Stacked MNIST; `before` is that of the untrained G
KL          divergence of the modes' shares, among the images that belong to one, from equal shares, in nats
drawn       for shapes, the fraction of images that belong to a mode; for digits, mean confidence of the classifier
NaN         whether the log contained NaN

`held out` are 10,000 real images: new ones of shapes, and triples of digits that were not used for training.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as the command line does; must be set before torch is imported

import argparse
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
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find
from ganloom.data.sources.digits import DigitsSource
from ganloom.data.sources.shapes import BACKGROUND, COLOURS, SHAPES, Factors, draw
from ganloom.metrics.classifier import fit, small_images
from ganloom.metrics.contract import Images
from ganloom.metrics.modes import covered, divergence, posteriors
from learning import drawn

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "dcgan + bce": ("dcgan-32", {}),
    "r3gan nets + bce + r1": ("r3gan-32-small", {"loss": "bce", "penalties.r2.weight": 0}),
    "r3gan without r2": ("r3gan-32-small", {"penalties.r2.weight": 0}),
    "r3gan": ("r3gan-32-small", {}),
}
USED_COLOURS, POSITIONS = 5, ((0.3, 0.3), (0.7, 0.3), (0.3, 0.7), (0.7, 0.7))
NEAR = 3.0  # pixels from a position
N = 10_000  # images in a dataset, and generated images


class Shapes:
    """A hundred different images, equally frequent, each shifted a little."""

    name, size, channels, modes = "shapes", 32, 3, len(SHAPES) * USED_COLOURS * len(POSITIONS)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source, self.dataset = as_dataset(self.drawn(0), self)

    def drawn(self, seed: int) -> NDArray[np.uint8]:  # [N, 32, 32, 3]
        moved = np.random.default_rng(seed).uniform(-1 / self.size, 1 / self.size, (N, 2))
        pictures = []
        for index, (right, down) in enumerate(moved):
            shape, colour, position = np.unravel_index(index % self.modes, (len(SHAPES), USED_COLOURS, len(POSITIONS)))
            x, y = POSITIONS[position]
            known = Factors(int(shape), int(colour), x + right, y + down)
            pictures.append(np.asarray(draw(known, self.size, self.size)))
        return np.stack(pictures)

    def held_out(self) -> NDArray[np.uint8]:
        return self.drawn(1)

    def modes_of(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.int64], float]:
        """The mode of each image [N], -1 for none, and the fraction of the images that have one."""
        shape, colour = np.divmod(drawn(pictures), len(COLOURS))
        ink = np.abs(pictures.astype(np.float64) - BACKGROUND).sum(axis=3)  # [N, H, W]
        mass, along = ink.sum(axis=(1, 2)) + 1e-9, np.arange(self.size) + 0.5
        centre = np.stack([ink.sum(axis=1) @ along / mass, ink.sum(axis=2) @ along / mass], axis=1)  # [N, 2]
        far = np.linalg.norm(centre[:, None] - np.array(POSITIONS) * self.size, axis=2)  # [N, 4]
        known = (shape >= 0) & (colour < USED_COLOURS) & (far.min(axis=1) < NEAR)
        found = (shape * USED_COLOURS + colour) * len(POSITIONS) + far.argmin(axis=1)
        return np.where(known, found, -1), float(known.mean())


class Digits:
    """Three random digits per image; a fifth of the digits is held out."""

    name, size, channels, modes = "digits", 16, 3, 1000

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        packed = prepare(DigitsSource(), Preprocessing((self.size, self.size), 1))
        rows = np.random.default_rng(0).permutation(packed.count())
        digits, labels = packed.images(rows)[..., 0], np.asarray(packed.labels(rows))
        learned = len(digits) * 4 // 5
        self.others = digits[learned:]
        self.source, self.dataset = as_dataset(stacked(digits[:learned]), self)
        self.classifier = fit(self.small(digits[:learned]), labels[:learned], 10, 0)
        right = self.classifier.predict(self.small(self.others)) == labels[learned:]
        print(f"accuracy of the classifier on held-out digits: {right.mean():.3f}")

    def held_out(self) -> NDArray[np.uint8]:
        return stacked(self.others)

    def small(self, pictures: NDArray[np.uint8]) -> torch.Tensor:  # [N, H, W]
        grey = np.ascontiguousarray(pictures)[..., None]
        return small_images(Images(lambda rows: grey[rows], np.arange(len(grey)), None, "", "", "digits"))

    def modes_of(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.int64], float]:
        """The mode of each image [N], and the mean confidence of the classifier."""
        logits = [self.classifier.logits(self.small(pictures[..., channel])) for channel in range(3)]
        red, green, blue = (each.argmax(axis=1) for each in logits)
        return 100 * red + 10 * green + blue, float(np.mean([posteriors(each, 1.0).max(axis=1) for each in logits]))


def stacked(digits: NDArray[np.uint8]) -> NDArray[np.uint8]:  # [M, H, W] -> [N, H, W, 3]
    chosen = np.random.default_rng(0).integers(0, len(digits), (N, 3))
    return digits[chosen].transpose(0, 2, 3, 1)


class Counter:
    """Counts the modes in a model's images; the judge of a trial."""

    def __init__(self, images: Shapes | Digits) -> None:
        self.images, self.source, self.dataset, self.folder = images, images.source, images.dataset, images.folder
        self.name, self.size, self.channels = images.name, images.size, images.channels

    def of_model(self, file: Path) -> tuple[dict[str, Any], torch.Tensor | None]:
        pictures = ganloom.load(file, device="cpu").sample(N)
        return self.count(pictures.permute(0, 2, 3, 1).numpy()), pictures

    def count(self, pictures: NDArray[np.uint8]) -> dict[str, Any]:
        found, drawn = self.images.modes_of(pictures)
        counts = np.bincount(found[found >= 0], minlength=self.images.modes)
        equal = np.full(self.images.modes, 1 / self.images.modes)
        kl = divergence(counts / counts.sum(), equal) if counts.sum() else None
        return {"modes": int(covered(counts / len(pictures), equal).sum()), "modes_kl": kl, "drawn": drawn}


def as_dataset(pictures: NDArray[np.uint8], images: Shapes | Digits) -> tuple[str, PackedDataset]:
    np.save(file := images.folder / f"{images.name}.npy", pictures)
    return str(file), prepare(find(str(file)), Preprocessing((images.size, images.size), images.channels))


def show(name: str, row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{name:<26} failed: {row['failed']}"
    kl = "-" if row["modes_kl"] is None else f"{row['modes_kl']:.3f}"
    trained = "images" in row
    rest = f"{row['before']['modes']:>7d} {row['images']:>9,d} {row['images_per_second']:>7.1f}" if trained else ""
    return f"{name:<26} {row['modes']:>6d} {kl:>7} {row['drawn']:>6.2f} {rest}{'  NaN' if row.get('nan') else ''}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4, help="per training")
    parser.add_argument("--datasets", default="shapes,digits", help="shapes, digits or both")
    parser.add_argument("--only", help=f"methods, comma-separated: {', '.join(METHODS)}")
    parser.add_argument("--again", action="store_true", help="also train again what is already in the results")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="modes", help="name of the file and the folder in benchmarks/results")
    arguments = parser.parse_args()
    kinds: dict[str, type[Shapes | Digits]] = {"shapes": Shapes, "digits": Digits}
    datasets = arguments.datasets.split(",")
    methods = arguments.only.split(",") if arguments.only else list(METHODS)
    if unknown := [name for name in datasets if name not in kinds] + [name for name in methods if name not in METHODS]:
        parser.error(f"there is no {', '.join(unknown)}")

    results, pictures = trial.open_results(arguments.name)
    for name in datasets:
        rows = results.setdefault(name, {})
        with tempfile.TemporaryDirectory() as temporary:
            os.environ["GANLOOM_CACHE"] = f"{temporary}/cache"
            images = kinds[name](Path(temporary))
            counter = Counter(images)
            rows["held out"] = counter.count(images.held_out())
            print(f"\n{name:<26} {'modes':>6} {'KL':>7} {'drawn':>6} {'before':>7} {'images':>9} {'img/s':>7}")
            print(show("held out", rows["held out"]), flush=True)
            for method in methods:
                given = *METHODS[method], arguments.minutes, arguments.seed
                if arguments.again or not trial.is_of(rows.get(method, {}), *given):
                    label = method.replace(" + ", "-").replace(" ", "-")
                    rows[method] = trial.run(label, *given, counter, pictures)
                    machine.write(arguments.name, results, depth=2)
                print(show(method, rows[method]), flush=True)
    print(pictures)
    return int(any("failed" in row for rows in results.values() for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
