"""Inception Score (Salimans et al. 2016): high if a classifier is sure of each image and finds many classes."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Estimate, Inputs
from ganloom.metrics.intervals import influence_interval
from ganloom.metrics.moments import checked

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "InceptionScore", "inception_score", "measure"]

NEEDS = frozenset({"logits"})
SPLITS = 10
MIN_IMAGES = 50 * SPLITS  # the score of a split of m images is at most m
NUMBERS = ("is",)


class InceptionScore(NamedTuple):
    """The score, and the influence of each image on it."""

    value: float
    influences: NDArray[np.float64]  # [N], in shuffled order


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`is`, of the generated images alone, with an interval over draws of equally many images (intervals.py).

    The interval is that of the mean over the splits. So it is narrower than the number that papers print after +-,
    which is the standard deviation of a single split. The score grows with n.
    """
    return {"is": influence_interval(*inception_score(inputs.fake.logits, inputs.seed), minimum=1.0)}


def inception_score(
    logits: NDArray[np.floating[Any]],  # [N, K]
    seed: int,
    splits: int = SPLITS,
) -> InceptionScore:
    """The mean over splits of the images, shuffled with the seed as torch-fidelity does.

    Raises `DataError` if a logit is not finite.
    """
    shuffled = checked(logits)[np.random.RandomState(seed).permutation(len(logits))]
    scores, influences = [], []
    for start, end in pairwise(index * len(logits) // splits for index in range(splits + 1)):
        # exp E_x KL(p(y|x) || p(y)); a split's influences are those of its mean KL, times the score
        log_p = _log_softmax(shuffled[start:end])
        p = np.exp(log_p)
        log_mean = np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny))
        divergences = (p * (log_p - log_mean)).sum(axis=1)
        scores.append(np.exp(divergences.mean()))
        influences.append(scores[-1] * (divergences - divergences.mean()))
    return InceptionScore(float(np.mean(scores)), np.concatenate(influences))


def _log_softmax(
    logits: NDArray[np.float64],  # [N, K]
) -> NDArray[np.float64]:  # [N, K]
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p
