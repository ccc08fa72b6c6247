"""The rules of the guard: what each fault looks like in the signals, and how to explain it to a newcomer to GANs.

What to do about it depends on the settings of the training: advice.py.

All thresholds are here. They were chosen on healthy and faulty trainings (benchmarks/guard.py), and are relative to
real images or to the training's own past, never a number of one dataset.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ganloom.guard.signals import Signals
from ganloom.metrics.tone import faults
from ganloom.training.health import Past

__all__ = ["CERTAIN", "MIN_UPDATE_RATIO", "RULES", "Rule", "remember"]

DIVERGED = 3.0  # times the best distance: more than a fluctuation
IMPROVED = 0.9  # of the best distance
UNTRAINED = 0.7  # of the distance at the first look: G has learned next to nothing
LONG = 8  # looks without an improvement
MIN_SPREAD, MIN_SPREAD_KEPT = 0.08, 0.4  # of the real images' spread, and of the largest spread so far
MIN_VENDI_KEPT, FARTHER = 0.25, 2.0  # of the highest Vendi score, once the distance is so many times the best
CERTAIN = 0.995  # AUC: D takes no generated image for real
MAX_GAP, MAX_GAP_AUC = 0.5, 0.8  # a D that generalises cannot tell training images from other real ones
COPIED = 0.5  # of the distance of held-out images to the nearest training image
SETTLED = 8  # looks until G has had time to find the tone of the images: at first all pictures are grey
MIN_UPDATE_RATIO = 1e-3  # of the other network's update


def remember(past: Past, now: Signals) -> Past:
    """What the next look compares with."""
    if not math.isfinite(now.distance):  # NaN in the images, or no real images to measure by
        return past
    improved = not past.looks or now.distance < IMPROVED * past.best_distance
    return Past(
        looks=past.looks + 1,
        first_distance=past.first_distance if past.looks else now.distance,
        best_distance=now.distance if improved else past.best_distance,
        looks_without_improvement=0.0 if improved else past.looks_without_improvement + 1,
        max_spread=max(past.max_spread, now.spread) if past.looks else 0.0,
        max_vendi=max(past.max_vendi, now.vendi) if past.looks else 0.0,
    )


class Rule(NamedTuple):
    """One fault: when it is suspected, and what the user is told."""

    title: str
    suspects: Callable[[Signals, Past], bool]
    evidence: Callable[[Signals, Past], Mapping[str, float]]
    says: Callable[[Signals, Past], str]


def diverges(now: Signals, past: Past) -> bool:
    return not now.finite or (past.looks > 0 and now.distance > DIVERGED * past.best_distance)


def collapses(now: Signals, past: Past) -> bool:
    alike = now.spread < MIN_SPREAD or now.spread < min(MIN_SPREAD_KEPT * past.max_spread, MIN_SPREAD_KEPT)
    farther = now.distance > FARTHER * past.best_distance
    return alike or (now.vendi < MIN_VENDI_KEPT * past.max_vendi and farther)


def overpowers(now: Signals, past: Past) -> bool:
    return now.auc > CERTAIN and past.looks_without_improvement >= LONG


def overfits(now: Signals, past: Past) -> bool:
    return now.gap > MAX_GAP and now.gap_auc > MAX_GAP_AUC


def memorises(now: Signals, past: Past) -> bool:
    return now.nearest < COPIED


def stalls(now: Signals, past: Past) -> bool:
    smaller, larger = sorted((now.update_d, now.update_g))
    return smaller < MIN_UPDATE_RATIO * larger or (
        past.looks_without_improvement >= LONG and past.best_distance > UNTRAINED * past.first_distance
    )


def is_off_tone(now: Signals, past: Past) -> bool:
    return past.looks >= SETTLED and bool(tone_faults(now))


def tone_faults(now: Signals) -> list[str]:
    return faults(now.brightness, now.contrast, now.saturation)


def tone_numbers(now: Signals) -> Mapping[str, float]:
    """Without those that are unknown: grey images have no saturation."""
    numbers = {"brightness": now.brightness, "contrast": now.contrast, "saturation": now.saturation}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def in_words(tone: Mapping[str, float]) -> str:
    """`brightness is -3%, contrast 62%, saturation 40%`; brightness is a difference, of the full scale."""
    return "mean brightness differs by {:+.0%} of the full scale; ".format(tone["brightness"]) + ", ".join(
        f"{name} is {value:.0%}" for name, value in tone.items() if name != "brightness"
    )


RULES: Mapping[str, Rule] = {
    "divergence": Rule(
        "divergence",
        diverges,
        lambda now, past: {"distance": now.distance, "best": past.best_distance},
        lambda now, past: (
            f"the images are getting worse: they are {now.distance:.3g} times as far from the training images as other "
            f"real images are, and were {past.best_distance:.3g} times as far at their best."
        ),
    ),
    "collapse": Rule(
        "mode collapse",
        collapses,
        lambda now, past: {"spread": now.spread, "vendi": now.vendi},
        lambda now, past: (
            f"the generator repeats a few images: two of them differ {now.spread:.0%} as much as two real ones, and "
            f"there are {now.vendi:.0%} as many kinds."
        ),
    ),
    "memorisation": Rule(
        "memorisation",
        memorises,
        lambda now, past: {"nearest": now.nearest},
        lambda now, past: (
            f"the generator copies training images: its images are {now.nearest:.0%} as far from the nearest training "
            "image as new real images are."
        ),
    ),
    "overfitting": Rule(
        "discriminator overfitting",
        overfits,
        lambda now, past: {"gap": now.gap, "gap_auc": now.gap_auc},
        lambda now, past: (
            "the discriminator has memorised the training images: for real images that it has not seen, its output "
            f"drops {now.gap:.0%} as far as for generated ones."
        ),
    ),
    "overpowering": Rule(
        "discriminator overpowering",
        overpowers,
        lambda now, past: {"auc": now.auc, "distance": now.distance},
        lambda now, past: (
            f"the discriminator recognises every generated image ({now.auc:.1%} of pairs with a real one), and the "
            "images have stopped improving."
        ),
    ),
    "tone": Rule(
        "tone",
        is_off_tone,
        lambda now, past: tone_numbers(now),
        lambda now, past: (
            f"the generated images are {' and '.join(tone_faults(now))}. Against the training images, "
            f"{in_words(tone_numbers(now))}."
        ),
    ),
    "stalled": Rule(
        "stalled",
        stalls,
        lambda now, past: {
            "distance": now.distance,
            "first": past.first_distance,
            "update_g": now.update_g,
            "update_d": now.update_d,
        },
        lambda now, past: (
            f"the training hardly moves: the images are {now.distance:.3g} times as far from the training images as "
            f"other real images are, and were {past.first_distance:.3g} times as far at the start. A step changes the "
            f"generator's weights by {now.update_g:.1e} of their size, and the discriminator's by {now.update_d:.1e}."
        ),
    ),
}
