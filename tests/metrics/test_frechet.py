import numpy as np
import oracle
import pytest
import torch
from feature_sets import Array, compare, constant, of_modes, random_features
from numpy.typing import NDArray

from ganloom.metrics import frechet
from ganloom.metrics.frechet import frechet_distance, from_features
from ganloom.metrics.moments import Moments


def gaussian(mean: Array, variances: Array, direction: Array) -> Moments:
    """Of a Gaussian whose axes are mirrored along a direction: equal directions, commuting covariances."""
    mirror = np.eye(len(mean)) - 2 * np.outer(direction, direction) / (direction @ direction)
    return Moments(1001, mean, 1000 * (mirror * variances) @ mirror)


@pytest.mark.slow
@pytest.mark.parametrize("width", [8, 2048])
def test_gaussians_with_a_known_distance_have_it(width: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.1, 4, width), rng.uniform(0.1, 4, width)
    m, n, direction = rng.normal(size=(3, width))
    known = np.square(m - n).sum() + np.square(np.sqrt(a) - np.sqrt(b)).sum()
    assert frechet_distance(gaussian(m, a, direction), gaussian(n, b, direction)) == pytest.approx(known, rel=1e-9)


def test_a_spectrum_of_six_decades_keeps_the_known_distance() -> None:
    a, direction = np.logspace(-6, 0, 200), np.random.default_rng(0).normal(size=200)
    one, other = gaussian(np.zeros(200), a, direction), gaussian(np.zeros(200), a * 1.21, direction)
    assert frechet_distance(one, other) == pytest.approx(0.01 * a.sum(), rel=1e-6)


def test_gaussians_that_do_not_commute_agree_with_the_plane_s_closed_form() -> None:
    # In two dimensions tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det AB))
    A, B = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([[1.0, -0.7], [-0.7, 3.0]])
    overlap = np.sqrt(np.trace(A @ B) + 2 * np.sqrt(np.linalg.det(A @ B)))
    distance = frechet_distance(Moments(2, np.zeros(2), A), Moments(2, np.zeros(2), B))
    assert distance == pytest.approx(np.trace(A + B) - 2 * overlap, rel=1e-12)


def eigen_form(x: Array, y: Array) -> float:
    return frechet_distance(Moments.of(x), Moments.of(y))


@pytest.mark.parametrize(("n", "m"), [(20, 30), (30, 20), (10, 90), (63, 64), (2, 2)])
def test_few_images_have_the_same_distance_in_both_forms(n: int, m: int) -> None:
    x, y = random_features(n, 64, seed=0), random_features(m, 64, seed=1, shift=0.3)
    assert n + m < 2 * 64
    assert from_features(x, y) == pytest.approx(eigen_form(x, y), rel=1e-6)


def test_features_that_are_constant_or_equal_do_not_matter() -> None:
    x, y = random_features(200, 12, seed=0), random_features(200, 12, seed=1, shift=0.5)
    dead = np.hstack([x, np.ones((200, 3), np.float32)]), np.hstack([y, np.ones((200, 3), np.float32)])
    assert from_features(*dead) == pytest.approx(from_features(x, y), rel=1e-9)
    twice = np.hstack([x, x]), np.hstack([y, y])
    assert from_features(*twice) == pytest.approx(2 * from_features(x, y), rel=1e-9)


@pytest.mark.parametrize("n", [20, 5000])
def test_the_distance_to_itself_is_zero(n: int) -> None:
    x = of_modes(n, 10, seed=0)
    assert 0 <= from_features(x, x) < 1e-9


def test_the_distance_is_symmetric() -> None:
    x, y = of_modes(400, 10, seed=0), of_modes(300, 3, seed=1)
    assert from_features(x, y) == pytest.approx(from_features(y, x), rel=1e-10)


def test_batches_and_processes_do_not_change_a_digit() -> None:
    x, y = of_modes(1000, 10, seed=0), of_modes(1000, 8, seed=1)
    distances = []
    for size, ranks in [(1000, 1), (1, 1), (7, 1), (64, 2), (100, 5), (13, 8)]:
        sets = []
        for features in (x, y):
            merged = Moments.empty(features.shape[1])
            for rank in range(ranks):
                moments, share = Moments.empty(features.shape[1]), features[rank::ranks]
                for start in range(0, len(share), size):
                    moments.add(share[start : start + size])
                merged.merge(moments)
            sets.append(merged)
        distances.append(frechet_distance(*sets))
    assert len({f"{distance:.6g}" for distance in distances}) == 1
    assert distances == pytest.approx([distances[0]] * len(distances), rel=1e-10)


@pytest.mark.parametrize(("count", "width"), [(500, 64), (300, 128)])
def test_the_distance_is_that_of_torch_fidelity(count: int, width: int) -> None:
    oracle.torch_fidelity()
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    x, y = random_features(count, width, seed=0), random_features(count, width, seed=1, shift=0.1)
    statistics = [fid_features_to_statistics(torch.from_numpy(features.astype(np.float64))) for features in (x, y)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert from_features(x, y) == pytest.approx(theirs, rel=1e-6)


def draw(count: int, width: int, shift: float, rng: np.random.Generator) -> NDArray[np.float64]:
    rows: NDArray[np.float64] = rng.normal(0, 1, (count, width)) * np.arange(1, width + 1) ** -0.5
    return rows * (1 + shift) + shift / width**0.5


@pytest.mark.parametrize(
    ("width", "count", "shift"),
    [(8, 200, 0.0), (8, 200, 0.4), (24, 60, 0.4), (48, 30, 0.0), (48, 30, 0.4), (48, 60, 0.0)],
)
def test_the_interval_is_as_wide_as_the_distance_varies_over_draws(width: int, count: int, shift: float) -> None:
    rng = np.random.default_rng(0)
    values, errors = [], []
    for _ in range(60):
        x, y = draw(count, width, 0.0, rng), draw(count, width, shift, rng)
        value, _, high = frechet.measure(compare(x, y))["fd"]
        assert high is not None
        values.append(value)
        errors.append((high - value) / 1.96)
    assert 0.6 < np.mean(errors) / np.std(values) < 2


@pytest.mark.parametrize("count", [10, 500])
def test_influences_are_what_a_little_more_weight_on_an_image_changes(count: int) -> None:
    x, y = of_modes(count, 10, seed=0).astype(np.float64), of_modes(600, 5, seed=1).astype(np.float64)
    for one, other, pulls in zip((x, y), (y, x), frechet.influences(x, y), strict=True):
        for image in range(3):
            weights = np.full(len(one), 1 / len(one))
            weights[image] += 1e-4
            weights /= weights.sum()
            mean = weights @ one
            heavier = Moments(len(one), mean, len(one) * ((one - mean).T * weights) @ (one - mean))
            change = frechet_distance(heavier, Moments.of(other)) - eigen_form(one, other)
            # Influences ignore that a covariance is over N - 1
            known = pytest.approx(pulls[image] - pulls.mean(), rel=1.1 / count + 0.01, abs=pulls.std() / count)
            assert change / 1e-4 == known


def test_faults_are_far_and_held_out_images_near() -> None:
    real = of_modes(1000, 10, seed=0)
    quiet = from_features(real, of_modes(1000, 10, seed=1))
    assert from_features(real, of_modes(1000, 1, seed=2)) > 50 * quiet
    assert from_features(real, constant(1000)) > 50 * quiet
    estimate = frechet.measure(compare(real, constant(1000)))["fd"]
    assert None not in estimate and np.isfinite(np.array(estimate, np.float64)).all()
