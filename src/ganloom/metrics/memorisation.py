"""Does the generator copy training images? Compares distances to them of generated and of held-out real images.

A generator that has learned the distribution comes as close to the training images as new real images do. Distances are
Euclidean, between features. Held-out images that are exact duplicates of training images are left out.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ganloom.core.errors import DataError
from ganloom.core.memory import Blocks
from ganloom.core.pictures import grid
from ganloom.metrics.contract import Estimate, Images, Inputs
from ganloom.metrics.intervals import proportion_interval
from ganloom.metrics.moments import checked
from ganloom.metrics.pairs import nearest

__all__ = [
    "MIN_IMAGES",
    "NEEDS",
    "NUMBERS",
    "Neighbours",
    "data_copying",
    "held_out_only",
    "measure",
    "memorised",
    "neighbours",
]

NEEDS = frozenset({"features", "held out"})
MIN_IMAGES = 50
NUMBERS = ("memorisation_z", "memorised", "memorisation_ratio")
NEAR = 0.01  # share of the held-out images that count as close to a training image
SAME = 1e-4  # images closer than this share of the spread of the training features are duplicates
WORST = 16  # pairs in the picture

QUERIES, POINTS = 1024, 4096  # distances are computed in blocks of this size


class Neighbours(NamedTuple):
    """The nearest training image of each of N images."""

    nearest: NDArray[np.int64]  # [N], index of the training image
    distance: NDArray[np.float64]  # [N]


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`memorisation_z`: far below 0 if the generator copies, see `data_copying`. `memorised`: share of the generated
    images that are closer to a training image than all but 1 % of the held-out images are; 0.01 is expected.
    `memorisation_ratio`: the median distance of the generated images divided by that of the held-out ones.

    The picture shows the 16 generated images closest to a training image, each with that image at its right.
    Raises `DataError` if all held-out images are training images.
    """
    assert inputs.held_out is not None
    training = inputs.training.features
    found = neighbours(inputs.fake.features, training)
    fake = found.distance
    held_out = held_out_only(neighbours(inputs.held_out.features, training).distance, training)
    inputs.pictures["memorisation"] = _worst(found, inputs.fake.images, inputs.training.images)
    near = memorised(fake, held_out)
    return {
        "memorisation_z": Estimate(data_copying(fake, held_out)),
        "memorised": proportion_interval(int(near.sum()), len(near)),
        "memorisation_ratio": Estimate(float(np.median(fake) / np.median(held_out))),
    }


def neighbours(
    features: NDArray[np.float32],  # [N, D]
    training: NDArray[np.float32],  # [M, D]
) -> Neighbours:
    """The nearest training image of each image, searched in float64 and in blocks of bounded size.

    Raises `DataError` if a feature is not finite.
    """
    queries, blocks = checked(features), Blocks(QUERIES)

    def found(rows: slice) -> Neighbours:
        size = blocks.size * POINTS // QUERIES
        points = (torch.tensor(training[first : first + size]) for first in range(0, len(training), size))
        index = nearest(torch.from_numpy(queries[rows]), points)[:, 0]
        return Neighbours(index, np.linalg.norm(queries[rows] - training[index], axis=1))

    parts = list(blocks.over(len(queries), found))
    return Neighbours(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def held_out_only(
    distance: NDArray[np.float64],  # [N], of held-out images to the nearest training image
    training: NDArray[np.float32],  # [M, D]
) -> NDArray[np.float64]:
    """The distances without those of duplicates of training images, which would make copying look normal."""
    spread = np.sqrt(training.var(axis=0, dtype=np.float64).sum())
    kept: NDArray[np.float64] = distance[distance > SAME * spread]
    if not len(kept):
        raise DataError(
            "every held-out image is a duplicate of a training image, so memorisation cannot be measured: "
            "remove duplicates from the dataset, or hold out other images."
        )
    return kept


def data_copying(
    fake: NDArray[np.float64],  # [N] distances of generated images to the nearest training image
    held_out: NDArray[np.float64],  # [M] of held-out images
) -> float:
    """The z-score of the Mann-Whitney U of the distances (Meehan, Chaudhuri & Dasgupta 2020), over the whole space.

    About standard normal for a generator as good as new data; far below 0 if it copies, far above 0 if it underfits.
    """
    n, m = len(fake), len(held_out)
    ordered = np.sort(held_out)
    # U: in how many pairs (generated, held out) the generated image is farther away; a tie counts half
    u = (np.searchsorted(ordered, fake, "left") + np.searchsorted(ordered, fake, "right")).sum() / 2
    ties = np.unique(np.concatenate([fake, held_out]), return_counts=True)[1].astype(np.float64)
    total = n + m
    # Var U = n m / 12 (n + m + 1 - sum(t^3 - t) / ((n + m) (n + m - 1)))  (Lehmann 1975)
    variance = n * m / 12 * (total + 1 - (ties**3 - ties).sum() / (total * (total - 1)))
    return float((u - n * m / 2) / np.sqrt(variance)) if variance > 0 else 0.0


def memorised(
    fake: NDArray[np.float64],  # [N] distances of generated images to the nearest training image
    held_out: NDArray[np.float64],  # [M] of held-out images
) -> NDArray[np.bool_]:  # [N]
    """Which generated images are closer to the training images than all but the closest 1 % of the held-out images.

    The threshold is the k-th smallest of the M held-out distances, k = 0.01 (M + 1): a new real image is closer with a
    probability of k / (M + 1). With M < 99 the threshold is the smallest distance, and 1 / (M + 1) is expected.
    """
    k = max(1, int(NEAR * (len(held_out) + 1)))
    threshold: np.float64 = np.partition(held_out, k - 1)[k - 1]
    return fake < threshold


def _worst(found: Neighbours, fake: Images, training: Images) -> torch.Tensor:  # uint8 [C, height, width]
    rows = np.argsort(found.distance, kind="stable")[:WORST]
    pairs = np.stack([fake[rows], training[found.nearest[rows]]], axis=1)  # [16, 2, H, W, C]
    return grid(torch.tensor(pairs).flatten(0, 1).permute(0, 3, 1, 2), columns=8)
