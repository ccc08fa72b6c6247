"""Classification accuracy score (Ravuri & Vinyals 2019): learn from generated images, be tested on real ones."""

import numpy as np
from numpy.typing import NDArray

from ganloom.core import rng
from ganloom.metrics.classifier import fit, small_images
from ganloom.metrics.contract import Comparison, Estimate, Side
from ganloom.metrics.intervals import proportion_interval
from ganloom.metrics.pairs import some

__all__ = ["GIVES", "LEAST", "NEEDS", "accuracy", "measure"]

NEEDS = frozenset({"labels", "fake labels", "held out"})
LEAST = 100
GIVES = ("cas", "cas_real")
MOST = 50_000  # images that a classifier learns from


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """`cas`: accuracy on held-out real images of a classifier that learned from generated images and their labels.

    `cas_real`: the same of one that learned from equally many training images: what to compare it with. Both learn
    from as many as there are on the smaller side, at most 50,000.
    """
    assert comparison.held_out is not None
    n = min(len(_labelled(comparison.fake)), len(_labelled(comparison.training)), MOST)
    return {
        "cas": accuracy(comparison.fake, comparison.held_out, n, comparison.seed),
        "cas_real": accuracy(comparison.training, comparison.held_out, n, comparison.seed),
    }


def accuracy(
    teacher: Side,
    held_out: Side,
    n: int,  # images of the teacher to learn from
    seed: int,
) -> Estimate:
    """Share of the held-out images that a classifier calls by their name after learning from the teacher's."""
    assert teacher.labels is not None and held_out.labels is not None
    there = _labelled(teacher)
    rows, asked = there[some(len(there), n, rng.key(seed, "classification"))], _labelled(held_out)
    labels, truth = teacher.labels[rows], held_out.labels[asked]
    classes = 1 + max(teacher.labels.max(), truth.max())
    classifier = fit(small_images(teacher.images, rows), labels, int(classes), seed)
    hits = classifier.predict(small_images(held_out.images, asked)) == truth
    return proportion_interval(int(hits.sum()), len(hits))


def _labelled(side: Side) -> NDArray[np.int64]:
    """Where the images lie that have a label."""
    assert side.labels is not None and side.labels.ndim == 1
    return np.flatnonzero(side.labels >= 0)
