import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from variants import weights

from ganloom import nets
from ganloom.core.errors import ConfigError
from ganloom.core.shapes import ImageShape
from ganloom.nets.layers.labels import LabelEmbedding


def test_layers_match_the_paper() -> None:
    G = nets.build_generator("dcgan", ImageShape(3, 64, 64), 100, 0, {})
    convs = [module for module in G.modules() if isinstance(module, nn.ConvTranspose2d)]
    table = [(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding) for conv in convs]
    assert table == [
        (100, 512, (4, 4), (1, 1), (0, 0)),
        (512, 256, (4, 4), (2, 2), (1, 1)),
        (256, 128, (4, 4), (2, 2), (1, 1)),
        (128, 64, (4, 4), (2, 2), (1, 1)),
        (64, 3, (4, 4), (2, 2), (1, 1)),
    ]
    assert all(conv.bias is None for conv in convs)


@pytest.mark.parametrize("height", [8, 9, 12, 15, 28, 31, 32, 37, 48, 64])
@pytest.mark.parametrize("width", [8, 13, 30, 64])
def test_any_size_and_aspect_ratio_works(height: int, width: int) -> None:
    shape = ImageShape(1, height, width)
    for head in ("conv", "pool"):
        G = nets.build_generator("dcgan", shape, 4, 0, {"width": 2})
        D = nets.build_discriminator("dcgan", shape, 0, {"width": 2, "head": head})
        images = G(torch.randn(2, 4), None)
        assert images.shape == (2, 1, height, width)
        assert D(images, None).logits.shape == (2,)


@pytest.mark.parametrize("side", [100, 128, 200, 1024])
def test_large_sizes_work(side: int) -> None:
    G = nets.build_generator("dcgan", ImageShape(3, side, side), 4, 0, {"width": 1})
    D = nets.build_discriminator("dcgan", ImageShape(3, side, side), 0, {"width": 1})
    assert D(G(torch.randn(2, 4), None), None).logits.shape == (2,)


def test_d_sees_every_pixel_of_odd_sizes() -> None:
    D = nets.build_discriminator("dcgan", ImageShape(1, 15, 21), 0, {"width": 4})
    images = torch.randn(2, 1, 15, 21, requires_grad=True)
    D(images, None).logits.sum().backward()
    assert images.grad is not None and (images.grad.abs().sum(dim=(0, 1)) > 0).all()


def test_the_pool_head_has_the_same_number_of_weights_for_every_image_size() -> None:
    counts = {
        weights(nets.build_discriminator("dcgan", ImageShape(3, 64, side), 0, {"head": "pool"})) for side in (64, 70)
    }
    assert len(counts) == 1


@pytest.mark.parametrize(("height", "width"), [(7, 32), (32, 4), (1025, 64)])
def test_unsupported_sizes_are_refused_with_the_remedy(height: int, width: int) -> None:
    with pytest.raises(ConfigError, match=r"8 to 1024 pixels.*--size"):
        nets.build_generator("dcgan", ImageShape(1, height, width), 4, 0, {})


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="head"):
        nets.build_discriminator("dcgan", ImageShape(1, 32, 32), 0, {"head": "pol"})


def test_initial_weights_have_the_standard_deviation_of_the_paper() -> None:
    torch.manual_seed(0)
    G = nets.build_generator("dcgan", ImageShape(3, 64, 64), 100, 0, {})
    for module in G.modules():
        if isinstance(module, nn.ConvTranspose2d):
            assert abs(module.weight.detach().std().item() - 0.02) < 0.001
        if isinstance(module, nn.BatchNorm2d):
            assert abs(module.weight.detach().mean().item() - 1) < 0.01 and not module.bias.any()


@pytest.mark.parametrize(
    ("norm", "layers"), [("batch", nn.BatchNorm2d), ("layer", nn.GroupNorm), ("spectral", None), ("none", None)]
)
def test_the_norm_option_of_d_replaces_batchnorm(norm: str, layers: type | None) -> None:
    """After all convolutions except the first and the last; spectral norm on all, and on the class embeddings."""
    D = nets.build_discriminator("dcgan", ImageShape(3, 32, 32), 5, {"width": 4, "norm": norm})
    found = [type(module) for module in D.modules() if isinstance(module, nn.BatchNorm2d | nn.GroupNorm)]
    assert found == ([] if layers is None else [layers] * 2)
    weighted = [module for module in D.modules() if isinstance(module, nn.Conv2d | LabelEmbedding)]
    assert len(weighted) == 3 + 1 + 1
    assert {parametrize.is_parametrized(module, "weight") for module in weighted} == {norm == "spectral"}
