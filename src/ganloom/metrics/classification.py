"""Classification accuracy score (Ravuri & Vinyals 2019): train a classifier on generated images, test on real ones."""

import numpy as np
from numpy.typing import NDArray

from ganloom.core import rng
from ganloom.metrics.classifier import fit, small_images
from ganloom.metrics.contract import Estimate, ImageSet, Inputs
from ganloom.metrics.intervals import proportion_interval
from ganloom.metrics.pairs import some

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "accuracy", "measure"]

NEEDS = frozenset({"labels", "fake labels", "held out"})
MIN_IMAGES = 100
NUMBERS = ("cas", "cas_real")
MAX_IMAGES = 50_000  # to train a classifier on


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`cas`: accuracy on held-out real images of a classifier trained on generated images and their labels.

    `cas_real`: the same for a classifier trained on the real training images, as the reference. Both are trained on
    equally many images: as many as the smaller set has, at most 50,000.
    """
    assert inputs.held_out is not None
    n = min(len(_labelled(inputs.fake)), len(_labelled(inputs.training)), MAX_IMAGES)
    return {
        "cas": accuracy(inputs.fake, inputs.held_out, n, inputs.seed),
        "cas_real": accuracy(inputs.training, inputs.held_out, n, inputs.seed),
    }


def accuracy(
    teacher: ImageSet,
    held_out: ImageSet,
    n: int,  # images of the teacher to train on
    seed: int,
) -> Estimate:
    """Share of the held-out images that a classifier trained on the teacher's images classifies correctly."""
    assert teacher.labels is not None and held_out.labels is not None
    labelled = _labelled(teacher)
    rows, tested = labelled[some(len(labelled), n, rng.key(seed, "classification"))], _labelled(held_out)
    labels, truth = teacher.labels[rows], held_out.labels[tested]
    classes = 1 + max(teacher.labels.max(), truth.max())
    classifier = fit(small_images(teacher.images, rows), labels, int(classes), seed)
    hits = classifier.predict(small_images(held_out.images, tested)) == truth
    return proportion_interval(int(hits.sum()), len(hits))


def _labelled(side: ImageSet) -> NDArray[np.int64]:
    """Positions of the images that have a label."""
    assert side.labels is not None and side.labels.ndim == 1
    return np.flatnonzero(side.labels >= 0)
