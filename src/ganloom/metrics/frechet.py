"""Frechet distance (Heusel et al. 2017): two sets of features, each seen as a Gaussian."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.metrics.contract import Comparison, Estimate
from ganloom.metrics.intervals import influence_interval
from ganloom.metrics.moments import BLOCK, Moments, checked

__all__ = ["GIVES", "LEAST", "NEEDS", "frechet_distance", "from_features", "influences", "measure"]

NEEDS = frozenset({"features"})
LEAST = 50  # with fewer, two halves of the same images are as far apart as different datasets
GIVES = ("fd",)
NEGLIGIBLE = 1e-12  # share of the eigenvalues' sum: one below it is rounding


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """`fd`, with an interval over draws of as many images.

    The distance falls as images are added, even between equal distributions (by a share of about 1/n in n images):
    numbers of different n are different numbers, and the interval does not hold the value at another n.
    """
    real, fake = comparison.real.features, comparison.fake.features
    return {"fd": influence_interval(from_features(real, fake), *influences(real, fake), least=0.0)}


def from_features(
    x: NDArray[np.floating[Any]],  # [N, D]
    y: NDArray[np.floating[Any]],  # [M, D]
) -> float:
    """Frechet distance of features. Raises `DataError` if any is not finite.

    With fewer than D images a side the covariances are singular and never built: of centred X and Y, the trace is the
    nuclear norm of X Y', N x M.
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
    """How much each image pulls the distance, as intervals.py uses it."""
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
    return _pulls(x, a.mean, S2 @ B * w**-0.75, 2 * apart), _pulls(y, b.mean, B * w**-0.25, -2 * apart)


def _pulls(
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
    """The mean [D], and the rows around it [N, D], so divided that X' X is the covariance."""
    rows = torch.from_numpy(checked(x))
    mean = rows.mean(dim=0)
    return mean, (rows - mean) / (len(rows) - 1) ** 0.5


def _root(
    S: Tensor,  # [D, D], symmetric
) -> Tensor:  # [D, R]
    """R with R R' = S: Cholesky's, much faster than eigenvectors, unless S is singular."""
    R: Tensor
    R, failed = torch.linalg.cholesky_ex(S)
    if failed:
        w, V = torch.linalg.eigh(S)
        kept = w > NEGLIGIBLE * w.sum()
        R = V[:, kept] * w[kept].sqrt()
    return R
