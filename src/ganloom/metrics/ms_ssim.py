"""MS-SSIM between random pairs of generated images (Odena et al. 2017): the lower, the more diverse."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ganloom.core import rng
from ganloom.metrics.contract import Estimate, Inputs
from ganloom.metrics.intervals import pairs_interval
from ganloom.metrics.pairs import over_pairs, random_pairs
from ganloom.metrics.ssim import similarity

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "measure", "ms_ssim"]

NEEDS: frozenset[str] = frozenset()
MIN_IMAGES = 100
NUMBERS = ("ms_ssim", "ms_ssim_real")
PAIRS = 1000
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first (Wang et al. 2003, section 3.2)
SMALLEST = 10  # pixels of the shorter side at the coarsest scale: five scales from 160 pixels on


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`ms_ssim`: mean over 1,000 random pairs of generated images. `ms_ssim_real`: of real ones, as the reference."""
    found = {}
    for name, images in (("ms_ssim", inputs.fake.images), ("ms_ssim_real", inputs.real.images)):
        one, other = random_pairs(len(images), PAIRS, rng.key(inputs.seed, "ms-ssim"))
        found[name] = pairs_interval(over_pairs(ms_ssim, images, one, images, other), one, other)
    return found


def ms_ssim(
    a: Tensor,  # [N, C, H, W] in [0, 255]
    b: Tensor,  # [N, C, H, W] in [0, 255]
    scales: int | None = None,  # 1 to 5; by default as many as leave ten pixels at the coarsest scale
) -> Tensor:  # float64 [N]
    """MS-SSIM of each pair, averaged over channels: 1 for equal images, 0 for opposed structure.

    With fewer than five scales, the remaining weights are rescaled to sum to 1.
    """
    scales = scales or most_scales(min(a.shape[2:]))
    weights = torch.tensor(WEIGHTS[:scales], dtype=torch.float64, device=a.device)
    a, b = a.double(), b.double()
    parts = []
    for scale in range(scales):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        whole, structure = similarity(a, b)
        parts.append(whole if scale == scales - 1 else structure)
    # MS-SSIM = l_M^w_M prod_j (c_j s_j)^w_j  (Wang et al. 2003, eq. 7); a negative base has no real power
    return torch.stack(parts, 2).clamp(min=0).pow(weights / weights.sum()).prod(2).mean(1)


def most_scales(side: int) -> int:
    """As many scales as leave ten pixels at the coarsest one, at most the five of the paper."""
    return 1 + sum(side >= SMALLEST << halvings for halvings in range(1, len(WEIGHTS)))
