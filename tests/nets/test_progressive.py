"""Progressive growing: the networks at whole levels, between two levels, and at the last."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom import nets
from ganloom.core import rng
from ganloom.core.shapes import ImageShape
from ganloom.models import modelfile
from ganloom.models.generate import generate_floats
from ganloom.nets.contract import Growing
from ganloom.nets.layers.sizes import double, halve

LATENT = 12
SQUARE, ODD = ImageShape(3, 32, 32), ImageShape(3, 33, 47)
both_shapes = pytest.mark.parametrize("shape", [SQUARE, ODD], ids=str)
both_blocks = pytest.mark.parametrize("blocks", ["progan", "dcgan"])


@pytest.fixture(autouse=True)
def seeded() -> None:
    rng.seed(0, "progressive")


def make_g(shape: ImageShape = SQUARE, classes: int = 0, **options: Any) -> nn.Module:
    return nets.build_generator("progressive", shape, LATENT, classes, {"width": 8, **options}).double()


def make_d(shape: ImageShape = SQUARE, **options: Any) -> nn.Module:
    return nets.build_discriminator("progressive", shape, 0, {"width": 8, **options}).double()


def at(network: nn.Module, level: float) -> nn.Module:
    network.level.fill_(level)
    return network


def shrunk(image: Tensor, halvings: int) -> Tensor:
    for _ in range(halvings):
        image = halve(image)
    return image


def enlarged(image: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    for size in sizes:
        image = double(image, size)
    return image


def latents(count: int = 4) -> Tensor:
    return torch.randn(count, LATENT, dtype=torch.float64)


def pictures(shape: ImageShape, count: int = 4) -> Tensor:
    return torch.rand(count, shape.channels, shape.height, shape.width, dtype=torch.float64) * 2 - 1


# A network that does not grow.


@both_blocks
@both_shapes
def test_a_new_network_is_at_its_full_level(shape: ImageShape, blocks: str) -> None:
    for network in (make_g(shape, blocks=blocks), make_d(shape, blocks=blocks)):
        assert isinstance(network, Growing)
        assert network.levels == 3 == network.level.item()


@both_blocks
@pytest.mark.parametrize("level", [0, 1, 1.5, 2, 3])
def test_a_level_uses_exactly_its_own_weights(level: float, blocks: str) -> None:
    """At the full level only the 1x1 layers of lower levels are unused; while a level fades in, two are used."""
    G, D = at(make_g(blocks=blocks), level), at(make_d(blocks=blocks), level)
    D(G(latents(), None), None).logits.sum().backward()
    whole = -int(-level // 1)
    images = {whole} if whole == level else {whole - 1, whole}
    for network, one, steps in ((G, "to_image", "ups"), (D, "from_image", "downs")):
        unused = {name for name, weight in network.named_parameters() if weight.grad is None}
        idle = [f"{one}.{i}." for i in range(4) if i not in images] + [f"{steps}.{i}." for i in range(whole, 3)]
        assert unused == {name for name, _ in network.named_parameters() if name.startswith(tuple(idle))}


# Whole levels.


@both_blocks
@both_shapes
@pytest.mark.parametrize("level", [0, 1, 2])
def test_an_image_at_a_level_is_exactly_the_enlarged_image_of_the_small_network(
    level: int, shape: ImageShape, blocks: str
) -> None:
    G, z = at(make_g(shape, blocks=blocks), level), latents()
    image = G(z, None)
    assert image.shape[2:] == (shape.height, shape.width)
    small = shrunk(image, 3 - level)
    assert small.shape[2:] == G.sizes[level]
    assert torch.equal(enlarged(small, G.sizes[level + 1 :]), image)
    x = G.first(F.normalize(z, dim=1) * LATENT**0.5)
    for up, size in zip(G.ups[:level], G.sizes[1:], strict=False):
        x = up(x, size)
    torch.testing.assert_close(small, G.squash(G.to_image[level](x)))


@both_blocks
@pytest.mark.parametrize("level", [1, 2])
def test_at_a_level_both_networks_equal_those_built_for_images_of_that_size(level: int, blocks: str) -> None:
    """Weights are copied by name into networks that were built for smaller images."""
    small = ImageShape(3, 4 * 2**level, 4 * 2**level)
    z, images = latents(), pictures(SQUARE)
    G, other_g = at(make_g(blocks=blocks), level), make_g(small, blocks=blocks)
    copy_weights(G, other_g)
    assert torch.equal(shrunk(G(z, None), 3 - level), other_g(z, None))
    D, other_d = at(make_d(blocks=blocks), level), make_d(small, blocks=blocks)
    copy_weights(D, other_d)
    assert torch.equal(D(images, None).logits, other_d(shrunk(images, 3 - level), None).logits)


def copy_weights(large: nn.Module, small: nn.Module) -> None:
    values = large.state_dict()
    assert set(small.state_dict()) < set(values)
    small.load_state_dict({name: values[name] for name in small.state_dict()})
    at(small, small.levels)


@both_blocks
@pytest.mark.parametrize("level", [0, 1, 2, 2.5, 3])
def test_d_ignores_details_finer_than_its_level(level: float, blocks: str) -> None:
    """Detail whose 2x2 means are 0 matters only at the last level and while it fades in."""
    D, images = at(make_d(blocks=blocks), level), pictures(SQUARE)
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    detail = torch.kron(torch.rand(16, 16, dtype=torch.float64), signs)
    plain, detailed = D(images, None).logits, D(images + detail, None).logits
    if level <= 2:
        torch.testing.assert_close(plain, detailed, rtol=1e-9, atol=1e-9)
    else:
        assert (plain - detailed).abs().max() > 1e-4


# Between two levels.


@both_blocks
@both_shapes
@pytest.mark.parametrize("level", [0.25, 1.5, 2.75])
def test_while_a_level_fades_in_the_image_is_a_mixture_of_two_levels(
    level: float, shape: ImageShape, blocks: str
) -> None:
    """Karras et al. 2018, figure 2: (1 - f) times the enlarged smaller image plus f times the larger one."""
    G, z = make_g(shape, blocks=blocks), latents()
    lower, f = int(level), level % 1
    smaller, larger = at(G, lower)(z, None), at(G, lower + 1)(z, None)
    torch.testing.assert_close(at(G, level)(z, None), (1 - f) * smaller + f * larger, rtol=1e-6, atol=1e-7)
    assert (smaller - larger).abs().max() > 0.01


@both_blocks
@both_shapes
@pytest.mark.parametrize("level", [0.25, 1.5, 2.75])
def test_while_a_level_fades_in_d_mixes_the_two_paths_to_the_smaller_map(
    level: float, shape: ImageShape, blocks: str
) -> None:
    """Karras et al. 2018, figure 2: (1 - f) times the halved image's path plus f times that of the new layers."""
    D, images = at(make_d(shape, blocks=blocks), level), pictures(shape)
    lower, f = int(level), level % 1
    x = shrunk(images, 2 - lower)
    new = D.downs[lower](F.leaky_relu(D.from_image[lower + 1](x), 0.2))
    h = (1 - f) * F.leaky_relu(D.from_image[lower](halve(x)), 0.2) + f * new
    for down in reversed(D.downs[:lower]):
        h = down(h)
    torch.testing.assert_close(D(images, None).logits, D.head(D.last(h)).flatten(), rtol=1e-6, atol=1e-7)


