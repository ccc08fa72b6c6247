"""SSIM (Wang et al. 2004): of generated images to random real ones, and to the training image nearest to each.

Between random pairs the number says little: two good pictures of different things are not alike. It is here because
others report it. To the nearest training image it does say something, beside the same number of real images that were
not trained on: generated images that are much nearer than those were copied. A copy that was moved by a pixel is not
alike to SSIM; metrics/memorisation.py looks for it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.core import rng
from ganloom.metrics.contract import Comparison, Estimate, Images
from ganloom.metrics.intervals import mean_interval
from ganloom.metrics.pairs import batches, nearest, over_pairs, shrunk, some

__all__ = ["GIVES", "LEAST", "NEEDS", "measure", "nearest_ssim", "similarity", "ssim"]

NEEDS: frozenset[str] = frozenset()
LEAST = 100
GIVES = ("ssim", "ssim_nearest", "ssim_nearest_held_out")
MOST = 1000  # images a side that are looked at
CANDIDATES = 5  # training images whose SSIM is computed
THUMBNAIL = 16  # pixels of the longer side, for finding the candidates
LARGE = 256  # pixels of the longer side, at most, for comparing them

WINDOW, SIGMA = 11, 1.5
K1, K2, RANGE = 0.01, 0.03, 255


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """`ssim`: of random pairs, one real and one generated. `ssim_nearest`: of each generated image to the training
    image nearest to it; `ssim_nearest_held_out`: the same of held-out real images, where there are any.

    Of more than 1,000 generated or held-out images, 1,000 are drawn by the seed.
    """
    fake, real = comparison.fake.images, comparison.real.images
    rows = some(len(fake), MOST, rng.key(comparison.seed, "ssim"))
    partners = np.random.default_rng(rng.key(comparison.seed, "ssim", "real")).integers(len(real), size=len(rows))
    found = {"ssim": over_pairs(ssim, fake, rows, real, partners)}
    found["ssim_nearest"] = nearest_ssim(fake, rows, comparison.training.images)
    if comparison.held_out is not None:
        held_out = comparison.held_out.images
        rows = some(len(held_out), MOST, rng.key(comparison.seed, "ssim", "held out"))
        found["ssim_nearest_held_out"] = nearest_ssim(held_out, rows, comparison.training.images)
    return {name: mean_interval(values) for name, values in found.items()}


def nearest_ssim(
    images: Images,
    rows: NDArray[np.int64],  # [N], those that are looked at
    training: Images,
) -> NDArray[np.float64]:  # [N]
    """The greatest SSIM of each image to any of the five training images whose thumbnails are nearest to its own.

    Of pictures larger than 256 pixels, it is that of the pictures averaged down to it.
    """
    queries = torch.cat([_thumbnails(batch) for batch in batches(images, rows)])
    candidates = nearest(queries, map(_thumbnails, batches(training)), CANDIDATES)
    repeated = rows.repeat(candidates.shape[1])
    values = over_pairs(
        lambda a, b: ssim(shrunk(a, LARGE), shrunk(b, LARGE)), images, repeated, training, candidates.ravel()
    )
    best: NDArray[np.float64] = values.reshape(candidates.shape).max(axis=1)
    return best


def _thumbnails(
    images: Tensor,  # uint8 [N, C, H, W]
) -> Tensor:  # float32 [N, D]
    return shrunk(images, THUMBNAIL).flatten(1)


def ssim(
    a: Tensor,  # [N, C, H, W] in [0, 255]
    b: Tensor,  # [N, C, H, W] in [0, 255]
) -> Tensor:  # float64 [N]
    """SSIM of each pair, averaged over positions and channels; 1 for equal images."""
    return similarity(a, b)[0].mean(1)


def similarity(
    a: Tensor,  # [N, C, H, W] in [0, 255]
    b: Tensor,  # [N, C, H, W] in [0, 255]
) -> tuple[Tensor, Tensor]:  # float64 [N, C] and [N, C]
    """SSIM, and its part for contrast and structure alone; each averaged over the positions where the window fits.

    The window has 11 pixels a side, and along a shorter side the greatest odd number that fits.
    """
    a, b = a.double(), b.double()
    rows, columns = _window(a.shape[2]).to(a.device), _window(a.shape[3]).to(a.device)

    def blur(x: Tensor) -> Tensor:
        return rows @ x @ columns.T

    # SSIM = (2 ma mb + C1)(2 sab + C2) / ((ma^2 + mb^2 + C1)(sa^2 + sb^2 + C2))  (Wang et al. 2004, eq. 13)
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    mean_a, mean_b = blur(a), blur(b)
    squares = mean_a.square() + mean_b.square()
    variances = blur(a.square() + b.square()) - squares
    covariance = blur(a * b) - mean_a * mean_b
    structure = (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mean_a * mean_b + c1) / (squares + c1)
    return (luminance * structure).mean((2, 3)), structure.mean((2, 3))


def _window(size: int) -> Tensor:  # float64 [size - window + 1, size]
    """The Gaussian window as a matrix: row i is the window with its corner at pixel i."""
    window = min(WINDOW, size - 1 + size % 2)
    offsets = torch.arange(window, dtype=torch.float64) - window // 2
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    positions = torch.arange(size - window + 1)
    matrix = torch.zeros(len(positions), size, dtype=torch.float64)
    matrix[positions[:, None], positions[:, None] + torch.arange(window)] = weights / weights.sum()
    return matrix
