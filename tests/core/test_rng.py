import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganloom.core import rng


def test_a_key_is_equal_on_every_platform() -> None:
    assert rng.key(0, 64, 1, "latents") == 1548810477138164959
    assert rng.key(-1, "ü") == 1024395702418141685


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.integers() | st.text(max_size=5), max_size=4))
def test_a_key_has_63_bits(parts: list[int | str]) -> None:
    assert 0 <= rng.key(*parts) < 2**63


KEY = (0, 64, 1, "latents")


@pytest.mark.parametrize("place", range(len(KEY)))
def test_a_key_depends_on_each_of_its_parts(place: int) -> None:
    other = [*KEY[:place], KEY[place] * 2 + ("x" if place == 3 else 1), *KEY[place + 1 :]]  # type: ignore[operator]
    assert rng.key(*other) != rng.key(*KEY)


def test_a_key_depends_on_where_its_parts_end_and_on_their_order() -> None:
    assert len({rng.key(1, 23), rng.key(12, 3), rng.key(123), rng.key(23, 1), rng.key(1, 23, "")}) == 5


def test_what_is_drawn_depends_on_the_key_and_not_on_what_was_drawn_before() -> None:
    draws = []
    for before in (0, 3):
        torch.rand(before)
        rng.seed(1, 2, "noise")
        draws.append(torch.rand(4))
    rng.seed(1, 3, "noise")
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], torch.rand(4))


@settings(deadline=None)
@given(start=st.integers(0, 50), count=st.integers(0, 9), size=st.integers(1, 20))
def test_a_latent_does_not_depend_on_the_start_or_the_count(start: int, count: int, size: int) -> None:
    rows = rng.latents(7, start, count, size)
    assert rows.shape == (count, size)
    assert torch.equal(rows, rng.latents(7, 0, start + count, size)[start:])


def test_latents_depend_on_the_seed_and_on_their_number() -> None:
    rows = torch.cat([rng.latents(seed, 0, 20, 8) for seed in (0, 1)])
    assert len(torch.unique(rows, dim=0)) == 40


def test_latents_are_standard_normal_and_uncorrelated() -> None:
    rows = rng.latents(0, 0, 4000, 16)
    assert rows.mean(0).abs().max() < 0.06
    assert (torch.cov(rows.T) - torch.eye(16)).abs().max() < 0.1


def test_latents_leave_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    rng.latents(0, 0, 3, 4)
    assert torch.equal(torch.rand(3), expected)
