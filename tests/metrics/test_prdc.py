from collections.abc import Iterator

import numpy as np
import oracle
import pytest
import torch
from feature_sets import Array, compare, constant, of_modes, random_features

from ganloom.metrics import prdc
from ganloom.metrics.prdc import neighbourhoods


def plainly(real: Array, fake: Array, k: int) -> Iterator[float]:
    """The four means by their definitions, pair by pair."""

    def distances(a: Array, b: Array) -> Array:
        apart: Array = a[:, None].astype(np.float64) - b[None].astype(np.float64)
        return np.linalg.norm(apart, axis=2)

    real_ball, fake_ball = (np.sort(distances(x, x), axis=1)[:, k] for x in (real, fake))
    across = distances(fake, real)
    yield (across <= real_ball).any(axis=1).mean()
    yield (across <= fake_ball[:, None]).any(axis=0).mean()
    yield (across <= real_ball).sum(axis=1).mean() / k
    yield (across <= real_ball).any(axis=0).mean()


@pytest.mark.parametrize(("n", "m"), [(150, 90), (60, 200)])
def test_each_is_what_its_paper_defines(n: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prdc, "PAIRS", 1000)  # many blocks
    real, fake = random_features(n, 6, seed=0), random_features(m, 6, seed=1, shift=0.7)
    precision, recall, density, coverage = (values.mean() for values in neighbourhoods(real, fake))
    by_three, by_five = list(plainly(real, fake, 3)), list(plainly(real, fake, 5))
    assert [precision, recall, density, coverage] == pytest.approx([*by_three[:2], *by_five[2:]], rel=1e-12)
    assert 0.05 < recall < 0.95


def test_precision_and_recall_are_those_of_torch_fidelity() -> None:
    oracle.torch_fidelity()
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, fake = random_features(500, 64, seed=0), random_features(400, 64, seed=1, shift=0.15)
    theirs = prc_features_to_metric(
        torch.from_numpy(fake),
        torch.from_numpy(real),
        prc_neighborhood=3,
        prc_batch_size=1000,
        save_cpu_ram=False,
        verbose=False,
    )
    found = neighbourhoods(real, fake)
    assert found.precise.mean() == pytest.approx(theirs["precision"], abs=1 / 400)
    assert found.recalled.mean() == pytest.approx(theirs["recall"], abs=1 / 500)


def test_blocks_do_not_change_a_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = of_modes(300, 10, seed=0), of_modes(200, 7, seed=1)
    whole = neighbourhoods(real, fake)
    monkeypatch.setattr(prdc, "PAIRS", 300 * 17)
    for one, other in zip(whole, neighbourhoods(real, fake), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("far", [0.0, 1e8])
def test_images_on_a_ball_s_surface_lie_within_it(far: float) -> None:
    # On a line of whole steps every distance is tied; the copies lie exactly as far as the neighbours
    line = np.arange(60.0)[:, None] * np.ones(7) + far
    found = neighbourhoods(line, line)
    assert found.precise.all() and found.recalled.all() and found.covered.all()
    inner = found.density[10:-10]  # the balls of radius 3 steps hold 3 neighbours a side and the image
    assert np.all(inner == 7 / 5)


def test_copies_have_the_density_of_their_neighbours() -> None:
    real = of_modes(300, 10, seed=0)
    assert neighbourhoods(real, real).density.mean() == pytest.approx(6 / 5)


def test_faults_are_seen_and_held_out_images_are_not() -> None:
    real = of_modes(1000, 10, seed=0)
    quiet = prdc.measure(compare(real, of_modes(1000, 10, seed=1)))
    assert min(quiet["precision"].value, quiet["recall"].value, quiet["coverage"].value) > 0.75
    assert quiet["density"].value == pytest.approx(1, abs=0.1)
    one_mode = prdc.measure(compare(real, of_modes(1000, 1, seed=2)))
    assert one_mode["precision"].value > 0.75
    assert one_mode["recall"].value < 0.15 and one_mode["coverage"].value < 0.15
    same = prdc.measure(compare(real, constant(1000)))
    assert same["recall"].value < 0.01 and same["coverage"].value < 0.05
    noise = prdc.measure(compare(real, random_features(1000, real.shape[1], seed=3) * 2))
    assert noise["precision"].value < 0.05 and noise["density"].value < 0.05


def test_intervals_hold_their_value_and_stay_in_range() -> None:
    found = prdc.measure(compare(of_modes(100, 10, seed=0), of_modes(60, 1, seed=1)))
    for name, (value, low, high) in found.items():
        assert low is not None and high is not None
        assert 0 <= low <= value <= high
        assert name == "density" or high <= 1
