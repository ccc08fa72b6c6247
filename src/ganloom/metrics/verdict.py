"""What the numbers of one evaluation say together, in one line, where they are clear.

Thresholds are relative to what other real images of the same number would score, and hold for the whole confidence
interval. They were chosen on real images, on images of some classes only, on a few images repeated, on blur and on
noise (docs/evaluation.md). Between them there is no verdict.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ganloom.metrics.prdc import DENSITY_K
from ganloom.metrics.scores import Score
from ganloom.metrics.tone import NUMBERS as TONE
from ganloom.metrics.tone import faults

__all__ = ["Verdict", "expected_coverage", "verdict"]

FEW_KINDS = 0.1  # of the real Vendi score: three images repeated have .03 to .05 of it, one class of ten .27 or more
ALIKE = 0.25  # of the way from the similarity of real pairs to equal pairs: three images repeated go .45 or more
PRECISE = 0.5  # precision: other real images have .75 to .9, blurred ones at most .1
NARROW = 0.5  # of the expected coverage: two classes of ten have .28 to .36, half of the classes .6
CLOSE = 0.85  # of the expected coverage: other real images have .85 to 1, half of the classes .6
UNLIKE = 0.05  # precision, and share of the expected coverage: noise and blur have less
COPIES = 0.1  # memorised share: ten times what is expected
COPYING_Z = -3.0  # memorisation_z, as its meaning says


class Verdict(NamedTuple):
    """One line about an evaluation."""

    name: str  # such as "collapsed"
    text: str  # what it means, and the numbers behind it

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def verdict(scores: Iterable[Score]) -> Verdict | None:
    """What the scores of the newest evaluation say of its images; None if they are not clear.

    Scores of single classes do not count. Where the newest evaluation measured too little, earlier ones of the same
    images count too.
    """
    whole = sorted((score for score in scores if score.class_name is None), key=lambda score: score.created)
    groups: dict[tuple[object, ...], list[Score]] = {}
    for score in whole:
        if score.model == whole[-1].model:
            groups.setdefault((score.created, score.n_generated, score.n_real, score.content_hash), []).append(score)
    return next(filter(None, (_of_one(group) for group in reversed(groups.values()))), None)


def expected_coverage(n_real: int, n_generated: int) -> float:
    """The coverage that other real images would have (Naeem et al. 2020, eq. 10).

    >>> round(expected_coverage(10_000, 2_000), 2)
    0.6
    """
    # 1 - prod_{i < k} (N - 1 - i) / (N + M - 1 - i), with N real and M generated images
    missed = math.prod((n_real - 1 - i) / (n_real + n_generated - 1 - i) for i in range(DENSITY_K))
    return 1 - missed


def _of_one(scores: Sequence[Score]) -> Verdict | None:
    found = {score.metric: score for score in scores}
    return next(filter(None, (rule(found) for rule in RULES)), None)


def _collapsed(found: Mapping[str, Score]) -> Verdict | None:
    if not {"vendi", "vendi_real"} <= found.keys() or _high(found["vendi"]) >= FEW_KINDS * found["vendi_real"].value:
        return None
    # Vendi is low for images far from the real ones too, however different they are from each other.
    pairs = found.get("ms_ssim"), found.get("ms_ssim_real")
    alike = pairs[0] and pairs[1] and pairs[0].value > pairs[1].value + ALIKE * (1 - pairs[1].value)
    if not alike and ("precision" not in found or _low(found["precision"]) < PRECISE):
        return None
    numbers = [f"Vendi {found['vendi'].value:.3g} of {found['vendi_real'].value:.3g}"]
    numbers += [f"MS-SSIM {pairs[0].value:.2g} (real: {pairs[1].value:.2g})"] if pairs[0] and pairs[1] else []
    numbers += [f"recall {found['recall'].value:.2g}"] if "recall" in found else []
    return Verdict("collapsed", f"the generated images are nearly all alike ({', '.join(numbers)})")


def _copies(found: Mapping[str, Score]) -> Verdict | None:
    share, z = found.get("memorised"), found.get("memorisation_z")
    if share is None or z is None or _low(share) <= COPIES or z.value >= COPYING_Z:
        return None
    return Verdict(
        "copies",
        f"{share.value:.0%} of the generated images are nearer to a training image than 99 % of the held-out ones are "
        f"(memorised {share.value:.2g}, expected 0.01)",
    )


def _unlike(found: Mapping[str, Score]) -> Verdict | None:
    if (
        (judged := _judged(found)) is None
        or _high(found["precision"]) > UNLIKE
        or _high(judged[0]) > UNLIKE * judged[1]
    ):
        return None
    return Verdict(
        "unlike the real images",
        f"hardly one is near a real image; untrained, blurred, noisy or of other things ({_numbers(found, judged)})",
    )


def _narrow(found: Mapping[str, Score]) -> Verdict | None:
    if (
        (judged := _judged(found)) is None
        or _low(found["precision"]) < PRECISE
        or _high(judged[0]) > NARROW * judged[1]
    ):
        return None
    return Verdict("too little variety", f"good images, but many kinds are missing ({_numbers(found, judged)})")


def _off_tone(found: Mapping[str, Score]) -> Verdict | None:
    numbers = {name: found[name].value for name in TONE if name in found}
    wrong = faults(**(dict.fromkeys(TONE, math.nan) | numbers))
    if not wrong:
        return None
    evidence = ", ".join(f"{name} {value:.2g}" for name, value in numbers.items())
    return Verdict(" and ".join(wrong), f"the tone differs from that of the real images ({evidence})")


def _close(found: Mapping[str, Score]) -> Verdict | None:
    if (judged := _judged(found)) is None or _low(judged[0]) < CLOSE * judged[1]:
        return None
    if _low(judged[0]) > judged[1] and "memorised" not in found:
        return Verdict(
            "copies?",
            f"nearer to the real images than other real images are ({_numbers(found, judged)}). Look for copies: "
            "--metrics memorisation",
        )
    return Verdict("close to the real images", f"about as near as other real images are ({_numbers(found, judged)})")


RULES: Sequence[Callable[[Mapping[str, Score]], Verdict | None]] = (
    _collapsed,
    _copies,
    _unlike,
    _narrow,
    _off_tone,
    _close,
)
"""In this order: collapsed images may also be few kinds or of another tone, and copies are close to the real images."""


def _judged(found: Mapping[str, Score]) -> tuple[Score, float] | None:
    """Coverage and its expected value; None where the numbers of nearest neighbours are missing or say nothing."""
    if not {"precision", "coverage"} <= found.keys() or found["precision"].note:
        return None
    coverage = found["coverage"]
    return coverage, expected_coverage(coverage.n_real, coverage.n_generated)


def _numbers(found: Mapping[str, Score], judged: tuple[Score, float]) -> str:
    coverage, expected = judged
    return f"precision {found['precision'].value:.2g}, coverage {coverage.value:.2g}; other real images: {expected:.2g}"


def _low(score: Score) -> float:
    return score.value if score.low is None else score.low


def _high(score: Score) -> float:
    return score.value if score.high is None else score.high
