"""MS-SSIM against its definition, and as a measure of diversity."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from comparing import comparison, digits

from ganloom.metrics.ms_ssim import WEIGHTS, measure, most_scales, ms_ssim
from ganloom.metrics.ssim import similarity, ssim

C1 = (0.01 * 255) ** 2


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("side", "scales"), [(8, 1), (19, 1), (20, 2), (28, 2), (32, 2), (64, 3), (128, 4), (159, 4), (160, 5), (1024, 5)]
)
def test_scales_are_as_many_as_the_image_bears(side: int, scales: int) -> None:
    assert most_scales(side) == scales


def test_the_published_weights_sum_to_one() -> None:
    assert sum(WEIGHTS) == pytest.approx(1, abs=2e-4)


def test_ms_ssim_is_a_product_over_scales() -> None:
    a = noise(3, 2, 64, 48)
    b = (a.float() * 0.6 + noise(3, 2, 64, 48, seed=1) * 0.4).to(torch.uint8)
    weights = np.array(WEIGHTS[:3]) / sum(WEIGHTS[:3])
    x, y, expected = a.double(), b.double(), torch.ones(3, 2).double()
    for scale, weight in enumerate(weights):
        whole, structure = similarity(x, y)
        expected *= (whole if scale == 2 else structure) ** weight
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    assert torch.allclose(ms_ssim(a, b, scales=3), expected.mean(1), atol=1e-12)
    assert most_scales(48) == 3 and torch.equal(ms_ssim(a, b), ms_ssim(a, b, scales=3))
    assert torch.allclose(ms_ssim(b, a), ms_ssim(a, b), atol=1e-12)


def test_at_one_scale_it_is_ssim() -> None:
    a, b = noise(4, 3, 16, 16) // 4 + 90, noise(4, 3, 16, 16) // 3 + 90
    assert torch.allclose(ms_ssim(a, b), ssim(a, b), atol=1e-12)


def test_equal_images_have_one_and_opposed_ones_zero() -> None:
    a = noise(2, 1, 160, 160)
    assert torch.allclose(ms_ssim(a, a), torch.ones(2).double(), atol=1e-12)
    assert ms_ssim(a, 255 - a).tolist() == [0, 0]


@pytest.mark.parametrize(("a", "b"), [(0, 255), (100, 150)])
def test_constant_images_differ_in_luminance_at_the_coarsest_scale_alone(a: int, b: int) -> None:
    x, y = torch.full((1, 1, 170, 161), a), torch.full((1, 1, 170, 161), b)
    luminance = (2 * a * b + C1) / (a * a + b * b + C1)
    weight = WEIGHTS[4] / sum(WEIGHTS)
    assert ms_ssim(x, y).item() == pytest.approx(luminance**weight, abs=1e-9)


def test_too_little_variety_is_more_alike_than_real_images_and_held_out_ones_are_not() -> None:
    images, labels = digits()
    real, new = images[:500], images[500:]
    one_mode = new[labels[500:] == 3]
    constant = np.repeat(new[:1], 200, axis=0)
    good, collapsed, frozen = (measure(comparison(real, fake)) for fake in (new, one_mode, constant))
    assert good["ms_ssim"].value == pytest.approx(good["ms_ssim_real"].value, abs=0.02)
    assert collapsed["ms_ssim"].low is not None and good["ms_ssim_real"].high is not None
    assert collapsed["ms_ssim"].low > good["ms_ssim_real"].high + 0.02
    assert frozen["ms_ssim"].value == pytest.approx(1)
    assert good["ms_ssim_real"] == collapsed["ms_ssim_real"]  # the real images are the same, and the seed


def test_the_seed_chooses_the_pairs() -> None:
    images, _ = digits()
    first, again, other = (measure(comparison(images[:300], images[300:600], seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
