"""Small images, models and runs for the tests of this folder: made in milliseconds, without a training."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

import ganloom
from conftest import tiny_config
from ganloom.models import modelfile
from ganloom.runs import create_folder
from ganloom.runs.records import Facts

SIDE, COUNT = 8, 90


def patterns(seed: int) -> NDArray[np.uint8]:  # [COUNT, SIDE, SIDE, 3]
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (COUNT, SIDE, SIDE, 3), np.uint8)


def save_images(folder: Path, seed: int) -> Path:
    """PNGs, one of which has a text, and a JPEG, in two classes."""
    for index, pixels in enumerate(patterns(seed)):
        path = folder / "ab"[index % 2] / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", "nothing that a pixel depends on")
        image = Image.fromarray(pixels)
        if index == 1:
            image.save(path.with_suffix(".jpg"))
        else:
            image.save(path, pnginfo=text if index == 0 else None)
    return folder


def save_model(path: Path, **training: Any) -> Path:
    header = modelfile.Header(
        net="dcgan", latent=4, options={"width": 4}, shape=(3, SIDE, SIDE), labels=False, class_names=[],
        training={"nimg": 64, "content_hash": "", **training},
    )  # fmt: skip
    torch.manual_seed(0)
    modelfile.write(path, header.build(), header)
    return path


def make_run(path: Path, packed: Path) -> Path:
    """A run that has a last and a best model, and was never trained."""
    dataset = ganloom.open_dataset(packed)
    config = tiny_config(data__source=str(packed), data__size=None, data__channels=None, data__holdout=0.3)
    facts = Facts(
        id="0", created="", dataset="images", content_hash=dataset.content_hash, images=dataset.count(),
        shape=(3, SIDE, SIDE), class_names=dataset.class_names, recipe="digits", ganloom="0", torch="0", device="cpu",
        threads=1, images_per_minute=None,
    )  # fmt: skip
    folder = create_folder(path, config, facts)
    folder.best.parent.mkdir()
    save_model(folder.model, content_hash=dataset.content_hash)
    save_model(folder.best, best={"fd[loomnet-1]@50": 3.0}, content_hash=dataset.content_hash)
    return folder.path
