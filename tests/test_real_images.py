"""Real images: chest X-rays, Fashion-MNIST, PneumoniaMNIST, CIFAR-10, blood smears.

They are found in the folder that GANLOOM_TEST_DATA names, or unpacked by `shared/data/unpack.py` beside the checkout.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import ganloom
from comparison import log_of
from conftest import TINY
from ganloom.core.shapes import ImageShape
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find

pytestmark = [pytest.mark.realdata, pytest.mark.slow]
UNPACK = Path(__file__).resolve().parents[2] / "shared" / "data" / "unpack.py"


@pytest.fixture(scope="session")
def images() -> Path:
    if folder := os.environ.get("GANLOOM_TEST_DATA"):
        return Path(folder)
    if not UNPACK.exists():
        pytest.skip(f"no real images: GANLOOM_TEST_DATA is not set, and there is no {UNPACK}")
    folder = Path(tempfile.gettempdir()) / "ganloom-test-data"
    subprocess.run([sys.executable, str(UNPACK), str(folder)], check=True, capture_output=True)
    return folder


def packed(path: Path, size: tuple[int, int] | None = None) -> PackedDataset:
    return prepare(find(str(path)), Preprocessing(size))


def test_chest_xrays_are_grey_with_splits_and_classes(images: Path) -> None:
    dataset = packed(images / "chest_xray", (64, 64))
    assert dataset.shape == ImageShape(1, 64, 64) and dataset.class_names == ["NORMAL", "PNEUMONIA"]
    assert dataset.count("train") + dataset.count("test") == 5216 and dataset.description.account.skipped == 0
    assert dataset.count("train") == len(list((images / "chest_xray" / "train").rglob("*.jpeg")))


def test_xray_originals_of_many_sizes_and_modes(images: Path) -> None:
    dataset = packed(images / "chest_xray_originals", (96, 128))
    assert dataset.shape.height == 96 and dataset.shape.width == 128
    assert dataset.count() + dataset.count("val") == 80 and dataset.count("val") > 0


def test_fashion_mnist_to_the_bit(images: Path) -> None:
    dataset = packed(images / "fashion_mnist.npz")
    original = np.load(images / "fashion_mnist.npz")
    assert (dataset.count("train"), dataset.count("test")) == (60_000, 10_000)
    chosen = np.array([0, 1, 30_000, 59_999])
    assert (dataset.images(chosen)[..., 0] == original["x_train"][chosen]).all()
    assert (dataset.labels(chosen) == original["y_train"][chosen]).all()


def test_pneumoniamnist_with_the_keys_of_medmnist(images: Path) -> None:
    dataset = packed(images / "pneumoniamnist.npz")
    assert [dataset.count(split) for split in ("train", "val", "test")] == [4708, 524, 624]
    assert dataset.shape == ImageShape(1, 28, 28) and dataset.class_names == ["0", "1"]


def test_cifar10_in_colour(images: Path) -> None:
    dataset = packed(images / "cifar10.npz")
    assert dataset.shape == ImageShape(3, 32, 32) and dataset.count() == 50_000
    means = dataset.images(np.arange(50_000)).mean(axis=(0, 1, 2)) / 255
    assert means == pytest.approx([0.49139968, 0.48215841, 0.44653091], abs=1e-6)


def test_the_official_binary_of_cifar10_equals_the_arrays(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its test batch is a short one here: the first thousand images."""
    monkeypatch.setenv("GANLOOM_DATA", str(images))
    official, arrays = prepare(find("cifar10"), Preprocessing()), np.load(images / "cifar10.npz")
    assert official.description.splits == {"train": 50_000, "test": 1_000}
    assert official.class_names[3] == "cat" and len(official.class_names) == 10
    for split in ("train", "test"):
        every = np.arange(official.count(split))
        assert (official.images(every, split) == arrays[f"x_{split}"]).all()
        assert (official.labels(every, split) == arrays[f"y_{split}"]).all()


@pytest.mark.parametrize("recipe", ["dcgan-cifar10", "dcgan-cifar10-64"])
def test_the_recipes_for_cifar10_find_their_images(
    images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recipe: str
) -> None:
    monkeypatch.setenv("GANLOOM_DATA", str(images))
    settings = {**TINY, "train.length": "64 images", "sample.count": 4}
    run = ganloom.train(recipe=recipe, out=tmp_path / "run", device="cpu", settings=settings)
    assert run.folder.facts.images == 50_000 and run.config.data.source == "cifar10"


def test_the_xray_recipe_trains_on_radiographs(images: Path, tmp_path: Path) -> None:
    settings = {**TINY, "train.length": "96 images", "sample.count": 4}
    run = ganloom.train(
        images / "chest_xray", recipe="chest-xray-64", out=tmp_path / "run", device="cpu", settings=settings
    )
    assert run.folder.facts.shape == (1, 64, 64)


def test_blood_smears_that_are_not_square(images: Path) -> None:
    dataset = packed(images / "blood_smears", (48, 64))
    assert dataset.shape == ImageShape(3, 48, 64) and dataset.class_names == []
    assert dataset.count() + dataset.count("val") == 364 and dataset.count("val") > 0


@pytest.mark.parametrize("name", ["chest_xray", "fashion_mnist.npz", "blood_smears"])
def test_a_training_chooses_for_itself(images: Path, name: str, tmp_path: Path) -> None:
    settings = {**TINY, "train.length": "96 images", "sample.count": 4}
    run = ganloom.train(images / name, out=tmp_path / "run", device="cpu", settings=settings)
    # Radiographs of many ratios are squared, small images of one size are kept, and so is the ratio of the smears.
    height, width = {"chest_xray": (64, 64), "fashion_mnist.npz": (28, 28), "blood_smears": (48, 64)}[name]
    assert run.folder.facts.shape[1:] == (height, width)
    assert log_of(run.path)[-1]["nimg"] == 96
    assert ganloom.load(run.path).sample(2).shape[2:] == (height, width)
