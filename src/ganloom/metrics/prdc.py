"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), by nearest neighbours."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.metrics.contract import Comparison, Estimate
from ganloom.metrics.intervals import influence_interval, proportion_interval
from ganloom.metrics.moments import checked

__all__ = ["GIVES", "LEAST", "NEEDS", "Neighbourhoods", "measure", "neighbourhoods"]

NEEDS = frozenset({"features"})
LEAST = 50  # ten times the neighbours that a ball is drawn by
GIVES = ("precision", "recall", "density", "coverage")
PRECISION_K, DENSITY_K = 3, 5
PAIRS = 2**24  # distances that are held at a time, 128 MiB
EQUAL = 1e-12  # squared distances as close as this share of the largest squared norm are one: rounding, and no more


class Neighbourhoods(NamedTuple):
    """What each image is to the other set."""

    precise: NDArray[np.bool_]  # [M], of each generated image: it lies in a real image's ball, k = 3
    recalled: NDArray[np.bool_]  # [N], of each real image: it lies in a generated image's ball, k = 3
    density: NDArray[np.float64]  # [M], of each generated image: real images' balls that it lies in, over k = 5
    covered: NDArray[np.bool_]  # [N], of each real image: a generated image lies in its ball, k = 5


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """`precision`, `recall`, `density` and `coverage`.

    Each interval is over draws of the images that are counted (generated ones for precision and density, real ones for
    recall and coverage), the other set as it is. What the choice of that other set adds is not in it: over draws of
    both, intervals were a tenth to a half narrower than they should be.
    """
    found = neighbourhoods(comparison.real.features, comparison.fake.features)
    return {
        "precision": _share(found.precise),
        "recall": _share(found.recalled),
        "density": influence_interval(float(found.density.mean()), found.density, least=0.0),
        "coverage": _share(found.covered),
    }


def _share(hits: NDArray[np.bool_]) -> Estimate:
    return proportion_interval(int(hits.sum()), len(hits))


def neighbourhoods(
    real: NDArray[np.floating[Any]],  # [N, D]
    fake: NDArray[np.floating[Any]],  # [M, D]
) -> Neighbourhoods:
    """Compare every image with every other, blockwise. Raises `DataError` if a feature is not finite.

    An image's ball reaches to its k-th nearest neighbour in its own set, and holds what lies on its surface.
    """
    x, y = torch.from_numpy(checked(real)), torch.from_numpy(checked(fake))
    middle = x.mean(dim=0)  # nearer to zero, products lose fewer digits
    x, y = x - middle, y - middle
    slack = EQUAL * max(float(x.square().sum(1).max()), float(y.square().sum(1).max()))
    x_ball, x_wide = (_ball(x, (PRECISION_K, DENSITY_K)) + slack).unbind(1)
    (y_ball,) = (_ball(y, (PRECISION_K,)) + slack).unbind(1)
    recalled, covered = torch.zeros(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.bool)
    precise, density = [], []
    for rows in _blocks(len(y), len(x)):
        squared = _squared_distances(y[rows], x)
        precise.append((squared <= x_ball).any(dim=1))
        recalled |= (squared <= y_ball[rows, None]).any(dim=0)
        inside = squared <= x_wide
        density.append(np.count_nonzero(inside.numpy(), axis=1) / DENSITY_K)
        covered |= inside.any(dim=0)
    return Neighbourhoods(torch.cat(precise).numpy(), recalled.numpy(), np.concatenate(density), covered.numpy())


def _ball(
    x: Tensor,  # [N, D]
    neighbours: tuple[int, ...],
) -> Tensor:  # [N, len(neighbours)]
    """Squared distance to the k-th nearest other image, for each k."""
    found = []
    for rows in _blocks(len(x), len(x)):
        squared = _squared_distances(x[rows], x)
        squared.diagonal(rows.start).fill_(torch.inf)
        nearest = squared.topk(max(neighbours), dim=1, largest=False).values
        found.append(nearest[:, [k - 1 for k in neighbours]])
    return torch.cat(found)


def _blocks(count: int, others: int) -> Iterator[slice]:
    """Rows of a `count` by `others` matrix, a bounded number of entries at a time."""
    size = max(PAIRS // others, 1)
    for start in range(0, count, size):
        yield slice(start, start + size)


def _squared_distances(
    a: Tensor,  # [N, D]
    b: Tensor,  # [M, D]
) -> Tensor:  # [N, M]
    products = torch.addmm(b.square().sum(1), a, b.T, alpha=-2)
    return products.add_(a.square().sum(1, keepdim=True)).clamp_(min=0)
