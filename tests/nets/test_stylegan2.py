"""StyleGAN2: its layers compared with the paper's formulas, its styles, and its scale at initialisation."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from variants import CLASSES, pair

from ganloom.core import rng
from ganloom.core.shapes import ImageShape
from ganloom.models.generate import generate_floats
from ganloom.nets.layers.equalized import EqualizedConv2d, EqualizedLinear
from ganloom.nets.stylegan2 import Discriminator, Generator, _StyledConv

SHAPE, LATENT = ImageShape(3, 32, 32), 16


@pytest.fixture(autouse=True)
def seeded() -> None:
    rng.seed(0, "stylegan2")


def small(**options: object) -> Generator:
    G = Generator(SHAPE, LATENT, 0, width=16, mapping=2, **options)
    for module in G.modules():
        if isinstance(module, _StyledConv):
            nn.init.constant_(module.strength, 0.3)
    return G


@pytest.mark.parametrize("doubles", [False, True])
def test_a_modulated_convolution_matches_the_paper_image_by_image(doubles: bool) -> None:
    """Karras et al. 2020, eqs. 1 to 3: per image, weights scaled by the style and then to unit norm."""
    layer = _StyledConv(6, 5, 4, (10, 14) if doubles else (5, 7), doubles=doubles).double().eval()
    x, w = torch.randn(3, 6, 5, 7, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    found = layer(x, w)
    tap = torch.tensor([1.0, 3, 3, 1]).double()
    kernel = torch.outer(tap, tap) / 16  # with gain 4, as 3 of 4 pixels are zero
    for image, style, result in zip(x, layer.style(w), found, strict=True):
        weight = layer.weight * style[None, :, None, None]  # the norm cancels the layer's scale
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8 * 54).sqrt()
        if doubles:
            spaced = torch.zeros(1, 6, 9, 13, dtype=torch.float64)
            spaced[:, :, ::2, ::2] = image
            wide = F.conv2d(F.pad(spaced, (2, 2, 2, 2)), weight.flip(2, 3))
            y = F.conv2d(F.pad(wide, (1, 1, 1, 1)), kernel.expand(5, 1, 4, 4), groups=5)
        else:
            y = F.conv2d(image[None], weight, padding=1)
        expected = F.leaky_relu(y[0] + layer.bias[:, None, None], 0.2) * math.sqrt(2)
        torch.testing.assert_close(result, expected)


def test_noise_is_drawn_in_training_and_fixed_otherwise() -> None:
    G, z = small(mixing=0.0), torch.randn(4, LATENT)
    assert not torch.equal(G(z, None), G(z, None))
    assert torch.equal(G.eval()(z, None), G(z, None))
    assert not torch.equal(G(z, None), small(mixing=0.0).eval()(z, None)), "another network has different noise"


def test_styles_are_mixed_in_training_at_the_given_rate() -> None:
    G, z = small(mixing=0.9), torch.randn(400, LATENT)
    w = G.styles(z, None)
    assert w.shape == (400, G.layers, 16) and G.layers == 8
    assert torch.equal(w[:, 0], G.mapping(z, None)), "the first layer keeps its style"
    changes = (w[:, 1:] != w[:, :1]).any(2)  # [N, 7]
    assert changes.any(1).float().mean().item() == pytest.approx(0.9, abs=0.05)
    assert torch.equal(changes, changes.cummax(1).values), "from some layer to the last"
    assert len({int(each.sum()) for each in changes}) == G.layers, "every layer can be the first"
    w = G.eval().styles(z, None)
    assert torch.equal(w, w[:, :1].expand_as(w))


def test_every_style_affects_the_image() -> None:
    G = small().eval()
    w = torch.randn(1, G.layers, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(G.synthesize(w).square().sum(), w)
    assert (gradient.abs().amax(2) > 0).all()


def test_truncation_moves_styles_towards_their_mean() -> None:
    G = small().eval()
    for index in range(4):
        with torch.no_grad():
            G.find_centre(torch.randn(500, LATENT), None, index)
    mean = G.mapping(torch.randn(4000, LATENT), None).mean(0)
    torch.testing.assert_close(G.centre, mean, atol=0.05, rtol=0)
    z = torch.randn(8, LATENT)
    none, half, whole = (G.truncated(z, None, psi) for psi in (0.0, 0.5, 1.0))
    assert torch.equal(none, none[:1].expand_as(none)), "all equal"
    torch.testing.assert_close(whole, G(z, None))
    spread = [images.std(0).mean() for images in (none, half, whole)]
    assert spread[0] < 1e-6 < spread[1] < spread[2]
    generated = torch.cat(list(generate_floats(G, LATENT, 4, 0, None, truncation=0.5)))
    torch.testing.assert_close(generated, G.truncated(rng.latents(0, 0, 4, LATENT), None, 0.5))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["G", "D"])
def test_every_layer_starts_with_the_scale_of_the_paper(network: str) -> None:
    """For inputs of unit mean square, equalized layers give unit variance, and activations keep the mean square.

    Averaged over four networks, because initial weights are random. Without the border, where zeros are padded. Layers
    that double get constant maps, because the filter removes finer detail.
    """
    squares: dict[str, list[float]] = {}
    for _ in range(4):
        net = Generator(SHAPE, 256, 3, width=256, mapping=4) if network == "G" else Discriminator(SHAPE, 3, width=256)
        for name, layer in net.named_modules():
            if isinstance(layer, EqualizedLinear):
                # The bias of a style layer is 1.
                out = layer(torch.randn(256, layer.weight.shape[1])) - layer.bias * layer.rate
            elif isinstance(layer, EqualizedConv2d):
                out = layer(torch.randn(8, layer.weight.shape[1], 16, 16))
            elif isinstance(layer, _StyledConv):
                height, width = (side // 2 if layer.doubles else side for side in layer.size)
                x = torch.randn(64, layer.weight.shape[1], *((1, 1) if layer.doubles else (height, width)))
                out = layer(x.expand(-1, -1, height, width), torch.randn(64, 256))
            else:
                continue
            inside = out[:, :, 2:-2, 2:-2] if out.ndim == 4 and out.shape[2] > 4 else out
            inside = inside[:, :, 1:-1, 1:-1] if inside.ndim == 4 and inside.shape[2] == 4 else inside
            squares.setdefault(name, []).append(inside.square().mean().item())
    means = {name: sum(values) / len(values) for name, values in squares.items()}
    assert len(means) == (4 + 7 * 2 + 4 if network == "G" else 1 + 3 * 3 + 3 + 8)
    assert means == pytest.approx(dict.fromkeys(means, 1.0), rel=0.1)


@pytest.mark.parametrize("family", ["stylegan2", "r3gan"])
def test_every_weight_is_in_a_stage(family: str) -> None:
    for network in pair(family, SHAPE, CLASSES):
        staged = {id(weight) for stage in network.stages() for weight in stage.parameters()}
        assert staged == {id(weight) for weight in network.parameters()}


def test_the_mapping_learns_a_hundred_times_more_slowly() -> None:
    """The same function; but a step of Adam, of the same size for every weight, changes it by a hundredth."""
    slow, fast = EqualizedLinear(8, 6, gain=1.0, rate=0.01), EqualizedLinear(8, 6, gain=1.0)
    with torch.no_grad():
        fast.weight.copy_(slow.weight * 0.01)
        slow.bias.fill_(50.0)
        fast.bias.fill_(0.5)
    x = torch.randn(4, 8)
    torch.testing.assert_close(slow(x), fast(x))
    with torch.no_grad():
        slow.weight.add_(1.0)
        fast.weight.add_(0.01)
    torch.testing.assert_close(slow(x), fast(x))
