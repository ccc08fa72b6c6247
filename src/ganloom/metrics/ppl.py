"""Perceptual path length (Karras et al. 2019): how much the features change when a latent changes a little.

Paths are great circles between random pairs of latents z. Distances are between features of the extractor, so values of
different extractors are not comparable, nor are they with those in papers, which use VGG16.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganloom.core import rng
from ganloom.core.memory import Blocks
from ganloom.metrics.contract import Estimate, Generator, Inputs
from ganloom.metrics.intervals import mean_interval

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "measure", "middle", "slerp", "squared_speeds"]

NEEDS = frozenset({"generator", "features"})
MIN_IMAGES = 1
NUMBERS = ("ppl",)
PATHS = 2000
EPSILON = 1e-4  # step, as a share of the path between two latents
OUTLIERS = 0.01  # share of the values left out at either end
BATCH = 32


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`ppl`: mean over 2,000 paths, without the smallest and the largest 1 %.

    For a generator with labels, each path lies within one class: that of a generated image chosen by the seed.
    """
    generator = inputs.generator
    assert generator is not None
    y = None
    if generator.labels is not None:
        rows = np.random.default_rng(rng.key(inputs.seed, "ppl", "labels")).integers(len(generator.labels), size=PATHS)
        y = generator.labels[rows]
    return {"ppl": mean_interval(middle(squared_speeds(generator, inputs.extract, PATHS, inputs.seed, y)))}


@torch.no_grad()
def squared_speeds(
    generator: Generator,
    extract: Callable[[Tensor], Tensor],  # float [N, C, H, W] in [0, 255] -> [N, D]
    paths: int,
    seed: int,
    y: Tensor | None,  # labels [paths] or [paths, K]; None without labels
    epsilon: float = EPSILON,
) -> NDArray[np.float64]:  # [paths]
    """Squared distance of the features divided by epsilon squared, at a random point of each path.

    G runs in evaluation mode. Afterwards its mode and the caller's random state are as before.
    """
    seed = rng.key(seed, "ppl")
    ends = rng.latents(seed, 0, 2 * paths, generator.latent).double()
    t = torch.rand(paths, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def speeds(rows: slice) -> Tensor:  # float64 [rows]
        a, b = ends[:paths][rows], ends[paths:][rows]
        labels = None if y is None else y[rows]
        here, there = (
            _features(generator.G, extract, slerp(a, b, at), labels, rng.key(seed, rows.start))
            for at in (t[rows], t[rows] + epsilon)
        )
        # d(G(slerp(a, b; t)), G(slerp(a, b; t + eps))) / eps^2  (Karras et al. 2019, eq. 2), d a squared distance
        return (there - here).square().sum(1) / epsilon**2

    training = generator.G.training
    generator.G.eval()
    try:
        return torch.cat(list(Blocks(BATCH).over(paths, speeds))).numpy()
    finally:
        generator.G.train(training)


def _features(
    G: nn.Module,
    extract: Callable[[Tensor], Tensor],
    z: Tensor,  # float64 [N, Z]
    y: Tensor | None,  # [N]
    noise: int,  # seed of the noise that G draws, which must be the same at both ends of a step
) -> Tensor:  # float64 [N, D]
    parameter = next(G.parameters())
    with torch.random.fork_rng(devices=[parameter.device] if parameter.is_cuda else []):
        rng.seed(noise)
        # In TF32, the default on GPUs, rounding would exceed the step.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            images = G(z.to(parameter), None if y is None else y.to(parameter.device))
    return extract(images.add(1).mul(127.5).clamp(0, 255)).double().cpu()  # not rounded to uint8, for the same reason


def slerp(
    a: Tensor,  # [N, Z]
    b: Tensor,  # [N, Z]
    t: Tensor,  # [N, 1]
) -> Tensor:  # [N, Z]
    """Interpolation along the great circle from a to b (Shoemake 1985), which keeps the norm of normal latents (White
    2016).
    """
    cosine = torch.nn.functional.cosine_similarity(a, b)[:, None].clamp(-1, 1)
    angle = torch.acos(cosine).clamp(min=1e-6)
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def middle(
    values: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The values without the smallest and the largest 1 %."""
    low, high = np.quantile(values, [OUTLIERS, 1 - OUTLIERS])
    kept: NDArray[np.float64] = values[(low <= values) & (values <= high)]
    return kept
