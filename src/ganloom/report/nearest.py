"""Generated images beside their nearest training images."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ganloom.core import pictures
from ganloom.core.errors import DataError, ModelError
from ganloom.core.files import cache_folder
from ganloom.core.phases import phase
from ganloom.core.words import counted
from ganloom.data.identity import verified_hash, verify
from ganloom.data.packed import PackedDataset, open_packed
from ganloom.metrics.contract import Images
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors import loomnet
from ganloom.metrics.memorisation import neighbours
from ganloom.report.html import figure, missing, note
from ganloom.report.pictures import cells, image_url, open_picture
from ganloom.report.story import Story

__all__ = ["nearest_images", "training_images"]

WIDEST = 1000  # pixels of a picture
PAIRS, COLUMNS = 16, 8  # in the picture, and images across
MAX_IMAGES = 20_000  # training images that are searched: some ten seconds


def nearest_images(story: Story) -> Iterator[str]:
    """The section of the page: the newest samples as they come, then the closest pairs that `evaluate` found."""
    yield "<h2>Nearest neighbours: does it copy training images?</h2>"
    found = _pairs(story)
    if isinstance(found, str):
        yield missing(found)
    else:
        yield figure(
            image_url(found, WIDEST),
            f"The first {PAIRS} of the newest samples, not selected, each with its nearest training image at its right "
            "(in the features of loomnet-1). Similar pairs are fine; a pair that is equal in every detail is a copy.",
        )
    closest = open_picture(story.run.picture("memorisation"))
    if closest is not None:
        yield figure(
            image_url(closest, WIDEST),
            "The closest pairs of all that were evaluated: a generated image and, at its right, its nearest training "
            "image.",
        )
    else:
        command = f"ganloom evaluate {story.run.path} --metrics memorisation"
        yield missing(
            "Whether it copies has not been measured. To measure it and to see the closest pairs (at least 50 held-out "
            f"images are needed): {command}"
        )
    scores = [score for score in story.scores if score.metric.startswith("memoris") and score.class_name is None]
    if scores:
        yield note("Scores: " + "; ".join(f"{score.label} {score.text}" for score in scores) + ".")


def _pairs(story: Story) -> Image.Image | str:
    """The picture, or why there is none."""
    grid = open_picture(story.grids[max(story.grids)]) if story.grids else None
    if grid is None:
        return "There are no samples to look for in the training images."
    dataset = training_images(story)
    if dataset is None:
        return (
            "The training images are not in this machine's cache, so samples are not shown beside their nearest "
            f"training images. To prepare them again: ganloom evaluate {story.run.path}"
        )
    if dataset.count() > MAX_IMAGES:
        return (
            f"{counted(dataset.count(), 'training image')} are too many to search for a report; 'ganloom evaluate' "
            "searches them all."
        )
    made = cells(grid, story.facts.shape)[:PAIRS]
    extraction = Extraction(loomnet.load(), torch.device("cpu"))
    content, name = verified_hash(dataset), dataset.name
    training = Images(dataset.images, np.arange(dataset.count()), None, name, content, "train")
    with phase(f"features of {name}") as progress:
        extraction.progress = progress
        known = extraction.cached(training).pooled
    generated = Images.generated(made.permute(0, 2, 3, 1).numpy())
    near = training[neighbours(extraction.features(generated).pooled, known).nearest]  # uint8 [N, H, W, C]
    pairs = torch.stack([made, torch.from_numpy(near).permute(0, 3, 1, 2)], 1).flatten(0, 1)
    sheet = pictures.grid(pairs, COLUMNS)
    return pictures.to_pil(sheet)


def training_images(story: Story) -> PackedDataset | None:
    """The images of the run as they were prepared, if they are on this machine: nothing is prepared or downloaded."""
    places = [Path(story.config.data.source), *sorted(cache_folder().glob("*"))]
    for place in places:
        if not (place / "dataset.json").is_file():
            continue
        with contextlib.suppress(DataError, ModelError):
            dataset = open_packed(place)
            if dataset.content_hash == story.facts.content_hash:
                if story.config.data.verify:
                    verify(dataset)
                return dataset
    return None
