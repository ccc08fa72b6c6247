"""The classification accuracy score falls by what generated images lack, and by nothing where they lack nothing."""

import numpy as np
import pytest
from comparing import comparison, digits
from numpy.typing import NDArray
from torch import Tensor

from ganloom.metrics.classification import measure
from ganloom.metrics.classifier import Classifier, fit
from ganloom.metrics.contract import Estimate

pytestmark = pytest.mark.slow

IMAGES, LABELS = digits()
SMALL = IMAGES.reshape(-1, 16, 2, 16, 2, 1).mean(axis=(2, 4)).astype(np.uint8)  # a quarter of the pixels to learn from
REAL, FAKE, HELD_OUT = slice(0, 600), slice(600, 1200), slice(1200, None)


@pytest.fixture(autouse=True, scope="module")
def short() -> object:
    """So small images of digits are learned in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganloom.metrics.classifier.MAX_STEPS", 60)
        patch.setattr("ganloom.metrics.classifier.MIN_STEPS", 60)
        patch.setattr("ganloom.metrics.classification.fit", fit_once)
        yield


LEARNED: dict[tuple[bytes, bytes, int, int], Classifier] = {}


def fit_once(images: Tensor, labels: NDArray[np.int64], classes: int, seed: int) -> Classifier:
    """What learns the same again is the same: the tests share it."""
    key = images.numpy().tobytes(), labels.tobytes(), classes, seed
    if key not in LEARNED:
        LEARNED[key] = fit(images, labels, classes, seed)
    return LEARNED[key]


def scores(fake: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, Estimate]:
    return measure(
        comparison(
            SMALL[REAL],
            fake,
            labels=LABELS[REAL],
            fake_labels=labels,
            held_out=SMALL[HELD_OUT],
            held_out_labels=LABELS[HELD_OUT],
        )
    )


def test_real_images_in_place_of_generated_ones_teach_as_much() -> None:
    found = scores(SMALL[FAKE], LABELS[FAKE])
    assert found["cas_real"].value > 0.9
    assert found["cas"].value == pytest.approx(found["cas_real"].value, abs=0.05)
    low, high = found["cas"].low, found["cas"].high
    assert low is not None and high is not None and low < found["cas"].value < high


@pytest.mark.parametrize("fault", ["wrong labels", "half of the classes"])
def test_what_generated_images_do_not_teach_is_missed(fault: str) -> None:
    images, labels = SMALL[FAKE], LABELS[FAKE]
    if fault == "wrong labels":
        found = scores(images, (labels + 1) % 10)
        assert found["cas"].value < 0.05
    else:
        found = scores(images[labels < 5], labels[labels < 5])
        assert found["cas"].value == pytest.approx((LABELS[HELD_OUT] < 5).mean(), abs=0.05)
    assert found["cas"].high is not None and found["cas_real"].low is not None
    assert found["cas"].high < found["cas_real"].low


def test_both_teachers_show_equally_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    class Parrot:
        def predict(self, images: object) -> NDArray[np.int64]:
            return LABELS[HELD_OUT]

    def fit(images: NDArray[np.uint8], labels: NDArray[np.int64], classes: int, seed: int) -> Parrot:
        assert len(images) == len(labels)
        shown.append((len(images), classes))
        return Parrot()

    monkeypatch.setattr("ganloom.metrics.classification.fit", fit)
    for fake in (SMALL[:250], SMALL):
        assert scores(fake, LABELS[: len(fake)])["cas"].value == 1
    assert shown == [(250, 10), (250, 10), (600, 10), (600, 10)]


def test_images_without_a_label_teach_nothing_and_ask_nothing() -> None:
    """Some images of a source may be unlabelled: -1."""
    lacking = np.where(np.arange(600) < 100, -1, LABELS[FAKE])
    kept = scores(SMALL[FAKE][100:], LABELS[FAKE][100:])
    found = scores(SMALL[FAKE], lacking)
    assert found["cas"].value == pytest.approx(kept["cas"].value, abs=0.05) and found["cas"].value > 0.8
    held_out = np.where(np.arange(len(LABELS[HELD_OUT])) < 400, -1, LABELS[HELD_OUT])
    given = {"labels": LABELS[REAL], "fake_labels": LABELS[FAKE], "held_out": SMALL[HELD_OUT]}
    asked = measure(comparison(SMALL[REAL], SMALL[FAKE], held_out_labels=held_out, **given))
    assert asked["cas_real"].value > 0.8
