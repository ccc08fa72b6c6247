"""Quality of loomnet-1's features: `python benchmarks/loomnet.py --data FOLDER --trunk NPZ`.

Two measurements of the encoder that ganloom ships:

- the test accuracy of a linear classifier on its features, for CIFAR-10 and Fashion-MNIST (FOLDER holds cifar10.npz and
  fashion_mnist.npz), compared with the same classifier on raw pixels;
- over checkpoints of one training, Spearman's rank correlation of its Frechet distance with that of the Inception
  network's 768 features (NPZ: see scripts/inception_trunk.py): do both order the checkpoints alike?

On two cores the second takes about twenty minutes, nearly all of it in the Inception network.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import ganloom
import machine
from ganloom.metrics.contract import Images
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors import loomnet

PROBED = 20_000  # training images of the linear classifier
SERIES_KIMG = (1, 4, 8, 16, 32, 64, 96, 128, 192)  # the checkpoints to compare
TRUNK = Path(__file__).parent.parent / "scripts" / "inception_trunk.py"


def probe(path: Path) -> dict[str, Any]:
    """Test accuracy of a linear classifier on features, and on pixels."""
    with np.load(path) as arrays:
        x, y, x_test, y_test = (arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    rows = np.random.default_rng(0).permutation(len(x))[:PROBED]
    x, y = x[rows], y[rows]
    accuracy = {
        "loomnet-1": linear(features(x), y, features(x_test), y_test),
        "pixels": linear(x.reshape(len(x), -1) / 255, y, x_test.reshape(len(x_test), -1) / 255, y_test),
    }
    return {"training images": len(x), "test images": len(x_test), "accuracy": accuracy}


def features(images: np.ndarray) -> np.ndarray:
    images = images[..., None] if images.ndim == 3 else images
    extraction = Extraction(loomnet.load(), torch.device("cpu"))
    every = Images(lambda rows: images[rows], np.arange(len(images)), None, "images", "", "train")
    return extraction.features(every).pooled


def linear(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
    scaler = StandardScaler().fit(x)
    classifier = LogisticRegression(C=0.1, tol=1e-3, max_iter=1000).fit(scaler.transform(x), y.ravel())
    return round(float(classifier.score(scaler.transform(x_test), y_test.ravel())), 4)


def series(data: str, recipe: str, trunk: Path, n: int, folder: Path) -> dict[str, Any]:
    """Both distances for every checkpoint of one training, and their rank correlation."""
    os.environ["INCEPTION_TRUNK"] = str(trunk)
    rows = []
    for kimg in SERIES_KIMG:
        run = folder / "run"
        if run.exists():
            ganloom.resume(run, length=f"{kimg} kimg")
        else:
            ganloom.train(
                data, recipe=recipe, out=run, settings={"train.length": f"{kimg} kimg", "evaluate.every": "0 kimg"}
            )
        model = shutil.copy(run / "model.safetensors", folder / f"{kimg}.safetensors")
        ours, theirs = (
            ganloom.evaluate(model, data, metrics="fd", n=n, extractor=extractor)[0]
            for extractor in ("loomnet-1", f"{TRUNK}:trunk")
        )
        rows.append({"kimg": kimg, ours.label: ours.value, theirs.label: theirs.value})
        print(rows[-1], flush=True)
    a, b = ([row[label] for row in rows] for label in list(rows[0])[1:])
    return {"data": Path(data).name, "recipe": recipe, "rows": rows, "spearman": round(float(spearmanr(a, b)[0]), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trunk", type=Path)
    parser.add_argument("--series", nargs="*", default=["cifar10.npz", "fashion_mnist.npz"], help="files in FOLDER")
    parser.add_argument("--recipe", default="dcgan-32")
    parser.add_argument("--n", type=int, default=500, help="images on each side")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    results: dict[str, Any] = {name: probe(options.data / name) for name in ("cifar10.npz", "fashion_mnist.npz")}
    for name, result in results.items():
        print(f"{name:<20} {result['accuracy']}", flush=True)
    if options.trunk:
        for name in options.series:
            with tempfile.TemporaryDirectory() as folder:
                found = series(str(options.data / name), options.recipe, options.trunk, options.n, Path(folder))
            results[f"series {name}"] = found
            print(f"{name:<20} rank correlation {found['spearman']}", flush=True)
    print(machine.write("loomnet", results))


if __name__ == "__main__":
    main()
