"""Perceptual path length against closed forms, and its finite differences against exact derivatives."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from comparing import comparison, shapes, small_pixels
from torch import Tensor, nn

from ganloom.core.shapes import ImageShape
from ganloom.metrics.contract import Generator
from ganloom.metrics.ppl import EPSILON, measure, middle, slerp, squared_speeds
from ganloom.nets import dcgan

LATENT = 16


class Linear(nn.Module):
    """Pixels are latents, within [-1, 1]: 127.5 levels for one unit, times `scale`."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        images = (z * self.scale).view(-1, 1, 4, 4)
        return images if y is None else images * y.float()[:, None, None, None]


def pixels(images: Tensor) -> Tensor:
    return images.flatten(1)


def trained_looking(seed: int = 0) -> nn.Module:
    """A DCGAN whose layers neither vanish nor saturate."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        G = dcgan.Generator(ImageShape(3, 32, 32), LATENT, 0, width=8)
        G.train()
        for module in G.modules():
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0, 0.15)
        with torch.no_grad():
            for _ in range(30):  # BatchNorm's running statistics
                G(torch.randn(64, LATENT), None)
    return G.eval()


def test_slerp_of_orthogonal_unit_vectors_is_the_circle() -> None:
    a, b = torch.eye(3).double()[[0]], torch.eye(3).double()[[1]]
    t = torch.tensor([[0.3]]).double()
    assert torch.allclose(slerp(a, b, t), torch.cos(t * math.pi / 2) * a + torch.sin(t * math.pi / 2) * b)
    for where, end in ((0.0, a), (1.0, b)):
        assert torch.allclose(slerp(a, b, torch.full((1, 1), where).double()), end)
    assert torch.allclose(slerp(a, a, t), a, atol=1e-5)  # no way at all


def test_the_length_of_a_linear_generator_is_known() -> None:
    """Orthogonal latents of length r, at pi/2 a path, on images of scale s: speed 127.5 s r pi/2."""
    generator = Generator(Linear(0.1), 16, None)
    speeds = squared_speeds(generator, pixels, 400, seed=0, y=None)
    # z' = (b cos(t w) - a cos((1 - t) w)) w / sin w; for w = pi/2 and |a| = |b| = r its length is r pi/2
    expected = (127.5 * 0.1 * math.pi / 2) ** 2 * LATENT
    assert speeds.mean() == pytest.approx(expected, rel=0.1)
    assert squared_speeds(Generator(Linear(0.2), 16, None), pixels, 400, 0, None) == pytest.approx(4 * speeds, rel=0.02)


def test_float32_is_fine_enough_for_the_step() -> None:
    """Against float64, and there against a step a hundred times smaller."""
    G = trained_looking()
    single = squared_speeds(Generator(G, LATENT, None), small_pixels, 64, 0, None)
    generator = Generator(G.double(), LATENT, None)

    def features(images: Tensor) -> Tensor:
        assert images.dtype == torch.float64
        return F.adaptive_avg_pool2d(images, 8).flatten(1)

    double = squared_speeds(generator, features, 64, 0, None)
    exact = squared_speeds(generator, features, 64, 0, None, epsilon=EPSILON / 100)
    assert single == pytest.approx(double, rel=0.01)
    assert double.mean() == pytest.approx(exact.mean(), rel=0.005)  # single ones may meet a kink on the way


def test_a_constant_generator_has_no_length_and_an_abrupt_one_a_greater() -> None:
    images, _ = shapes(50)
    found = []
    for scale in (0.0, 0.05, 0.15):
        generator = Generator(Linear(scale), LATENT, None)
        found.append(measure(comparison(images, images, generator=generator, extract=pixels))["ppl"])
    constant, smooth, abrupt = found
    assert constant.value == 0
    assert smooth.low is not None and smooth.high is not None
    assert smooth.low < smooth.value < smooth.high
    assert abrupt.value == pytest.approx(9 * smooth.value, rel=0.01)


def test_what_is_saturated_does_not_move() -> None:
    assert squared_speeds(Generator(Linear(1e4), LATENT, None), pixels, 50, 0, None).max() < 1e12
    assert np.median(squared_speeds(Generator(Linear(1e4), LATENT, None), pixels, 50, 0, None)) == 0


def test_labels_stay_the_same_along_a_path_and_are_those_of_generated_images(monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = shapes(50)
    monkeypatch.setattr("ganloom.metrics.ppl.PATHS", 40)
    generator = Generator(Linear(0.1), LATENT, torch.tensor([1, 2]))
    plain = measure(comparison(images, images, generator=Generator(Linear(0.1), LATENT, None), extract=pixels))["ppl"]
    found = measure(comparison(images, images, generator=generator, extract=pixels))["ppl"]
    assert 1.5 * plain.value < found.value < 3.5 * plain.value  # a label that changed would cost 1 / epsilon^2


def test_the_seed_is_all_that_matters() -> None:
    G = trained_looking()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    G.train()
    generator = Generator(G, LATENT, None)
    first, other = (squared_speeds(generator, small_pixels, 40, seed, None) for seed in (0, 1))
    assert G.training and torch.equal(torch.get_rng_state(), before)
    assert not np.allclose(first, other)
    G.eval()
    torch.manual_seed(6)
    assert np.array_equal(first, squared_speeds(generator, small_pixels, 40, 0, None))
    assert not G.training


def test_noise_of_the_generator_s_own_is_the_same_at_both_ends() -> None:
    class Noisy(Linear):
        def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
            return super().forward(z, y) * torch.rand(len(z), 1, 4, 4)

    quiet, noisy = (squared_speeds(Generator(G, LATENT, None), pixels, 40, 0, None) for G in (Linear(0.1), Noisy(0.1)))
    assert (noisy < quiet).all()  # other noise at the other end would cost 1 / epsilon^2
    torch.manual_seed(1)
    assert np.array_equal(noisy, squared_speeds(Generator(Noisy(0.1), LATENT, None), pixels, 40, 0, None))


def test_the_outermost_hundredths_are_left_out() -> None:
    values = np.random.default_rng(0).permutation(1000).astype(float)
    kept = middle(values)
    assert (kept.min(), kept.max(), len(kept)) == (10, 989, 980)
    assert len(middle(np.zeros(50))) == 50


def test_the_generator_is_not_rounded_to_tf32() -> None:
    allowed = []

    class Watching(Linear):
        def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
            allowed.append(torch.backends.cudnn.allow_tf32)
            return super().forward(z, y)

    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):
        squared_speeds(Generator(Watching(1.0), LATENT, None), pixels, 4, 0, None)
        assert torch.backends.cudnn.allow_tf32
    assert allowed and not any(allowed)
