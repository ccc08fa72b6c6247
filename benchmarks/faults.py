"""Does each metric of diversity and of memorisation detect its fault? `python benchmarks/faults.py --data FOLDER`.

FOLDER holds cifar10.npz and fashion_mnist.npz. Instead of a generator, real images with a constructed fault are used:

    held out    real images that are used for nothing else here: no metric should report a fault
    constant    one image, repeated
    one of ten  images of one class
    copies      training images
    shifted     training images shifted by one pixel
    5 % copies  held-out images of which 5 % are replaced by training images

Features are from loomnet-1. Only the small classifier of the metric `modes` is trained.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import machine
from ganloom import metrics
from ganloom.metrics.extractors import loomnet

sys.path.append(str(Path(__file__).parent.parent / "tests" / "metrics"))
from comparing import comparison, shifted

TRAINING, N = 10_000, 2000
SHOWN = (
    "fd",
    "recall",
    "coverage",
    "vendi",
    "vendi_real",
    "ndb",
    "ndb_js",
    "ms_ssim",
    "ms_ssim_real",
    "modes",
    "modes_kl",
    "memorisation_z",
    "memorised",
    "memorisation_ratio",
    "ssim_nearest",
    "ssim_nearest_held_out",
)
MEASURED = ("fd", "prdc", "vendi", "ndb", "ms-ssim", "ssim", "modes", "memorisation")


def faults(images: np.ndarray, labels: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each fault: the images in place of generated ones, and the held-out images that they are compared with."""
    training, rest = images[:TRAINING], images[TRAINING:]
    held_out, others = rest[:N], rest[N : 2 * N]
    first_class = rest[2 * N :][labels[TRAINING + 2 * N :] == labels[0]][:N]
    mixed = others.copy()
    mixed[: N // 20] = training[-(N // 20) :]
    return {
        "held out": (others, held_out),
        "constant": (np.repeat(others[:1], N, axis=0), held_out),
        "one of ten": (first_class, held_out),
        "copies": (training[:N], held_out),
        "shifted": (shifted(training[:N]), held_out),
        "5 % copies": (mixed, held_out),
    }


def measure(path: Path) -> dict[str, dict[str, float]]:
    with np.load(path) as arrays:
        images, labels = arrays["x_train"], arrays["y_train"].ravel().astype(np.int64)
    images = images[..., None] if images.ndim == 3 else images
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    encoder = loomnet.load()

    @torch.inference_mode()
    def extract(batch: Tensor) -> Tensor:
        return encoder(batch).features

    found: dict[str, dict[str, float]] = {}
    for name, (fake, held_out) in faults(images, labels).items():
        whole = comparison(images[:TRAINING], fake, held_out=held_out, labels=labels[:TRAINING], extract=extract)
        numbers: dict[str, float] = {}
        for metric in MEASURED:
            numbers |= {key: estimate.value for key, estimate in metrics.find(metric).measure(whole).items()}
        found[name] = numbers
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data
    results: dict[str, Any] = {}
    for name in ("cifar10.npz", "fashion_mnist.npz"):
        results[name] = measure(folder / name)
        print(f"\n{name:<24}" + "".join(f"{fault:>12}" for fault in results[name]))
        for key in SHOWN:
            print(f"{key:<24}" + "".join(f"{numbers[key]:>12.4g}" for numbers in results[name].values()), flush=True)
    print(machine.write("faults", results, depth=2))


if __name__ == "__main__":
    main()
