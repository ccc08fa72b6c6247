"""LPIPS between random pairs of generated images (Zhang et al. 2018): the higher, the more diverse."""

from ganloom.core import rng
from ganloom.metrics.contract import Estimate, Inputs
from ganloom.metrics.intervals import pairs_interval
from ganloom.metrics.pairs import over_pairs, random_pairs

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "measure"]

NEEDS = frozenset({"lpips"})
MIN_IMAGES = 100
NUMBERS = ("lpips", "lpips_real")
PAIRS = 1000


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`lpips`: mean over 1,000 random pairs of generated images. `lpips_real`: of real ones, as the reference."""
    assert inputs.lpips is not None
    found = {}
    for name, images in (("lpips", inputs.fake.images), ("lpips_real", inputs.real.images)):
        one, other = random_pairs(len(images), PAIRS, rng.key(inputs.seed, "lpips"))
        found[name] = pairs_interval(over_pairs(inputs.lpips, images, one, images, other), one, other)
    return found
