"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), by nearest neighbours."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.core.memory import Blocks
from ganloom.metrics.contract import Estimate, Inputs
from ganloom.metrics.intervals import influence_interval, proportion_interval
from ganloom.metrics.moments import checked

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "Neighbourhoods", "measure", "neighbourhoods"]

NEEDS = frozenset({"features"})
MIN_IMAGES = 50  # ten times the number of neighbours that defines a ball
NUMBERS = ("precision", "recall", "density", "coverage")
PRECISION_K, DENSITY_K = 3, 5
PAIRS = 2**24  # distances in memory at a time, 128 MiB
EQUAL = 1e-12  # squared distances closer than this share of the largest squared norm are equal: they differ by rounding


class Neighbourhoods(NamedTuple):
    """How each image relates to the other set."""

    precise: NDArray[np.bool_]  # [M]: a generated image lies in the ball of a real image, k = 3
    recalled: NDArray[np.bool_]  # [N]: a real image lies in the ball of a generated image, k = 3
    density: NDArray[np.float64]  # [M]: number of balls of real images that a generated image lies in, divided by k = 5
    covered: NDArray[np.bool_]  # [N]: a generated image lies in the ball of the real image, k = 5


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`precision`, `recall`, `density` and `coverage`.

    Each interval is over draws of the images that are counted: generated ones for precision and density, real ones for
    recall and coverage. The other set is fixed. Over draws of both sets, these intervals are a tenth to a half too
    narrow.
    """
    found = neighbourhoods(inputs.real.features, inputs.fake.features)
    return {
        "precision": _share(found.precise),
        "recall": _share(found.recalled),
        "density": influence_interval(float(found.density.mean()), found.density, minimum=0.0),
        "coverage": _share(found.covered),
    }


def _share(hits: NDArray[np.bool_]) -> Estimate:
    return proportion_interval(int(hits.sum()), len(hits))


def neighbourhoods(
    real: NDArray[np.floating[Any]],  # [N, D]
    fake: NDArray[np.floating[Any]],  # [M, D]
) -> Neighbourhoods:
    """Compare every image with every other, in blocks. Raises `DataError` if a feature is not finite.

    The ball of an image reaches to its k-th nearest neighbour in its own set, and includes its surface.
    """
    x, y = torch.from_numpy(checked(real)), torch.from_numpy(checked(fake))
    middle = x.mean(dim=0)  # products lose fewer digits near the origin
    x -= middle
    y -= middle
    slack = EQUAL * max(float(x.square().sum(1).max()), float(y.square().sum(1).max()))
    x_ball, x_wide = (_ball(x, (PRECISION_K, DENSITY_K)) + slack).unbind(1)
    (y_ball,) = (_ball(y, (PRECISION_K,)) + slack).unbind(1)
    recalled, covered = torch.zeros(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.bool)
    precise, density = [], []

    def compared(rows: slice) -> tuple[Tensor, Tensor, NDArray[np.float64], Tensor]:
        squared = _squared_distances(y[rows], x)
        inside = squared <= x_wide
        return (
            (squared <= x_ball).any(dim=1),
            (squared <= y_ball[rows, None]).any(dim=0),
            np.count_nonzero(inside.numpy(), axis=1) / DENSITY_K,
            inside.any(dim=0),
        )

    for is_precise, is_recalled, balls, is_covered in _blocks(len(x)).over(len(y), compared):
        precise.append(is_precise)
        recalled |= is_recalled
        density.append(balls)
        covered |= is_covered
    return Neighbourhoods(torch.cat(precise).numpy(), recalled.numpy(), np.concatenate(density), covered.numpy())


def _ball(
    x: Tensor,  # [N, D]
    neighbours: tuple[int, ...],
) -> Tensor:  # [N, len(neighbours)]
    """Squared distance of each image to its k-th nearest other image, for each k in `neighbours`."""

    def radii(rows: slice) -> Tensor:
        squared = _squared_distances(x[rows], x)
        squared.diagonal(rows.start).fill_(torch.inf)
        nearest = squared.topk(max(neighbours), dim=1, largest=False).values
        return nearest[:, [k - 1 for k in neighbours]]

    return torch.cat(list(_blocks(len(x)).over(len(x), radii)))


def _blocks(others: int) -> Blocks:
    """Rows of a matrix of distances to `others` images, in blocks of a bounded number of entries."""
    return Blocks(max(PAIRS // others, 1))


def _squared_distances(
    a: Tensor,  # [N, D]
    b: Tensor,  # [M, D]
) -> Tensor:  # [N, M]
    products = torch.addmm(b.square().sum(1), a, b.T, alpha=-2)
    return products.add_(a.square().sum(1, keepdim=True)).clamp_(min=0)
