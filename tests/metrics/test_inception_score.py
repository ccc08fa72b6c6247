import numpy as np
import oracle
import pytest
import torch
from feature_sets import compare
from numpy.typing import NDArray

from ganloom.metrics import inception_score as module
from ganloom.metrics.inception_score import inception_score


def logits(count: int, classes: int, seed: int, sure: float = 5.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    found = rng.normal(0, 1, (count, classes))
    found[np.arange(count), rng.integers(classes, size=count)] += sure * rng.random(count)
    return found.astype(np.float32)


@pytest.mark.parametrize("count", [500, 1234])
@pytest.mark.parametrize("scale", [1, 300])
def test_the_score_is_that_of_torch_fidelity(count: int, scale: float) -> None:
    oracle.torch_fidelity()
    from torch_fidelity.metric_isc import isc_features_to_metric

    given = logits(count, 30, seed=0) * np.float32(scale)
    theirs = isc_features_to_metric(torch.from_numpy(given), splits=10, shuffle=True, rng_seed=2020)
    assert inception_score(given, 2020).value == pytest.approx(theirs["inception_score_mean"], rel=1e-9)


def test_a_classifier_that_is_sure_counts_the_classes() -> None:
    given = np.tile(np.eye(10) * 1000, (60, 1))[np.random.default_rng(0).permutation(600)]
    whole = inception_score(given, seed=0, splits=1)
    assert whole.value == pytest.approx(10, rel=1e-12)
    assert np.abs(whole.influences).max() < 1e-9


def test_equal_images_score_one() -> None:
    value, low, high = module.measure(compare(np.zeros((500, 2)), np.tile(logits(1, 10, seed=0), (500, 1))))["is"]
    assert (value, low, high) == pytest.approx((1.0, 1.0, 1.0), abs=1e-9)


def test_logits_of_any_size_and_offset_give_a_number() -> None:
    given = logits(500, 10, seed=0)
    assert inception_score(given + np.float32(1024), 0).value == pytest.approx(
        inception_score(given, 0).value, rel=1e-3
    )
    assert 1 <= inception_score(given * np.float32(1e30), 0).value <= 10


def test_the_interval_is_as_wide_as_the_score_varies_over_draws() -> None:
    values, errors = [], []
    for seed in range(80):
        found = inception_score(logits(500, 10, seed), seed)
        values.append(found.value)
        errors.append(np.std(found.influences) / 500**0.5)
    assert 0.75 < np.mean(errors) / np.std(values) < 1.35
