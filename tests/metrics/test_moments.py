import numpy as np
import pytest
from feature_sets import compare, of_modes, random_features
from hypothesis import given, settings
from hypothesis import strategies as st

from ganloom.core.errors import DataError
from ganloom.metrics import frechet, inception_score, kid, ndb, prdc, vendi
from ganloom.metrics.moments import BLOCK, Moments, checked

FEATURES = (random_features(300, 9, seed=0) * np.logspace(-3, 3, 9) + 1000).astype(np.float32)


def equal(a: Moments, b: Moments) -> bool:
    """To 1e-10 of each feature's own scale; the features are up to 1e6 times their spread away from zero."""
    scale = np.sqrt(np.outer(b.scatter.diagonal(), b.scatter.diagonal()))
    return (
        a.count == b.count
        and np.allclose(a.mean, b.mean, rtol=1e-12, atol=0)
        and bool(np.all(np.abs(a.scatter - b.scatter) < 1e-10 * scale))
    )


def test_moments_are_those_of_numpy() -> None:
    moments = Moments.of(FEATURES)
    assert moments.count == 300
    assert np.allclose(moments.mean, FEATURES.mean(axis=0, dtype=np.float64), rtol=1e-12)
    expected = np.cov(FEATURES.astype(np.float64), rowvar=False)
    scale = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
    assert np.all(np.abs(moments.covariance - expected) < 1e-10 * scale)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 300), max_size=8))
def test_moments_do_not_depend_on_the_batches(cuts: list[int]) -> None:
    moments = Moments.empty(9)
    for batch in np.split(FEATURES, sorted(cuts)):
        moments.add(batch)
    assert equal(moments, Moments.of(FEATURES))


@pytest.mark.parametrize("ranks", [1, 2, 3, 8, 300])
def test_moments_do_not_depend_on_the_number_of_processes(ranks: int) -> None:
    merged = Moments.empty(9)
    for rank in range(ranks):
        merged.merge(Moments.of(FEATURES[rank::ranks]))
    merged.merge(Moments.empty(9))
    assert equal(merged, Moments.of(FEATURES))


def test_more_rows_than_a_block_are_all_counted() -> None:
    features = random_features(2 * BLOCK + 5, 3, seed=1)
    moments = Moments.of(features)
    assert moments.count == len(features)
    assert np.allclose(moments.covariance, np.cov(features.astype(np.float64), rowvar=False), rtol=1e-10)


def test_merging_leaves_the_other_as_it_was() -> None:
    one, other = Moments.of(FEATURES[:100]), Moments.of(FEATURES[100:])
    one.merge(other)
    assert equal(other, Moments.of(FEATURES[100:]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_counted_and_refused(bad: float) -> None:
    features = FEATURES.copy()
    features[7, 3] = features[9] = bad
    with pytest.raises(DataError, match=r"2 of 300 images is not finite \(image 7 .*earlier checkpoint"):
        checked(features)
    with pytest.raises(DataError, match="not finite"):
        Moments.of(features)


@pytest.mark.parametrize("metric", [frechet, kid, inception_score, prdc, vendi, ndb])
@pytest.mark.parametrize("count", [510, 20])
def test_no_metric_gives_a_number_for_features_that_are_not_finite(metric: object, count: int) -> None:
    good, bad = of_modes(count, 10, seed=0), of_modes(count, 10, seed=1)
    bad[3, 5] = np.nan
    with pytest.raises(DataError, match="not finite"):
        metric.measure(compare(good, bad))  # type: ignore[attr-defined]
