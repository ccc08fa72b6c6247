"""Shared layers: sizes, spectral norm, equalized layers, labels, strided layers."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.core import rng
from ganloom.core.shapes import ImageShape
from ganloom.nets.layers.equalized import EqualizedConv2d, EqualizedLinear, MinibatchDeviation, pixel_norm
from ganloom.nets.layers.labels import LabelEmbedding, LabelHead, embedding_size
from ganloom.nets.layers.sizes import double, halve, map_sizes, width_at
from ganloom.nets.layers.spectral import SpectralNorm, advance, spectral_norm
from ganloom.nets.layers.strided import Down


@pytest.fixture(autouse=True)
def seeded() -> None:
    rng.seed(0, "layers")


# Sizes.


@pytest.mark.parametrize(("height", "width"), [(4, 4), (7, 12), (9, 5), (1, 2), (25, 15)])
@pytest.mark.parametrize("odd_height", [0, 1])
@pytest.mark.parametrize("odd_width", [0, 1])
def test_halving_a_doubled_map_gives_exactly_the_original(
    height: int, width: int, odd_height: int, odd_width: int
) -> None:
    x = torch.randn(2, 3, height, width)
    size = (2 * height - odd_height, 2 * width - odd_width)
    larger = double(x, size)
    assert larger.shape[2:] == size
    assert torch.equal(halve(larger), x)


def test_halving_takes_the_mean_of_four_pixels() -> None:
    x = torch.randn(2, 3, 5, 6)
    halved = halve(x)
    torch.testing.assert_close(halved[:, :, 1, 2], x[:, :, 2:4, 4:6].mean(dim=(2, 3)))
    torch.testing.assert_close(halved[:, :, 2, 0], x[:, :, 4, 0:2].mean(dim=2))  # the odd row is repeated


@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (33, 47), (24, 40), (100, 60), (1024, 1024)])
def test_each_map_is_half_of_the_next_and_the_last_is_the_image(height: int, width: int) -> None:
    sizes = map_sizes(ImageShape(3, height, width), "any")
    assert sizes[-1] == (height, width)
    for (h, w), larger in pairwise(sizes):
        assert (h, w) == (math.ceil(larger[0] / 2), math.ceil(larger[1] / 2))
    assert 0.7 < min(height, width) / 2 ** (len(sizes) - 1) / 4 < 1.42, "the nearest to 4 on a logarithmic scale"


def test_powers_of_two_start_at_4_pixels() -> None:
    for side in (8, 16, 32, 64, 128, 256, 512, 1024):
        assert map_sizes(ImageShape(3, side, side), "any")[0] == (4, 4)


def test_widths_are_full_up_to_32_pixels_and_halved_at_each_further_doubling() -> None:
    assert [width_at(level, 512) for level in range(8)] == [512, 512, 512, 512, 256, 128, 64, 32]
    assert [width_at(level, 512, full=4) for level in range(8)] == [512, 256, 128, 64, 32, 16, 8, 4]
    assert [width_at(level, 512, full=64) for level in range(8)] == [512, 512, 512, 512, 512, 256, 128, 64]
    assert [width_at(level, 2) for level in range(8)] == [2, 2, 2, 2, 1, 1, 1, 1]


# Spectral norm.


def largest_singular_value(weight: Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.detach().flatten(1), ord=2))


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (8, 4, 3, 3), (1, 12), (16, 16)])
def test_the_largest_singular_value_becomes_1(shape: tuple[int, ...]) -> None:
    weight = 3 * torch.randn(shape)
    norm = SpectralNorm(weight)
    for _ in range(300):
        norm.advance(weight)
    assert largest_singular_value(norm(weight)) == pytest.approx(1, abs=1e-3)


def test_it_is_near_1_from_the_start_and_after_the_weights_change() -> None:
    layer = nn.Conv2d(8, 16, 3)
    spectral_norm(layer)
    assert largest_singular_value(layer.weight) == pytest.approx(1, abs=0.1)
    with torch.no_grad():
        layer.parametrizations.weight.original.add_(0.3 * torch.randn(16, 8, 3, 3))
    before = largest_singular_value(layer.weight)
    for _ in range(200):
        advance(layer)
    assert largest_singular_value(layer.weight) == pytest.approx(1, abs=1e-3) != pytest.approx(before, abs=1e-3)


def test_only_advance_updates_u_and_v() -> None:
    layer = nn.Linear(6, 4)
    spectral_norm(layer)
    with torch.no_grad():
        layer.parametrizations.weight.original.add_(torch.randn(4, 6))
    vectors = {name: value.clone() for name, value in layer.named_buffers()}
    assert len(vectors) == 2
    x = torch.randn(3, 6)
    assert torch.equal(layer.train()(x), layer(x))
    assert all(torch.equal(value, vectors[name]) for name, value in layer.named_buffers())
    advance(layer)
    assert not any(torch.equal(value, vectors[name]) for name, value in layer.named_buffers())


def test_one_iteration_matches_the_paper() -> None:
    """Miyato et al. 2018, algorithm 1: v = W'u / |W'u|, then u = Wv / |Wv|."""
    weight = torch.randn(4, 6)
    norm = SpectralNorm(weight)
    u = norm.u.clone()
    norm.advance(weight)
    v = weight.T @ u / (weight.T @ u).norm()
    torch.testing.assert_close(norm.v, v)
    torch.testing.assert_close(norm.u, weight @ v / (weight @ v).norm())


def test_its_gradient_matches_the_paper() -> None:
    """Miyato et al. 2018, eqs. 9 to 12, u and v constants: (A - <A, W / sigma> u v') / sigma for the gradient A."""
    weight = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    norm = SpectralNorm(weight.detach().float()).double()
    A = torch.randn(4, 6, dtype=torch.float64)
    (norm(weight) * A).sum().backward()
    sigma = norm.u @ weight @ norm.v
    expected = (A - (A * weight / sigma).sum() * torch.outer(norm.u, norm.v)) / sigma
    torch.testing.assert_close(weight.grad, expected.detach())


def test_its_second_derivative_is_correct() -> None:
    weight = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    norm = SpectralNorm(weight.detach().float()).double()
    assert torch.autograd.gradcheck(norm, (weight,))
    assert torch.autograd.gradgradcheck(norm, (weight,))


def test_embeddings_are_normalised_only_if_asked() -> None:
    for embeddings in (True, False):
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 4), LabelEmbedding(5, 8, std=3.0), nn.BatchNorm2d(8))
        spectral_norm(network, embeddings=embeddings)
        normalised = [nn.utils.parametrize.is_parametrized(module) for module in network]
        assert normalised == [True, True, embeddings, False]
        assert (largest_singular_value(network[2].weight) < 1.1) == embeddings


