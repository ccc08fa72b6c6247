import numpy as np
import oracle
import pytest
import torch
from feature_sets import compare, constant, of_modes, random_features

from ganloom.metrics import kid
from ganloom.metrics.kid import kernel_distance


def test_two_images_per_set_have_the_distance_computed_by_hand() -> None:
    x, y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 1.0], [2.0, 0.0]])
    # k(a, b) = (a.b / 2 + 1)^3: within x 1, within y 8, across 3.375, 8, 8, 1
    assert kernel_distance(x, y, seed=0).value == pytest.approx(1 + 8 - 2 * (3.375 + 8 + 8 + 1) / 4, rel=1e-12)


@pytest.mark.parametrize(("n", "m", "subsets", "size"), [(300, 400, 20, 100), (200, 200, 10, 200), (400, 150, 5, 1000)])
def test_the_distance_is_that_of_torch_fidelity(n: int, m: int, subsets: int, size: int) -> None:
    oracle.torch_fidelity()
    from torch_fidelity.metric_kid import kid_features_to_metric

    x, y = random_features(n, 64, seed=0), random_features(m, 64, seed=1, shift=0.1)
    theirs = kid_features_to_metric(
        torch.from_numpy(x.astype(np.float64)),
        torch.from_numpy(y.astype(np.float64)),
        kid_subsets=subsets,
        kid_subset_size=min(size, n, m),
        rng_seed=3,
        verbose=False,
    )
    ours = kernel_distance(x, y, seed=3, subsets=subsets, size=size)
    assert ours.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)


def test_the_seed_chooses_the_subsets_and_nothing_else_does() -> None:
    x, y = of_modes(300, 10, seed=0), of_modes(300, 9, seed=1)
    np.random.seed(5)  # noqa: NPY002
    first = kernel_distance(x, y, seed=0, subsets=3, size=50)
    assert kernel_distance(x, y, seed=0, subsets=3, size=50).value == first.value
    assert kernel_distance(x, y, seed=1, subsets=3, size=50).value != first.value


def test_equal_distributions_have_a_distance_around_zero_at_any_size() -> None:
    for count in (20, 200):
        values = [
            kernel_distance(random_features(count, 8, seed), random_features(count, 8, 1000 + seed), 0).value
            for seed in range(60)
        ]
        assert abs(np.mean(values)) < 3 * np.std(values) / 60**0.5
        assert min(values) < 0


@pytest.mark.parametrize(("size", "subsets"), [(150, 1), (50, 15)])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_interval_is_as_wide_as_the_distance_varies_over_draws(size: int, subsets: int, shift: float) -> None:
    values, errors = [], []
    for seed in range(80):
        x, y = random_features(150, 12, seed), random_features(150, 12, 1000 + seed, shift)
        found = kernel_distance(x, y, seed, subsets, size)
        values.append(found.value)
        errors.append(np.sqrt(found.x.var() / 150 + found.y.var() / 150))
    assert 0.7 < np.mean(errors) / np.std(values) < 2.2


@pytest.mark.slow
def test_faults_are_far_and_held_out_images_cannot_be_distinguished() -> None:
    real = of_modes(1200, 10, seed=0)
    quiet = kid.measure(compare(real, of_modes(1200, 10, seed=1)))["kid"]
    assert quiet.low is not None and quiet.high is not None and quiet.low < 0 < quiet.high
    for fake in (of_modes(1200, 1, seed=2), constant(1200)):
        found = kid.measure(compare(real, fake))["kid"]
        assert found.low is not None and found.low > 10 * quiet.high
