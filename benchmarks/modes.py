"""Which of known modes a GAN finds: 100 pictures of shapes, and 1,000 triples of digits, on two cores.

    python benchmarks/modes.py [--minutes 4] [--only NAME,NAME] [--datasets shapes,digits] [--again] [--seed 0]

shapes      5 shapes x 5 colours x 4 places, 32x32, moved by up to a pixel: a picture is of a mode if it is one shape in
            one colour (as benchmarks/learning.py finds it), and else of none
digits      scikit-learn's digits, 16x16, three of them as red, green and blue: Stacked MNIST's 1,000 modes (Metz et al.
            2017), each channel called what a classifier says, whether it looks like a digit or not

modes       that at least one of the generated images shows, 10,000 of shapes and 26,000 of digits
KL          of the modes' shares among the images that show one from equal shares, in nats
drawn       of shapes: the share of images that show a mode; of digits, mean confidence of the classifier
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as our command line does, before torch is imported

import argparse
import json
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
from ganloom.data.sources.digits import DigitsSource
from ganloom.data.sources.shapes import BACKGROUND, COLOURS, SHAPES, Factors, draw
from ganloom.metrics.classifier import fit, small_images
from ganloom.metrics.contract import Images
from ganloom.metrics.modes import divergence, posteriors
from learning import R1, drawn

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "dcgan + bce": ("dcgan-32", {}),
    "dcgan + bce + r1": ("dcgan-32", R1),
    "r3gan without r2": ("r3gan-32-small", {"penalties.r2.weight": 0}),
    "r3gan": ("r3gan-32-small", {}),
}
USED_COLOURS, PLACES = 5, ((0.3, 0.3), (0.7, 0.3), (0.3, 0.7), (0.7, 0.7))
PICTURES = 10_000


class Shapes:
    """A hundred pictures, each as often as the others, moved a little."""

    name, size, channels, modes, n = "shapes", 32, 3, len(SHAPES) * USED_COLOURS * len(PLACES), 10_000

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(0)
        moved = random.uniform(-1 / self.size, 1 / self.size, (PICTURES, 2))
        pictures = []
        for index, (right, down) in enumerate(moved):
            shape, colour, place = np.unravel_index(index % self.modes, (len(SHAPES), USED_COLOURS, len(PLACES)))
            x, y = PLACES[place]
            pictures.append(np.asarray(draw(Factors(int(shape), int(colour), x + right, y + down), 32, 32)))
        self.source, self.dataset = as_dataset(np.stack(pictures), self)

    def modes_of(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.int64], float]:
        """The mode of each picture [N], -1 for none, and the share of those that have one."""
        shape, colour = np.divmod(drawn(pictures), len(COLOURS))
        ink = np.abs(pictures.astype(np.float64) - BACKGROUND).sum(axis=3)  # [N, H, W]
        right = (ink * np.arange(self.size)).sum(axis=(1, 2)) / (ink.sum(axis=(1, 2)) + 1e-9) > self.size / 2
        down = (ink * np.arange(self.size)[:, None]).sum(axis=(1, 2)) / (ink.sum(axis=(1, 2)) + 1e-9) > self.size / 2
        found = np.ravel_multi_index(
            (np.maximum(shape, 0), np.minimum(colour, USED_COLOURS - 1), 2 * down + right),
            (len(SHAPES), USED_COLOURS, len(PLACES)),
        )
        found = np.where((shape >= 0) & (colour < USED_COLOURS), found, -1)
        return found, float((found >= 0).mean())


class Digits:
    """Three digits an image, drawn at random."""

    name, size, channels, modes, n = "digits", 16, 3, 1000, 26_000

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        packed = prepare(DigitsSource(), Preprocessing((self.size, self.size), 1))
        rows = np.arange(packed.count())
        digits, labels = packed.images(rows)[..., 0], np.asarray(packed.labels(rows))
        random = np.random.default_rng(0)
        chosen = random.integers(0, len(digits), (PICTURES, 3))
        self.source, self.dataset = as_dataset(digits[chosen].transpose(0, 2, 3, 1), self)
        self.classifier = fit(self.small(digits), labels, 10, 0)

    def small(self, pictures: NDArray[np.uint8]) -> torch.Tensor:  # [N, H, W]
        return small_images(
            Images(lambda rows: pictures[rows][..., None], np.arange(len(pictures)), None, "", "", "digits")
        )

    def modes_of(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.int64], float]:
        """The mode of each picture [N], and how sure the classifier is."""
        logits = [self.classifier.logits(self.small(np.ascontiguousarray(pictures[..., k]))) for k in range(3)]
        said = [each.argmax(axis=1) for each in logits]
        sure = np.mean([posteriors(each, 1.0).max(axis=1) for each in logits])
        return 100 * said[0] + 10 * said[1] + said[2], float(sure)


class Counter:
    """Counts modes of a model's images: the judge of a trial."""

    def __init__(self, images: Shapes | Digits) -> None:
        self.images, self.source, self.dataset, self.folder = images, images.source, images.dataset, images.folder
        self.name, self.size, self.channels = images.name, images.size, images.channels

    def of_model(self, file: Path) -> tuple[dict[str, Any], torch.Tensor | None]:
        try:
            pictures = ganloom.load(file, device="cpu").sample(self.images.n)
        except ModelError:
            return {}, None
        return self.count(pictures.permute(0, 2, 3, 1).numpy()), pictures

    def count(self, pictures: NDArray[np.uint8]) -> dict[str, Any]:
        found, drawn = self.images.modes_of(pictures)
        counts = np.bincount(found[found >= 0], minlength=self.images.modes)
        equal = np.full(self.images.modes, 1 / self.images.modes)
        kl = divergence(counts / counts.sum(), equal) if counts.sum() else None
        return {"modes": int((counts > 0).sum()), "modes_kl": kl, "drawn": drawn}


