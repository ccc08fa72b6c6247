import numpy as np
import pytest

from ganloom.metrics.contract import Estimate
from ganloom.metrics.intervals import influence_interval, mean_interval, pairs_interval, proportion_interval
from ganloom.metrics.pairs import random_pairs


def test_the_interval_of_a_mean_is_the_textbook_s() -> None:
    value, low, high = mean_interval(np.array([1.0, 2.0, 3.0, 4.0]))
    reach = 1.959964 * np.sqrt(5 / 3) / 2
    assert (value, low, high) == pytest.approx((2.5, 2.5 - reach, 2.5 + reach), rel=1e-6)


def test_one_value_has_no_interval() -> None:
    assert mean_interval(np.array([3.0])) == Estimate(3.0)


def test_values_of_float32_are_summed_in_float64() -> None:
    values = np.full(200_000, 0.1, np.float32)
    assert mean_interval(values).value == pytest.approx(float(np.float32(0.1)), rel=1e-13)


def test_variances_of_two_sets_add_up() -> None:
    a, b = np.arange(10.0), np.arange(20.0) * 3
    reach = 1.959964 * np.sqrt(a.var(ddof=1) / 10 + b.var(ddof=1) / 20)
    assert influence_interval(7.0, a, b) == pytest.approx((7.0, 7.0 - reach, 7.0 + reach), rel=1e-6)


def test_an_interval_ends_at_the_smallest_possible_value() -> None:
    assert influence_interval(0.1, np.arange(10.0), minimum=0.0).low == 0.0


def test_the_interval_of_a_share_is_wilson_s() -> None:
    # 15 of 148: Newcombe 1998, table I, method 3
    assert proportion_interval(15, 148) == pytest.approx((0.1014, 0.0624, 0.1605), abs=5e-5)
    assert proportion_interval(0, 20) == pytest.approx((0.0, 0.0, 0.1611), abs=5e-5)
    assert proportion_interval(1, 29) == pytest.approx((0.0345, 0.0061, 0.1718), abs=5e-5)


def test_shares_of_none_and_all_mirror_each_other() -> None:
    none, all_of = proportion_interval(0, 50), proportion_interval(50, 50)
    assert none.high is not None
    assert none.low == 0.0 and all_of.high == 1.0
    assert all_of.low == pytest.approx(1 - none.high, rel=1e-12)


def test_nineteen_of_twenty_intervals_of_a_mean_hold_it() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        _, low, high = mean_interval(rng.exponential(1.0, 200))
        assert low is not None and high is not None
        held += low <= 1.0 <= high
    assert 925 <= held <= 970


@pytest.mark.parametrize("count", [100, 5000])
def test_pairs_that_share_images_do_not_vary_by_themselves(count: int) -> None:
    """Two looks in shares .8 and .2, alike within and not across: the mean of pairs is .68."""
    rng, held, draws = np.random.default_rng(0), 0, 400
    for draw in range(draws):
        looks = rng.random(count) < 0.8
        one, other = random_pairs(count, 1000, draw)
        _, low, high = pairs_interval((looks[one] == looks[other]).astype(float), one, other)
        assert low is not None and high is not None
        held += low <= 0.68 <= high
    assert 0.9 * draws <= held <= 0.98 * draws
