"""Inception Score (Salimans et al. 2016): a classifier is sure of each image, and its classes are many."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Comparison, Estimate
from ganloom.metrics.intervals import influence_interval
from ganloom.metrics.moments import checked

__all__ = ["GIVES", "LEAST", "NEEDS", "InceptionScore", "inception_score", "measure"]

NEEDS = frozenset({"logits"})
SPLITS = 10
LEAST = 50 * SPLITS  # a split of m images scores m at most
GIVES = ("is",)


class InceptionScore(NamedTuple):
    """The score, and how much each image pulls it."""

    value: float
    influences: NDArray[np.float64]  # [N], in no order


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """`is`, of the generated images alone, with an interval over draws of as many images (intervals.py).

    The interval is of the mean over the splits, so it is narrower than what the field prints after +-: the standard
    deviation of a single split. The score grows with n.
    """
    return {"is": influence_interval(*inception_score(comparison.fake.logits, comparison.seed), least=1.0)}


def inception_score(
    logits: NDArray[np.floating[Any]],  # [N, K]
    seed: int,
    splits: int = SPLITS,
) -> InceptionScore:
    """The mean over splits of images that the seed has shuffled, as torch-fidelity shuffles them.

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
