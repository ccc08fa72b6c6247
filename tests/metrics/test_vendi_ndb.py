import numpy as np
import pytest
from feature_sets import Array, compare, constant, of_modes, random_features

from ganloom.metrics import ndb, vendi
from ganloom.metrics.contract import Estimate
from ganloom.metrics.ndb import BINS, Bins, centres_of, different, divergence, kmeans, sort_into_bins
from ganloom.metrics.vendi import whitening


def test_images_at_right_angles_count_each_and_equal_ones_count_as_one() -> None:
    assert vendi.vendi(np.eye(12)).value == pytest.approx(12, rel=1e-12)
    assert vendi.vendi(np.repeat(np.eye(12), 5, axis=0)).value == pytest.approx(12, rel=1e-12)
    assert vendi.vendi(np.ones((20, 4))).value == pytest.approx(1, rel=1e-12)
    assert vendi.vendi(np.zeros((20, 4))).value == pytest.approx(1, rel=1e-12)


def test_two_kinds_in_unequal_numbers_count_by_their_entropy() -> None:
    images = np.repeat(np.eye(2), [30, 10], axis=0)
    assert vendi.vendi(images).value == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)), rel=1e-12)


@pytest.mark.parametrize("width", [39, 40, 41, 90])
def test_the_score_is_that_of_the_kernel_whichever_side_is_longer(width: int) -> None:
    x = random_features(40, width, seed=0).astype(np.float64)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    w = np.linalg.eigvalsh(unit @ unit.T / 40)
    w = w[w > 1e-12]
    assert vendi.vendi(x).value == pytest.approx(np.exp(-(w * np.log(w)).sum()), rel=1e-9)


@pytest.mark.parametrize("width", [6, 90])
def test_the_vendi_interval_is_as_wide_as_the_score_varies_over_draws(width: int) -> None:
    scale = np.arange(1, width + 1) ** -0.7
    draws = [vendi.vendi(random_features(60, width, seed) * scale) for seed in range(80)]
    errors = [np.std(found.influences) / 60**0.5 for found in draws]
    assert 0.7 < np.mean(errors) / np.std([found.value for found in draws]) < 1.5


def test_whitened_images_are_nearly_uncorrelated() -> None:
    real = of_modes(1000, 10, seed=0)
    mean, W = whitening(real)
    white = (real - mean) @ W
    covariance = np.cov(white, rowvar=False)
    assert np.abs(white.mean(axis=0)).max() < 1e-9
    assert np.abs(covariance - np.diag(covariance.diagonal())).max() < 1e-9
    assert covariance.diagonal().min() > 0 and covariance.diagonal().max() < 1


def test_equal_real_images_have_a_score_of_one() -> None:
    found = vendi.measure(compare(np.ones((60, 4)), np.ones((60, 4))))
    assert found["vendi"].value == found["vendi_real"].value == pytest.approx(1)


def test_vendi_sees_faults_and_is_quiet_on_held_out_images() -> None:
    def ratio(fake: Array) -> float:
        found = vendi.measure(compare(of_modes(1000, 10, seed=0), fake))
        return found["vendi"].value / found["vendi_real"].value

    assert ratio(of_modes(1000, 10, seed=1)) == pytest.approx(1, abs=0.05)
    assert ratio(of_modes(1000, 1, seed=2)) < 0.75
    assert ratio(np.repeat(of_modes(10, 10, seed=3), 100, axis=0)) < 0.75
    assert ratio(constant(1000)) < 0.15


def test_bins_with_known_counts_differ_by_the_textbook_s_test() -> None:
    # 30 of 100 against 18 of 100: z = 1.99; 30 against 19: z = 1.81
    assert different(Bins(np.array([30, 70]), np.array([18, 82]))).tolist() == [True, True]
    assert different(Bins(np.array([30, 70]), np.array([19, 81]))).tolist() == [False, False]
    assert different(Bins(np.array([40]), np.array([50]))).tolist() == [False]


def test_divergence_is_zero_for_equal_shares_and_ln_2_for_disjoint_ones() -> None:
    assert divergence(Bins(np.array([10, 30]), np.array([20, 60]))) == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    disjoint = divergence(Bins(np.array([10, 30, 0]), np.array([0, 0, 50])))
    assert disjoint.value == pytest.approx(np.log(2))


def test_divergence_is_that_of_its_definition() -> None:
    p, q = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.75, 0.0])
    middle = (p + q) / 2
    kl = [(a[a > 0] * np.log(a[a > 0] / middle[a > 0])).sum() for a in (p, q)]
    found = divergence(Bins(np.array([20, 10, 10]), np.array([25, 75, 0])))
    assert found.value == pytest.approx(sum(kl) / 2, rel=1e-12)


def test_kmeans_finds_clusters_that_lie_apart() -> None:
    truth = np.random.default_rng(0).normal(0, 100, (8, 5))
    rows = np.repeat(truth, 30, axis=0) + random_features(240, 5, seed=1)
    for seed in range(5):
        found = kmeans(rows, 8, seed)
        nearest = np.linalg.norm(found[:, None] - truth[None], axis=2).min(axis=1)
        assert nearest.max() < 1


def test_kmeans_repeats_itself_and_makes_do_with_few_different_rows() -> None:
    rows = of_modes(500, 10, seed=0).astype(np.float64)
    assert np.array_equal(kmeans(rows, 20, seed=1), kmeans(rows, 20, seed=1))
    assert not np.array_equal(kmeans(rows, 20, seed=1), kmeans(rows, 20, seed=2))
    assert np.isfinite(kmeans(np.repeat(rows[:3], 50, axis=0), 20, seed=1)).all()
    assert len(kmeans(np.zeros((50, 3)), 20, seed=1)) == 1


def test_all_images_fall_into_bins_of_which_there_is_one_for_ten_real_images() -> None:
    real = of_modes(300, 10, seed=0)
    bins = sort_into_bins(real, of_modes(170, 10, seed=1), centres_of(real, BINS, seed=0))
    assert bins.real.sum() == 300 and bins.fake.sum() == 170
    assert 25 <= len(bins.real) <= 30


def test_bins_without_real_images_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndb, "kmeans", lambda x, count, seed: np.vstack([x[:1] + 1e6, x[:3]]))
    real = of_modes(300, 10, seed=0)
    bins = sort_into_bins(real, of_modes(170, 10, seed=1), centres_of(real, BINS, seed=0))
    assert len(bins.real) == len(bins.fake) == 3 and bins.real.min() > 0


def test_ndb_sees_faults_and_is_quiet_on_held_out_images() -> None:
    def measured(fake: Array) -> dict[str, Estimate]:
        return ndb.measure(compare(of_modes(1000, 10, seed=0), fake))

    quiet = measured(of_modes(1000, 10, seed=1))
    assert quiet["ndb"].value < 0.12 and quiet["ndb_js"].value < 0.05
    one_mode = measured(of_modes(1000, 1, seed=2))
    assert one_mode["ndb"].value > 0.6 and one_mode["ndb_js"].value > 0.4
    same = measured(constant(1000))
    assert same["ndb"].value > 0.6 and same["ndb_js"].value > 0.6
