"""Mode coverage: which classes a classifier of real images finds among the generated ones."""

import numpy as np
from numpy.typing import NDArray

from ganloom.core import rng
from ganloom.core.errors import DataError
from ganloom.metrics.classifier import Classifier, fit, small_images
from ganloom.metrics.contract import Comparison, Estimate, Side
from ganloom.metrics.intervals import influence_interval, proportion_interval
from ganloom.metrics.pairs import some

__all__ = ["GIVES", "LEAST", "NEEDS", "covered", "divergence", "measure"]

NEEDS = frozenset({"labels"})
LEAST = 100
GIVES = ("modes", "modes_share", "modes_kl", "modes_classifier_accuracy")
PER_CLASS = 10  # generated images that are needed: of so many, chance hides one class in twenty thousand
RARE = 10  # times as rare as among real images: a class that is rarer still is not covered
MOST = 50_000  # training images that the classifier sees


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """`modes`: how many classes are covered, see `covered`, and `modes_share`: of how many. `modes_kl`: how unlike the
    real classes' shares are, see `divergence`. `modes_classifier_accuracy` on held-out images, where there are any.

    The classifier learns from at most 50,000 training images. Where it often errs, a lost class may seem covered by
    the errors made on others; the divergence still shows it. Raises `DataError` for less than ten generated images a
    class.
    """
    labels = comparison.training.labels
    assert labels is not None
    classes, labels = np.unique(labels, return_inverse=True)  # those that occur, numbered from 0
    if len(comparison.fake) < PER_CLASS * len(classes):
        raise DataError(
            f"{len(comparison.fake)} generated images are too few to look for {len(classes)} classes: "
            f"make at least {PER_CLASS * len(classes)} with --n."
        )
    rows = some(len(labels), MOST, rng.key(comparison.seed, "modes"))
    images = small_images(comparison.training.images, rows)
    classifier = fit(images, labels[rows], len(classes), comparison.seed)
    real = np.bincount(labels, minlength=len(classes))
    predicted = classifier.predict(small_images(comparison.fake.images))
    fake = np.bincount(predicted, minlength=len(classes))
    count = int(covered(fake, real).sum())
    surprise = np.log(np.maximum(fake, 1) / fake.sum() * real.sum() / real)  # of an image of each class
    found = {
        "modes": Estimate(count),
        "modes_share": Estimate(count / len(classes)),
        "modes_kl": influence_interval(divergence(fake, real), surprise[predicted], least=0.0),
    }
    if comparison.held_out is not None and comparison.held_out.labels is not None:
        found["modes_classifier_accuracy"] = _accuracy(classifier, comparison.held_out, classes)
    return found


def covered(
    fake: NDArray[np.int64],  # [K] generated images of each class
    real: NDArray[np.int64],  # [K] real images, at least one of each
) -> NDArray[np.bool_]:  # [K]
    """Classes whose share among the generated images is at least a tenth of that among the real ones.

    Stacked MNIST, 1,000 classes and about ten images for each, counts a class from its first image (Metz et al. 2017);
    so does this. With more images a class, that alone would count every error of the classifier.
    """
    enough: NDArray[np.bool_] = RARE * fake * real.sum() >= real * fake.sum()  # whole numbers, so no rounding
    return enough


def divergence(
    fake: NDArray[np.int64],  # [K]
    real: NDArray[np.int64],  # [K], at least one of each
) -> float:
    """KL(generated || real) of the classes' shares, in nats, as Metz et al. (2017) report it.

    0 where all shares agree, ln K where one of K equal classes is all that is made. Chance alone gives about
    (K - 1) / 2N with N generated images.
    """
    q, p = fake / fake.sum(), real / real.sum()
    made = q > 0
    return float((q[made] * np.log(q[made] / p[made])).sum())


def _accuracy(classifier: Classifier, held_out: Side, classes: NDArray[np.int64]) -> Estimate:
    hits = classes[classifier.predict(small_images(held_out.images))] == held_out.labels
    return proportion_interval(int(hits.sum()), len(hits))