def as_dataset(pictures: NDArray[np.uint8], images: Shapes | Digits) -> tuple[str, PackedDataset]:
    np.save(file := images.folder / f"{images.name}.npy", pictures)
    return str(file), prepare(find(str(file)), Preprocessing((images.size, images.size), images.channels))


def show(name: str, row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{name:<20} failed: {row['failed']}"
    kl = "-" if row["modes_kl"] is None else f"{row['modes_kl']:.3f}"
    speed = f"{row['images']:>10,d} {row['images_per_second']:>8.1f}" if "images" in row else ""
    return f"{name:<20} {row['modes']:>6d} {kl:>8} {row['drawn']:>8.2f} {speed}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4, help="of training, each")
    parser.add_argument("--datasets", default="shapes,digits", help="shapes, digits or both")
    parser.add_argument("--only", help=f"methods, with commas between: {', '.join(METHODS)}")
    parser.add_argument("--again", action="store_true", help="train also what is in the results already")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="modes", help="of the file and the folder under benchmarks/results")
    arguments = parser.parse_args()
    kinds = {"shapes": Shapes, "digits": Digits}
    datasets = arguments.datasets.split(",")
    methods = arguments.only.split(",") if arguments.only else list(METHODS)
    if unknown := [name for name in datasets if name not in kinds] + [name for name in methods if name not in METHODS]:
        parser.error(f"there is no {', '.join(unknown)}")

    file, pictures = machine.RESULTS / f"{arguments.name}.json", machine.RESULTS / arguments.name
    pictures.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = json.loads(file.read_text())["results"] if file.exists() else {}
    budget = {"minutes": arguments.minutes, "seed": arguments.seed}
    for name in datasets:
        rows = results.setdefault(name, {})
        with tempfile.TemporaryDirectory() as temporary:
            os.environ["GANLOOM_CACHE"] = f"{temporary}/cache"
            images = kinds[name](Path(temporary))
            counter = Counter(images)
            real = images.dataset.images(np.arange(images.dataset.count()))
            rows["real images"] = counter.count(real)
            print(f"\n{name:<20} {'modes':>6} {'KL':>8} {'drawn':>8} {'images':>10} {'img/s':>8}")
            print(show("real images", rows["real images"]), flush=True)
            for method in methods:
                if arguments.again or not budget.items() <= rows.get(method, {}).items():
                    given = METHODS[method]
                    label = method.replace(" ", "-").replace("-+-", "-")
                    rows[method] = trial.run(label, *given, counter, arguments.minutes, arguments.seed, pictures)
                    machine.write(arguments.name, results)
                print(show(method, rows[method]), flush=True)
    print(file)
    return int(any("failed" in row for rows in results.values() for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
