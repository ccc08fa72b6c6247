"""The residual networks: each part compared with a plain computation."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganloom import nets
from ganloom.core import rng
from ganloom.core.errors import ConfigError
from ganloom.core.shapes import ImageShape
from ganloom.nets.layers.labels import LabelEmbedding
from ganloom.nets.layers.sizes import double, halve
from ganloom.nets.layers.spectral import SpectralNorm, advance
from ganloom.nets.resnet import _Attention, _Block, _FirstDownBlock, _Norm, _UpBlock

RGB = ImageShape(3, 32, 32)


@pytest.fixture(autouse=True)
def seeded() -> None:
    rng.seed(0, "resnet")


def make_g(latent: int = 12, classes: int = 0, shape: ImageShape = RGB, **options: Any) -> nn.Module:
    return nets.build_generator("resnet", shape, latent, classes, {"width": 8, **options})


def make_d(classes: int = 0, shape: ImageShape = RGB, **options: Any) -> nn.Module:
    return nets.build_discriminator("resnet", shape, classes, {"width": 8, **options})


def randomise(module: nn.Module) -> nn.Module:
    """Replace the initial weights, above all the zero biases."""
    for weight in module.parameters():
        nn.init.normal_(weight, 0, 0.5)
    return module


# Residual blocks.


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 9)])
def test_a_block_of_g_equals_sngans_with_the_1x1_after_the_doubling(size: tuple[int, int]) -> None:
    block = randomise(_UpBlock(4, 6, size, 0, 0))
    x = torch.randn(3, 4, math.ceil(size[0] / 2), math.ceil(size[1] / 2))
    h = block.conv1(double(F.relu(block.norm1.norm(x)), size))
    h = block.conv2(F.relu(block.norm2.norm(h)))
    torch.testing.assert_close(block(x, None, x.new_empty(3, 0)), h + block.skip(double(x, size)))


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 9)])
def test_blocks_of_d_equal_sngans_with_the_1x1_before_the_halving(size: tuple[int, int]) -> None:
    x = torch.randn(3, 4, *size)
    block = randomise(_Block(4, 6, down=True))
    h = block.conv2(F.relu(block.conv1(F.relu(x))))
    torch.testing.assert_close(block(x), halve(h + block.skip(x)), rtol=1e-4, atol=1e-5)
    first = randomise(_FirstDownBlock(4, 6))
    h = first.conv2(F.relu(first.conv1(x)))  # no ReLU on the image itself
    torch.testing.assert_close(first(x), halve(h + first.skip(x)), rtol=1e-4, atol=1e-5)


def test_a_block_that_keeps_the_shape_has_no_convolution_in_its_skip() -> None:
    block, x = randomise(_Block(4, 4, down=False)), torch.randn(3, 4, 6, 6)
    assert block.skip is None
    torch.testing.assert_close(block(x), x + block.conv2(F.relu(block.conv1(F.relu(x)))))
    assert _Block(4, 6, down=False).skip is not None


def test_blocks_do_not_modify_their_input() -> None:
    x = torch.randn(3, 4, 8, 8)
    before = x.clone()
    for block in (_Block(4, 4, down=True), _FirstDownBlock(4, 4)):
        block(x)
    _UpBlock(4, 4, (16, 16), 0, 0)(x, None, x.new_empty(3, 0))
    assert torch.equal(x, before)


# Conditional BatchNorm.


def test_each_class_has_its_own_gains_and_biases() -> None:
    """Dumoulin et al. 2017: normalise, then (1 + gain) x + bias with the gain and bias of the class."""
    norm, x, y = _Norm(4, 3, 0), torch.randn(5, 4, 6, 6), torch.tensor([2, 0, 1, 1, 2])
    assert norm.of_class is not None and norm.norm.weight is None
    nn.init.normal_(norm.of_class.weight)
    normalised = (x - x.mean(dim=(0, 2, 3), keepdim=True)) / (
        x.var(dim=(0, 2, 3), correction=0, keepdim=True) + 1e-5
    ).sqrt()
    out = norm(x, y, x.new_empty(5, 0))
    for index, label in enumerate(y):
        gain, bias = norm.of_class.weight[label, :4, None, None], norm.of_class.weight[label, 4:, None, None]
        torch.testing.assert_close(out[index], (1 + gain) * normalised[index] + bias)


def test_gains_and_biases_can_depend_on_a_vector() -> None:
    norm, x, vector = _Norm(4, 0, 3), torch.randn(5, 4, 6, 6), torch.randn(5, 3)
    assert norm.of_vector is not None and norm.norm.weight is None
    gain, bias = (norm.of_vector.weight @ vector.T).T[:, :, None, None].split(4, dim=1)
    torch.testing.assert_close(norm(x, None, vector), (1 + gain) * F.batch_norm(x, None, None, training=True) + bias)


def test_without_labels_it_is_ordinary_batchnorm() -> None:
    norm, x = _Norm(4, 0, 0), torch.randn(5, 4, 6, 6)
    assert torch.equal(norm(x, None, x.new_empty(5, 0)), nn.BatchNorm2d(4)(x))


def test_the_shared_embedding_has_one_vector_per_class_for_all_blocks() -> None:
    G = make_g(classes=3, shared_embedding=6)
    embeddings = [name for name, module in G.named_modules() if isinstance(module, LabelEmbedding)]
    assert embeddings == ["embed"] and G.embed.weight.shape == (3, 6)
    assert all(block.norm1.of_vector.in_features == 6 == block.norm2.of_vector.in_features for block in G.blocks)
    assert make_g(shared_embedding=6).embed is None  # without labels there is nothing to share


# Hierarchical latents.


@pytest.mark.parametrize(
    ("latent", "side"), [(4, 32), (5, 32), (12, 32), (80, 32), (5, 64), (12, 64), (120, 64), (8, 512)]
)
def test_parts_of_z_add_up_to_z_and_are_equal_except_the_first(latent: int, side: int) -> None:
    levels = round(math.log2(side / 4))
    G = make_g(latent, shape=ImageShape(3, side, side), hierarchical=True)
    assert len(G.parts) == 1 + len(G.blocks) == 1 + levels and sum(G.parts) == latent
    assert set(G.parts[1:]) == {latent // (1 + levels)} and 0 < G.parts[1] <= G.parts[0]


def test_biggans_z_of_80_has_four_parts_of_20() -> None:
    assert make_g(80, hierarchical=True).parts == [20, 20, 20, 20]


@pytest.mark.parametrize("classes", [0, 3])
def test_a_part_of_z_affects_its_block_and_those_after_it_only(classes: int) -> None:
    G = make_g(classes=classes, hierarchical=True, shared_embedding=6).eval()
    y = torch.tensor([0, 2]) if classes else None
    seen: list[Tensor] = []
    for stage in [G.first, *G.blocks]:
        stage.register_forward_hook(lambda module, given, out: seen.append(out))
    z = torch.randn(2, 12)
    G(z, y)
    before = seen.copy()
    for changed, (start, part) in enumerate(zip([0, 3, 6, 9], G.parts, strict=True)):
        seen.clear()
        other = z.clone()
        other[:, start : start + part] += 1
        G(other, y)
        assert [torch.equal(a, b) for a, b in zip(before, seen, strict=True)] == [index < changed for index in range(4)]


def test_impossible_hierarchical_latents_are_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"net\.g\.shared_embedding"):
        make_g(classes=3, hierarchical=True)
    with pytest.raises(ConfigError, match=r"3 blocks.*--latent"):
        make_g(3, hierarchical=True)


# Attention.


def attention_by_hand(layer: _Attention, x: Tensor) -> Tensor:
    """Zhang et al. 2019, eqs. 1 to 3, pixel by pixel; keys and values are the maximum of each 2x2."""

    def pixels(conv: nn.Conv2d, largest: bool) -> Tensor:  # [N, pixels, channels]
        maps = torch.einsum("oi,nihw->nohw", conv.weight[:, :, 0, 0], x)
        if largest:
            maps = torch.stack(
                [torch.stack([maps[:, :, i : i + 2, j : j + 2].amax((2, 3)) for j in range(0, x.shape[3], 2)], dim=2)
                 for i in range(0, x.shape[2], 2)], dim=2,
            )  # fmt: skip
        return maps.flatten(2).transpose(1, 2)

    queries, keys, values = pixels(layer.query, False), pixels(layer.key, True), pixels(layer.value, True)
    out = x.clone()
    for n in range(len(x)):
        for index in range(x.shape[2] * x.shape[3]):
            similarity = torch.stack([queries[n, index] @ key for key in keys[n]]).exp()
            attended = sum(
                weight * value for weight, value in zip(similarity / similarity.sum(), values[n], strict=True)
            )
            out[n, :, index // x.shape[3], index % x.shape[3]] += layer.gain * (layer.out.weight[:, :, 0, 0] @ attended)
    return out


@pytest.mark.parametrize("size", [(4, 4), (5, 3)])
@pytest.mark.parametrize("channels", [16, 5])
@torch.no_grad()
def test_attention_matches_a_computation_pixel_by_pixel(channels: int, size: tuple[int, int]) -> None:
    layer = _Attention(channels)
    x = torch.randn(2, channels, *size)
    assert torch.equal(layer(x), x), "it has no effect at the start"
    nn.init.constant_(layer.gain, 0.7)
    torch.testing.assert_close(layer(x), attention_by_hand(layer, x))
    assert (layer(x) - x).abs().max() > 0.01


@pytest.mark.parametrize(
    ("side", "asked", "of_g", "of_d"), [(32, 16, 16, 16), (64, 32, 32, 32), (64, 1, 8, 8), (32, 99, 32, 16)]
)
def test_attention_is_at_the_map_nearest_to_the_requested_size(side: int, asked: int, of_g: int, of_d: int) -> None:
    """D's maps are those after its halvings, so the largest is half as large as the image."""
    shape = ImageShape(3, side, side)
    for network, given, expected in (
        (make_g(shape=shape, attention=asked), torch.randn(2, 12), of_g),
        (make_d(shape=shape, attention=asked), torch.randn(2, 3, side, side), of_d),
    ):
        attended: list[int] = []
        network.attention.register_forward_hook(lambda module, x, out, at=attended: at.append(x[0].shape[-1]))
        network(given, None)
        assert attended == [expected]


