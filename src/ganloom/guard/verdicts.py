"""What the signals mean: when to suspect what, in numbers, and how to say it to somebody who has never trained a GAN.

Every threshold stands here. They were chosen on healthy and on sick trainings (benchmarks/guard.py), and compare with
real images or with the training's own past, never with a number of one dataset.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ganloom.guard.signals import Signals

__all__ = ["RULES", "STILL", "Past", "Rule"]

WORSE = 3.0  # times the best distance: not a bad day, but a way back to noise
BETTER = 0.9  # of the best distance: an improvement
NOISE = 0.7  # of the distance at the first look: nothing worth the name has been learned
LONG = 8  # looks without an improvement
ALIKE, ALIKE_AGAIN = 0.08, 0.4  # of the real images' spread, and of the widest so far
FEWER, FARTHER = 0.25, 2.0  # of the highest Vendi score, when the distance is so many times the best
CERTAIN = 0.995  # AUC: D takes no generated image for real
KNOWN, SURE = 0.5, 0.8  # gap, and AUC of training images against others, which a D that generalises cannot tell apart
COPIED = 0.5  # of the distance of held-out images to the nearest training image
STILL = 1e-3  # of the other network's update


class Past(NamedTuple):
    """What earlier looks have seen."""

    looks: float = 0.0
    first: float = 0.0  # distance at the first look
    best: float = 0.0  # lowest distance
    since: float = 0.0  # looks since the distance was last clearly better than before
    spread: float = 0.0  # widest, but for the first look's: an untrained G says nothing
    vendi: float = 0.0  # highest, likewise

    def after(self, now: Signals) -> "Past":
        if not math.isfinite(now.distance):  # no numbers, or no real images to measure by
            return self
        better = not self.looks or now.distance < BETTER * self.best
        return Past(
            self.looks + 1,
            self.first if self.looks else now.distance,
            now.distance if better else self.best,
            0.0 if better else self.since + 1,
            max(self.spread, now.spread) if self.looks else 0.0,
            max(self.vendi, now.vendi) if self.looks else 0.0,
        )


class Rule(NamedTuple):
    """Of one verdict."""

    title: str
    suspects: Callable[[Signals, Past], bool]
    evidence: Callable[[Signals, Past], Mapping[str, float]]
    says: str  # with the evidence's names in braces
    remedy: str


def diverges(now: Signals, past: Past) -> bool:
    return not now.finite or (past.looks > 0 and now.distance > WORSE * past.best)


def collapses(now: Signals, past: Past) -> bool:
    alike = now.spread < ALIKE or now.spread < min(ALIKE_AGAIN * past.spread, ALIKE_AGAIN)
    return alike or (now.vendi < FEWER * past.vendi and now.distance > FARTHER * past.best)


def overpowers(now: Signals, past: Past) -> bool:
    return now.auc > CERTAIN and past.since >= LONG


def overfits(now: Signals, past: Past) -> bool:
    return now.gap > KNOWN and now.gap_auc > SURE


def memorises(now: Signals, past: Past) -> bool:
    return now.nearest < COPIED


def stalls(now: Signals, past: Past) -> bool:
    stands = now.update_d < STILL * now.update_g or now.update_g < STILL * now.update_d
    return stands or (past.since >= LONG and past.best > NOISE * past.first)


RULES: Mapping[str, Rule] = {
    "divergence": Rule(
        "divergence",
        diverges,
        lambda now, past: {"distance": now.distance, "best": past.best},
        "the images get worse and worse: they are {distance:.3g} times as far from the training images as other real "
        "images are, and were {best:.3g} at their best.",
        "Mostly the learning rates are too high: --set optimizer.g.lr=... --set optimizer.d.lr=..., or a stronger "
        "penalty.",
    ),
    "collapse": Rule(
        "mode collapse",
        collapses,
        lambda now, past: {"spread": now.spread, "vendi": now.vendi},
        "the generator makes the same few images again and again: two of them differ {spread:.0%} as much as two real "
        "ones, and there are {vendi:.0%} as many kinds.",
        "Lower learning rates, r1 or a larger weight of it, or another loss (--recipe r3gan-32) help against it.",
    ),
    "memorisation": Rule(
        "memorisation",
        memorises,
        lambda now, past: {"nearest": now.nearest},
        "the generator copies training images: what it makes lies {nearest:.0%} as far from the nearest of them as new "
        "real images do.",
        "More images, or --set augment=ada, and an earlier model: best/model.safetensors.",
    ),
    "overfitting": Rule(
        "discriminator overfitting",
        overfits,
        lambda now, past: {"gap": now.gap, "gap_auc": now.gap_auc},
        "the discriminator knows its training images by heart: real images that it has not seen look {gap:.0%} as "
        "false to it as generated ones.",
        "More images, or --set augment=ada, or a shorter training.",
    ),
    "overpowering": Rule(
        "discriminator overpowering",
        overpowers,
        lambda now, past: {"auc": now.auc, "distance": now.distance},
        "the discriminator tells every generated image from a real one ({auc:.1%} of pairs), and the images get no "
        "better.",
        "A lower rate for it (--set optimizer.d.lr=...), or a larger --set penalties.r1.weight=...",
    ),
    "stalled": Rule(
        "stalled",
        stalls,
        lambda now, past: {
            "distance": now.distance,
            "first": past.first,
            "update_g": now.update_g,
            "update_d": now.update_d,
        },
        "the images have not become better for long: they are {distance:.3g} times as far from the training images as "
        "other real images are, and were {first:.3g} at the start. A step changes the generator's weights by "
        "{update_g:.1e} of their size, the discriminator's by {update_d:.1e}.",
        "Look at the learning rates: a network that hardly moves wants a higher one.",
    ),
}
