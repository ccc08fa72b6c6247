"""Mode coverage: which classes a classifier trained on real images finds among the generated ones.

A classifier makes mistakes, so its predictions alone would never show a class as missing. The shares of the classes are
therefore the most likely ones given its predictions and what it confuses.
"""

import numpy as np
from numpy.typing import NDArray

from ganloom.core import rng
from ganloom.core.errors import DataError
from ganloom.metrics.classifier import fit, small_images
from ganloom.metrics.contract import Estimate, Inputs
from ganloom.metrics.intervals import proportion_interval

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "covered", "divergence", "measure", "posteriors", "shares", "temperature"]

NEEDS = frozenset({"labels"})
MIN_IMAGES = 100
NUMBERS = ("modes", "modes_share", "modes_kl", "modes_classifier_accuracy")
PER_CLASS = 10  # generated images required: with so many, chance hides one class in twenty thousand
RARE = 10  # a class more than ten times rarer than among the real images is not covered
MAX_IMAGES = 50_000  # training images that are used
MAX_HELD_BACK = 2000  # of these, kept to test the classifier
STEPS = 500  # of expectation maximisation, at most
TEMPERATURES = np.geomspace(0.1, 10, 101)


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`modes`: number of classes that are covered, and `modes_share`: their share of all classes; see `covered`.
    `modes_kl`: divergence of the shares of the classes from the real ones; see `divergence`.
    `modes_classifier_accuracy`: accuracy of the classifier.

    The classifier uses at most 50,000 training images. A tenth of them, at most 2,000, are kept to test it. Raises
    `DataError` for fewer than ten generated images per class.
    """
    labels = inputs.training.labels
    assert labels is not None
    labelled = np.flatnonzero(labels >= 0)
    names, labels = np.unique(labels[labelled], return_inverse=True)  # the classes that occur, numbered from 0
    classes = len(names)
    if len(inputs.fake) < PER_CLASS * classes:
        raise DataError(
            f"{len(inputs.fake)} generated images are too few to look for {classes} classes: "
            f"generate at least {PER_CLASS * classes} with --n."
        )
    rows = np.random.default_rng(rng.key(inputs.seed, "modes")).permutation(len(labels))[:MAX_IMAGES]
    held_back, learned = np.split(rows, [min(len(rows) // 10, MAX_HELD_BACK)])
    images = inputs.training.images
    classifier = fit(small_images(images, labelled[learned]), labels[learned], classes, inputs.seed)
    logits, truth = classifier.logits(small_images(images, labelled[held_back])), labels[held_back]
    real = np.bincount(labels, minlength=classes) / len(labels)
    predictions = posteriors(classifier.logits(small_images(inputs.fake.images)), temperature(logits, truth))
    fake = shares(predictions, real)
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
    """The temperature that calibrates the classifier: logits are divided by it (Guo et al. 2017)."""
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
    posteriors: NDArray[np.float64],  # [N, K] of images whose classes may have other shares
    real: NDArray[np.float64],  # [K] shares in the classifier's training data, none 0
) -> NDArray[np.float64]:  # [K]
    """The most likely shares of the classes, by expectation maximisation (Saerens, Latinne & Decaestecker 2002)."""
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

    With ten images for each of 1,000 equal classes that is one image, as on Stacked MNIST (Metz et al. 2017). With
    more images, a few stray ones are not enough.
    """
    return RARE * fake >= real


def divergence(
    fake: NDArray[np.float64],  # [K] shares of the classes
    real: NDArray[np.float64],  # [K], none 0
) -> float:
    """KL(generated || real) of the shares of the classes, in nats, as Metz et al. (2017) report it.

    0 if all shares are equal, ln K if only one of K equal classes is generated. Chance alone gives about (K - 1) / 2N
    with N generated images.
    """
    made = fake > 0
    return max(float((fake[made] * np.log(fake[made] / real[made])).sum()), 0.0)  # rounding may leave -1e-17