# Weights.


def test_with_spectral_norm_every_layer_of_d_is_normalised_and_otherwise_none() -> None:
    D = make_d(classes=5, attention=16)
    for _ in range(200):
        advance(D)
    layers = [module for module in D.modules() if isinstance(module, nn.Conv2d | nn.Linear | LabelEmbedding)]
    assert len(layers) == 3 + 3 + 2 * 2 + 4 + 1 + 1  # first, down, two plain, attention, head, embedding
    for layer in layers:
        assert isinstance(layer.parametrizations.weight[0], SpectralNorm)
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, abs=1e-3)
    for plain in (make_d(classes=5, spectral=False), make_g(classes=5)):
        assert not any(parametrize.is_parametrized(module) for module in plain.modules())


@pytest.mark.parametrize("options", [{}, {"shared_embedding": 6, "hierarchical": True}])
def test_spectral_norm_in_g_leaves_out_the_class_embeddings(options: dict[str, Any]) -> None:
    """As in BigGAN's code: with a norm of at most 1 they could hardly distinguish classes."""
    G = make_g(classes=5, spectral=True, **options)
    for name, module in G.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert parametrize.is_parametrized(module, "weight"), name
        if isinstance(module, LabelEmbedding):
            assert not parametrize.is_parametrized(module), name