# Equalized layers.


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
def test_equalized_layers_scale_the_variance_by_the_squared_gain(gain: float) -> None:
    """He et al. 2015."""
    dense = EqualizedLinear(256, 256, gain=gain)
    assert dense(torch.randn(256, 256)).var().item() == pytest.approx(gain**2, rel=0.1)
    conv = EqualizedConv2d(48, 64, 3, gain=gain)
    inside = conv(torch.randn(16, 48, 16, 16))[:, :, 1:-1, 1:-1]  # without the border, where zeros are padded
    assert inside.var().item() == pytest.approx(gain**2, rel=0.1)


def test_equalized_weights_are_standard_normal_and_keep_the_map_size() -> None:
    conv, one = EqualizedConv2d(64, 64, 3), EqualizedConv2d(4, 6, 1)
    assert conv.weight.std().item() == pytest.approx(1, abs=0.02) and not conv.bias.any()
    x = torch.randn(2, 4, 5, 7)
    assert one(x).shape == (2, 6, 5, 7)
    by_hand = torch.einsum("oi,nihw->nohw", one.weight[:, :, 0, 0], x) * math.sqrt(2 / 4)
    torch.testing.assert_close(one(x), by_hand)
    dense = EqualizedLinear(9, 3, gain=1.0)
    nn.init.normal_(dense.bias)
    torch.testing.assert_close(dense(x.new_ones(2, 9)), (dense.weight.sum(1) / 3 + dense.bias).expand(2, 3))


