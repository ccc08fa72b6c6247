"""Frechet distance (Heusel et al. 2017) of two sets of features, each described by a Gaussian."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.metrics.contract import Estimate, Inputs
from ganloom.metrics.intervals import influence_interval
from ganloom.metrics.moments import BLOCK, Moments, checked

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "frechet_distance", "from_features", "influences", "measure"]

NEEDS = frozenset({"features"})
MIN_IMAGES = 50  # with fewer, two halves of one dataset are as far apart as two datasets
NUMBERS = ("fd",)
NEGLIGIBLE = 1e-12  # eigenvalues below this share of their sum are rounding errors


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`fd`, with an interval over draws of equally many images.

    The distance has a positive bias of order 1/n for n images, even between equal distributions. So values for
    different n are not comparable, and the interval says nothing about the value at another n.
    """
    real, fake = inputs.real.features, inputs.fake.features
    return {"fd": influence_interval(from_features(real, fake), *influences(real, fake), minimum=0.0)}


def from_features(
    x: NDArray[np.floating[Any]],  # [N, D]
    y: NDArray[np.floating[Any]],  # [M, D]
) -> float:
    """Frechet distance of two sets of features. Raises `DataError` if a feature is not finite.

    With fewer than D images per set (on average) the covariances are singular, and are not computed: for centred X and
    Y, the trace of the root of their product is the nuclear norm of X Y' [N, M].
    """
    if len(x) + len(y) >= 2 * x.shape[1]:
        return frechet_distance(Moments.of(x), Moments.of(y))
    (x_mean, x_centred), (y_mean, y_centred) = _centred(x), _centred(y)
    overlap = torch.linalg.svdvals(x_centred @ y_centred.T).sum()
    spread = x_centred.square().sum() + y_centred.square().sum()
    return max(float((x_mean - y_mean).square().sum() + spread - 2 * overlap), 0.0)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Frechet distance of two Gaussians (Dowson & Landau 1982)."""
    # |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)); the last trace sums sqrt(eigenvalues of R' S2 R), where R R' = S1
    S1, S2 = torch.from_numpy(a.covariance), torch.from_numpy(b.covariance)
    R = _root(S1)
    overlap = torch.linalg.eigvalsh(R.T @ S2 @ R).clamp(min=0).sqrt().sum()
    apart = float(np.square(a.mean - b.mean).sum())
    return max(apart + float(S1.trace() + S2.trace() - 2 * overlap), 0.0)


def influences(
    x: NDArray[np.floating[Any]],  # [N, D]
    y: NDArray[np.floating[Any]],  # [M, D]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # [N], [M]
    """Influence of each image on the distance, for intervals.py."""
    # With T the optimal map from one Gaussian to the other, d FD / d S = I - T and d FD / d mu1 = 2 (mu1 - mu2), so
    # the influence of x is |x|^2 - x' T x + 2 x' (mu1 - mu2) of centred x. With R' S2 R = U diag(w) U',
    # T1 = A A' for A = S2 R U w^(-3/4), and T2 = B B' for B = R U w^(-1/4)
    a, b = Moments.of(x), Moments.of(y)
    S2 = torch.from_numpy(b.covariance)
    R = _centred(x)[1].T if a.count < len(a.mean) else _root(torch.from_numpy(a.covariance))
    w, U = torch.linalg.eigh(R.T @ S2 @ R)
    kept = w > NEGLIGIBLE * w.sum()
    w, B = w[kept], R @ U[:, kept]
    apart = torch.from_numpy(a.mean - b.mean)
    return _influences_of(x, a.mean, S2 @ B * w**-0.75, 2 * apart), _influences_of(y, b.mean, B * w**-0.25, -2 * apart)


def _influences_of(
    x: NDArray[np.floating[Any]],  # [N, D]
    mean: NDArray[np.float64],  # [D]
    A: Tensor,  # [D, R]
    direction: Tensor,  # [D]
) -> NDArray[np.float64]:  # [N]
    found = []
    for block in np.array_split(x, -(-len(x) // BLOCK)):
        centred = torch.from_numpy(block - mean)
        found.append(centred.square().sum(1) - (centred @ A).square().sum(1) + centred @ direction)
    return torch.cat(found).numpy()


def _centred(x: NDArray[np.floating[Any]]) -> tuple[Tensor, Tensor]:
    """The mean [D] and the centred rows X [N, D], scaled so that X' X is the covariance."""
    rows = torch.from_numpy(checked(x))
    mean = rows.mean(dim=0)
    return mean, (rows - mean) / (len(rows) - 1) ** 0.5


def _root(
    S: Tensor,  # [D, D], symmetric
) -> Tensor:  # [D, R]
    """R with R R' = S: by Cholesky or, if S is singular, by eigenvectors, which is much slower."""
    R: Tensor
    R, failed = torch.linalg.cholesky_ex(S)
    if failed:
        w, V = torch.linalg.eigh(S)
        kept = w > NEGLIGIBLE * w.sum()
        R = V[:, kept] * w[kept].sqrt()
    return R