def initial_weights(network: nn.Module) -> dict[str, Tensor]:
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    return {
        name: layer.parametrizations.weight.original if parametrize.is_parametrized(layer) else layer.weight
        for name, layer in layers.items()
    }


@pytest.mark.parametrize("spectral", [False, True])
def test_orthogonal_weights_are_orthogonal(spectral: bool) -> None:
    for network in (
        make_g(classes=3, orthogonal=True, spectral=spectral, attention=16, shared_embedding=6),
        make_d(orthogonal=True, spectral=spectral, attention=16),
    ):
        for name, weight in initial_weights(network).items():
            rows = weight.detach().flatten(1)
            rows = rows if rows.shape[0] <= rows.shape[1] else rows.T
            torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), rtol=1e-4, atol=1e-5, msg=name)


def test_initial_weights_are_sngans() -> None:
    """Uniform Xavier, times sqrt(2) for 3x3 convolutions in blocks; biases are 0 (as in the published code)."""
    for network in (make_g(64, width=64), make_d(width=64, spectral=False)):
        for name, weight in initial_weights(network).items():
            fan_out, fan_in = weight.shape[0] * weight[0, 0].numel(), weight[0].numel()
            in_block = weight.ndim == 4 and weight.shape[-1] == 3 and name != "last"
            bound = (math.sqrt(2) if in_block else 1) * math.sqrt(6 / (fan_in + fan_out))
            assert 0.9 * bound < weight.abs().max() <= bound, name
        assert not any(bias.any() for name, bias in network.named_parameters() if name.endswith("bias"))


def test_networks_for_larger_images_have_the_same_names_and_more() -> None:
    """So that weights can be transferred; widths differ only beyond 32 pixels."""
    for make in (make_g, make_d):
        small, large = (make(shape=ImageShape(3, side, side)).state_dict() for side in (64, 128))
        assert set(small) < set(large)
        different = {name.split(".")[0] for name in small if small[name].shape != large[name].shape}
        assert different == ({"norm", "last"} if make is make_g else {"first"})


def test_d_sees_every_pixel_of_odd_sizes() -> None:
    D = make_d(shape=ImageShape(1, 15, 21))
    images = torch.randn(2, 1, 15, 21, requires_grad=True)
    D(images, None).logits.sum().backward()
    assert images.grad is not None and (images.grad.abs().sum(dim=(0, 1)) > 0).all()


def test_d_sums_over_its_last_map() -> None:
    """Two copies of an image side by side give features about twice as large: a sum, not a mean."""
    small, large = make_d(), make_d(shape=ImageShape(3, 32, 64))
    large.load_state_dict(small.state_dict())
    images = torch.zeros(2, 3, 32, 32)  # all pixels are equal except at the border
    for D in (small, large):
        for block in D.plain:
            nn.init.ones_(block.conv2.bias)
    ratio = large(torch.cat([images, images], dim=3), None).features.sum() / small(images, None).features.sum()
    assert ratio.item() == pytest.approx(2, rel=0.2)
