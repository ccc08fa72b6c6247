"""Mode coverage: which classes a classifier of real images finds among the generated ones.

A classifier takes some images of one class for another, so by its verdicts alone no class would ever be missing. The
shares are therefore those that explain its verdicts best, given what it confuses.
"""

import numpy as np
from numpy.typing import NDArray

from ganloom.core import rng
from ganloom.core.errors import DataError
from ganloom.metrics.classifier import fit, small_images
from ganloom.metrics.contract import Comparison, Estimate
from ganloom.metrics.intervals import proportion_interval

__all__ = ["GIVES", "LEAST", "NEEDS", "covered", "divergence", "measure", "posteriors", "shares", "temperature"]

NEEDS = frozenset({"labels"})
LEAST = 100
GIVES = ("modes", "modes_share", "modes_kl", "modes_classifier_accuracy")
PER_CLASS = 10  # generated images that are needed: of so many, chance hides one class in twenty thousand
RARE = 10  # times as rare as among real images: a class that is rarer still is not covered
MOST, MOST_HELD_BACK = 50_000, 2000  # training images that are looked at, and of those not learned from
STEPS = 500  # of expectation and maximisation, at most
TEMPERATURES = np.geomspace(0.1, 10, 101)


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """`modes`: how many classes are covered, and `modes_share`: which part of all; see `covered`. `modes_kl`: how far
    the classes' shares are from the real ones; see `divergence`. `modes_classifier_accuracy`: of the classifier.

    It learns from at most 50,000 training images; a tenth of them, at most 2,000, are held back to test it. Raises
    `DataError` for less than ten generated images a class.
    """
    labels = comparison.training.labels
    assert labels is not None
    labelled = np.flatnonzero(labels >= 0)
    names, labels = np.unique(labels[labelled], return_inverse=True)  # those that occur, numbered from 0
    classes = len(names)
    if len(comparison.fake) < PER_CLASS * classes:
        raise DataError(
            f"{len(comparison.fake)} generated images are too few to look for {classes} classes: "
            f"make at least {PER_CLASS * classes} with --n."
        )
    rows = np.random.default_rng(rng.key(comparison.seed, "modes")).permutation(len(labels))[:MOST]
    held_back, learned = np.split(rows, [min(len(rows) // 10, MOST_HELD_BACK)])
    images = comparison.training.images
    classifier = fit(small_images(images, labelled[learned]), labels[learned], classes, comparison.seed)
    logits, truth = classifier.logits(small_images(images, labelled[held_back])), labels[held_back]
    real = np.bincount(labels, minlength=classes) / len(labels)
    verdicts = posteriors(classifier.logits(small_images(comparison.fake.images)), temperature(logits, truth))
    fake = shares(verdicts, real)
    count = int(covered(fake, real).sum())
    return {
        "modes": Estimate(count),
        "modes_share": Estimate(count / classes),
        "modes_kl": Estimate(divergence(fake, real)),
        "modes_classifier_accuracy": proportion_interval(int((logits.argmax(1) == truth).sum()), len(truth)),
    }


def temperature(
    logits: NDArray[np.float64],  # [N, K]
    truth: NDArray[np.int64],  # [N]
) -> float:
    """What the logits are divided by to become probabilities that come true (Guo et al. 2017)."""
    rows = np.arange(len(truth))
    losses = [-np.log(posteriors(logits, t)[rows, truth] + 1e-30).mean() for t in TEMPERATURES]
    return float(TEMPERATURES[np.argmin(losses)])


def posteriors(
    logits: NDArray[np.float64],  # [N, K]
    temperature: float,
) -> NDArray[np.float64]:  # [N, K]
    scaled = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    found: NDArray[np.float64] = scaled / scaled.sum(axis=1, keepdims=True)
    return found


def shares(
    posteriors: NDArray[np.float64],  # [N, K] of images whose classes may come in other shares
    real: NDArray[np.float64],  # [K] shares that the classifier has learned, none 0
) -> NDArray[np.float64]:  # [K]
    """The most likely shares of the classes (Saerens, Latinne & Decaestecker 2002, by expectation and maximisation)."""
    found = real
    for _ in range(STEPS):
        # q_k <- mean_n (p(k|x_n) q_k / p_k) / sum_j (p(j|x_n) q_j / p_j)  (Saerens et al. 2002, eq. 2.9)
        ratio = found / real
        following: NDArray[np.float64] = ratio * ((1 / (posteriors @ ratio)) @ posteriors) / len(posteriors)
        change = np.abs(following - found).sum()
        found = following
        if change < 1e-7:
            break
    return found


def covered(
    fake: NDArray[np.float64],  # [K] shares of the classes
    real: NDArray[np.float64],  # [K]
) -> NDArray[np.bool_]:  # [K]
    """Classes whose share among the generated images is at least a tenth of that among the real ones.

    With ten images for each of 1,000 equal classes that is one image, as the field counts on Stacked MNIST (Metz et
    al. 2017); with more, a few stray ones are not enough.
    """
    return RARE * fake >= real


def divergence(
    fake: NDArray[np.float64],  # [K] shares of the classes
    real: NDArray[np.float64],  # [K], none 0
) -> float:
    """KL(generated || real) of the classes' shares, in nats, as Metz et al. (2017) report it.

    0 where all shares agree, ln K where one of K equal classes is all that is made. Chance alone gives about
    (K - 1) / 2N with N generated images.
    """
    made = fake > 0
    return max(float((fake[made] * np.log(fake[made] / real[made])).sum()), 0.0)  # rounding may leave -1e-17