@both_shapes
@pytest.mark.parametrize("level", [0.25, 1.5, 2.75])
def test_real_images_fade_in_like_generated_ones(level: float, shape: ImageShape) -> None:
    """Karras et al. 2018, appendix A: (1 - f) times the image without the new level's detail plus f times it with."""
    D, images = at(make_d(shape), level), pictures(shape)
    lower, f = int(level), level % 1

    def with_details_up_to(level: int) -> Tensor:
        return enlarged(shrunk(images, 3 - level), D.sizes[level + 1 :])

    expected = (1 - f) * with_details_up_to(lower) + f * with_details_up_to(lower + 1)
    torch.testing.assert_close(D.fade(images), expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(make_g(shape).fade(images), images), "unchanged at a whole level"


@both_blocks
@both_shapes
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_outputs_are_continuous_where_a_fade_starts_or_ends(level: int, shape: ImageShape, blocks: str) -> None:
    G, D, z, images = make_g(shape, blocks=blocks), make_d(shape, blocks=blocks), latents(), pictures(shape)

    def at_level(level: float) -> list[Tensor]:
        at(G, level), at(D, level)
        # At a whole level real images are not reduced, so only the output of D for them is continuous.
        return [G(z, None), D(images, None).logits, D(D.fade(images), None).logits]

    here = at_level(level)
    for near in {max(0.0, level - 1e-7), min(3.0, level + 1e-7)} - {float(level)}:
        for exactly, nearly in zip(here, at_level(near), strict=True):
            torch.testing.assert_close(exactly, nearly, rtol=1e-3, atol=2e-4)


def test_outputs_change_between_the_levels() -> None:
    """Otherwise the test above would prove nothing."""
    G, D, z, images = make_g(), make_d(), latents(), pictures(SQUARE)
    for network, given in ((G, z), (D, images)):
        outputs = [at(network, level)(given, None) for level in (1, 1.5, 2, 2.5, 3)]
        values = [out if isinstance(out, Tensor) else out.logits for out in outputs]
        assert all((a - b).abs().max() > 0.01 for a, b in pairwise(values))


# The level is state.


@pytest.mark.parametrize("level", [0.0, 1.25, 3.0])
def test_the_level_is_in_the_state_and_in_the_model_file(level: float, tmp_path: Path) -> None:
    G = at(make_g().float(), level)
    assert dict(G.named_buffers())["level"].item() == level and "level" in G.state_dict()
    header = modelfile.Header(
        net="progressive", latent=LATENT, options={"width": 8}, shape=(3, 32, 32), labels=False, class_names=[],
        training={},
    )  # fmt: skip
    modelfile.write(tmp_path / "model.safetensors", G, header)
    again, _, *_ = modelfile.read(tmp_path / "model.safetensors")
    assert again.level.item() == level
    before, after = (torch.cat(list(generate_floats(net, LATENT, 3, 0, None))) for net in (G, again))
    assert torch.equal(before, after)


def test_only_the_direction_of_z_matters() -> None:
    """Latents are normalised, but label embeddings are not (as in the published code)."""
    G, z = make_g(classes=3), latents()
    y = torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(G(z, y), G(5 * z, y), rtol=1e-6, atol=1e-6)
    assert (G(z, y) - G(-z, y)).abs().max() > 0.01
    before = G(z, y)
    with torch.no_grad():
        G.embed.weight *= 5
    assert (G(z, y) - before).abs().max() > 0.01


def test_the_output_of_d_depends_on_the_other_images_of_the_group() -> None:
    """Minibatch deviation: four copies of an image differ from four images."""
    D, images = make_d(), pictures(SQUARE)
    alone = D(images[:1].repeat(4, 1, 1, 1), None).logits
    torch.testing.assert_close(alone, alone[:1].expand(4))
    assert (D(images, None).logits[0] - alone[0]).abs() > 1e-3
