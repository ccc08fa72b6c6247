"""LPIPS between random pairs of generated images (Zhang et al. 2018): the higher, the more diverse they look."""

from ganloom.core import rng
from ganloom.metrics.contract import Comparison, Estimate
from ganloom.metrics.intervals import pairs_interval
from ganloom.metrics.pairs import over_pairs, random_pairs

__all__ = ["GIVES", "LEAST", "NEEDS", "measure"]

NEEDS = frozenset({"lpips"})
LEAST = 100
GIVES = ("lpips", "lpips_real")
PAIRS = 1000


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """Mean of 1,000 random pairs of generated images, and of 1,000 of real ones: what to compare it with."""
    assert comparison.lpips is not None
    found = {}
    for name, images in (("lpips", comparison.fake.images), ("lpips_real", comparison.real.images)):
        one, other = random_pairs(len(images), PAIRS, rng.key(comparison.seed, "lpips"))
        found[name] = pairs_interval(over_pairs(comparison.lpips, images, one, images, other), one, other)
    return found
