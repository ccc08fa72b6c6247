"""SSIM (Wang et al. 2004) of generated images with random real images, and with the nearest training image.

Over random pairs SSIM says little: two good images of different things are not similar. It is here because papers
report it. With the nearest training image it is informative if compared with the same number for held-out real images:
generated images that are much more similar than those are copies. SSIM misses a copy shifted by one pixel;
metrics/memorisation.py finds it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.core import rng
from ganloom.metrics.contract import Estimate, Images, Inputs
from ganloom.metrics.intervals import mean_interval
from ganloom.metrics.pairs import batches, nearest, over_pairs, shrunk, some

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "measure", "nearest_ssim", "similarity", "ssim"]

NEEDS: frozenset[str] = frozenset()
MIN_IMAGES = 100
NUMBERS = ("ssim", "ssim_nearest", "ssim_nearest_held_out")
MAX_IMAGES = 1000  # images of each set that are used
CANDIDATES = 5  # training images that SSIM is computed with
THUMBNAIL = 16  # pixels of the longer side, when searching the candidates
LARGE = 256  # maximum pixels of the longer side, when computing SSIM with them

WINDOW, SIGMA = 11, 1.5
K1, K2, RANGE = 0.01, 0.03, 255


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`ssim`: of random pairs of a real and a generated image. `ssim_nearest`: of each generated image and its nearest
    training image. `ssim_nearest_held_out`: the same for held-out real images, if there are any.

    Of more than 1,000 generated or held-out images, the seed chooses 1,000.
    """
    fake, real = inputs.fake.images, inputs.real.images
    rows = some(len(fake), MAX_IMAGES, rng.key(inputs.seed, "ssim"))
    partners = np.random.default_rng(rng.key(inputs.seed, "ssim", "real")).integers(len(real), size=len(rows))
    found = {"ssim": over_pairs(ssim, fake, rows, real, partners)}
    found["ssim_nearest"] = nearest_ssim(fake, rows, inputs.training.images)
    if inputs.held_out is not None:
        held_out = inputs.held_out.images
        rows = some(len(held_out), MAX_IMAGES, rng.key(inputs.seed, "ssim", "held out"))
        found["ssim_nearest_held_out"] = nearest_ssim(held_out, rows, inputs.training.images)
    return {name: mean_interval(values) for name, values in found.items()}


def nearest_ssim(
    images: Images,
    rows: NDArray[np.int64],  # [N], which of the images to use
    training: Images,
) -> NDArray[np.float64]:  # [N]
    """The largest SSIM of each image with any of the five training images whose thumbnails are nearest to its own.

    Images larger than 256 pixels are first downscaled to that size.
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
    """SSIM, and its factor for contrast and structure; each averaged over the positions where the window fits.

    The window is 11x11 pixels, or along a shorter side the largest odd number of pixels that fits.
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
    """The Gaussian window as a matrix: row i is the window that starts at pixel i."""
    window = min(WINDOW, size - 1 + size % 2)
    offsets = torch.arange(window, dtype=torch.float64) - window // 2
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    positions = torch.arange(size - window + 1)
    matrix = torch.zeros(len(positions), size, dtype=torch.float64)
    matrix[positions[:, None], positions[:, None] + torch.arange(window)] = weights / weights.sum()
    return matrix
