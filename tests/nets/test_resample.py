"""The filter [1, 3, 3, 1], compared with scipy, and its effect on a map."""

import numpy as np
import pytest
import torch
from scipy.signal import upfirdn

from ganloom.core import rng
from ganloom.nets.layers.resample import filtered_double, filtered_halve

TAPS = np.array([1.0, 3.0, 3.0, 1.0])
SIZES = [(4, 4), (7, 12), (9, 5), (1, 2)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    rng.seed(0, "resample")


def along(axis: int, x: np.ndarray, up: int, down: int, taps: np.ndarray) -> np.ndarray:
    return np.apply_along_axis(lambda row: upfirdn(taps, row, up, down), axis, x)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_doubling_matches_scipy(height: int, width: int) -> None:
    """Zeros are inserted between the pixels; the filter's gain is 2 per axis because half of the pixels are zero."""
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    longer = np.pad(x.numpy(), [(0, 0), (0, 0), (1, 1), (1, 1)], mode="edge")
    expected = along(3, along(2, longer, 2, 1, TAPS / 4), 2, 1, TAPS / 4)[:, :, 3:, 3:][:, :, : 2 * height, : 2 * width]
    found = filtered_double(x, (2 * height, 2 * width))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    assert torch.equal(filtered_double(x, (2 * height - 1, 2 * width)), found[:, :, :-1])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_halving_matches_scipy(height: int, width: int) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    longer = np.pad(x.numpy(), [(0, 0), (0, 0), (1, 1 + height % 2), (1, 1 + width % 2)], mode="edge")
    expected = along(3, along(2, longer, 1, 1, TAPS / 8), 1, 1, TAPS / 8)[:, :, 3::2, 3::2]
    expected = expected[:, :, : -(-height // 2), : -(-width // 2)]
    np.testing.assert_allclose(filtered_halve(x).numpy(), expected, atol=1e-12)


def test_a_constant_map_is_kept_and_the_finest_stripes_are_removed() -> None:
    constant = torch.full((1, 2, 8, 8), 0.7)
    torch.testing.assert_close(filtered_double(constant, (16, 16)), torch.full((1, 2, 16, 16), 0.7))
    torch.testing.assert_close(filtered_halve(constant), torch.full((1, 2, 4, 4), 0.7))
    stripes = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)
    assert filtered_halve(stripes)[:, :, :, 1:-1].abs().max() < 1e-6


@pytest.mark.parametrize("function", [lambda x: filtered_double(x, (5, 7)), filtered_halve])
def test_second_derivatives_are_correct(function: object) -> None:
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (x,))
    assert torch.autograd.gradgradcheck(function, (x,))