@pytest.mark.parametrize("shape", [(5, 16), (2, 8, 3, 4)])
def test_pixel_norm_gives_vectors_with_unit_root_mean_square(shape: tuple[int, ...]) -> None:
    x = 7 * torch.randn(shape)
    normalised = pixel_norm(x)
    rms = normalised.square().mean(dim=1).sqrt()
    torch.testing.assert_close(rms, torch.ones_like(rms))
    torch.testing.assert_close(normalised, x / x.square().mean(dim=1, keepdim=True).sqrt())  # keeps the direction
    assert pixel_norm(torch.zeros(shape)).isfinite().all()


@pytest.mark.parametrize(
    ("count", "groups"),
    [(8, [[0, 2, 4, 6], [1, 3, 5, 7]]), (6, [[0, 2, 4], [1, 3, 5]]), (4, [[0, 1, 2, 3]]), (1, [[0]]), (5, None)],
)
def test_minibatch_deviation_matches_a_plain_computation(count: int, groups: list[list[int]] | None) -> None:
    """Karras et al. 2018, section 3. Groups of 4, or of the largest smaller divisor of the batch: 3 for 6, 1 for 5."""
    x = torch.randn(count, 3, 4, 5)
    out = MinibatchDeviation()(x)
    assert out.shape == (count, 4, 4, 5)
    assert torch.equal(out[:, :3], x)
    for group in groups or [[index] for index in range(count)]:
        variance = sum((x[index] - sum(x[i] for i in group) / len(group)) ** 2 for index in group) / len(group)
        expected = (variance + 1e-8).sqrt().mean()
        for index in group:
            torch.testing.assert_close(out[index, 3], expected.expand(4, 5))


def test_minibatch_deviation_of_equal_images_has_a_finite_gradient() -> None:
    x = torch.ones(4, 2, 3, 3, requires_grad=True)
    MinibatchDeviation()(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


# Labels.


def test_overlapping_classes_sum_their_vectors() -> None:
    embed = LabelEmbedding(3, 4, std=1.0)
    torch.testing.assert_close(embed(torch.tensor([[1.0, 0.0, 1.0]]))[0], embed.weight[0] + embed.weight[2])
    assert torch.equal(embed(torch.tensor([2])), embed.weight[2:])


def test_projection_changes_the_logits_and_a_classifier_does_not() -> None:
    """Miyato & Koyama 2018, eq. 5: psi(h) + <embed(y), h>."""
    logits, h, y = torch.randn(4), torch.randn(4, 6), torch.tensor([0, 1, 2, 1])
    head = LabelHead(3, 6, "projection")
    assert head.embed is not None
    by_hand = torch.stack([logits[i] + head.embed.weight[y[i]] @ h[i] for i in range(4)])
    torch.testing.assert_close(head(logits, h, y).logits, by_hand)
    assert head(logits, h, y).class_logits is None
    classified = LabelHead(3, 6, "classifier")(logits, h, y)
    assert torch.equal(classified.logits, logits) and classified.class_logits.shape == (4, 3)
    for use in ("projection", "classifier"):
        unlabelled = LabelHead(0, 6, use)(logits, h, None)
        assert torch.equal(unlabelled.logits, logits) and unlabelled.class_logits is None


def test_the_label_embedding_has_a_quarter_of_the_size_of_z() -> None:
    assert [embedding_size(latent) for latent in (1, 4, 100, 512)] == [1, 1, 25, 128]


# Strided layers.


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 8), (5, 9)])
def test_a_down_layer_halves_any_map_rounding_up(height: int, width: int, norm: str) -> None:
    x = torch.randn(2, 3, height, width)
    assert Down(3, 4, norm)(x).shape == (2, 4, math.ceil(height / 2), math.ceil(width / 2))


def test_layer_norm_is_over_all_values_of_an_image() -> None:
    down = Down(3, 4, "layer")
    x = torch.randn(2, 3, 8, 8)
    maps = down.conv(x)
    centred = maps - maps.mean(dim=(1, 2, 3), keepdim=True)
    normalised = centred / centred.square().mean(dim=(1, 2, 3), keepdim=True).add(1e-5).sqrt()
    torch.testing.assert_close(down(x), F.leaky_relu(normalised, 0.2))
