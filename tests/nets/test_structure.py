"""Networks with their default widths match the literature: numbers of weights and layers."""

from typing import Any

import pytest
from torch import nn
from variants import weights

from ganloom import nets
from ganloom.core.shapes import ImageShape
from ganloom.nets.layers.equalized import EqualizedConv2d, EqualizedLinear

# Radford et al. 2016 with 64 feature maps. The others: Miyato et al. 2018 (Table 3), Miyato & Koyama 2018 and Zhang
# et al. 2019, for CIFAR-10. The papers do not give the numbers of weights: these were counted with torch-mimicry 0.1.16
# (`SNGANGenerator32()`, `CGANPDGenerator32(10)`, `SAGANGenerator32(10)` and their discriminators).
SAGAN = {"attention": 16, "spectral": True}
COUNTED: dict[str, tuple[tuple[str, int, int, int], dict[str, Any], dict[str, Any], int, int]] = {
    # (family, side, latent, classes), options of G, options of D, weights of G, weights of D
    "DCGAN, RGB": (("dcgan", 64, 100, 0), {}, {}, 3_576_704, 2_765_568),
    "SNGAN": (("resnet", 32, 128, 0), {}, {}, 4_276_739, 1_053_825),
    "projection": (("resnet", 32, 128, 10), {}, {}, 4_304_387, 1_055_105),
    # As stylegan2-ada-pytorch prints them for `paper256`; the layer lists of the paper give the same sums.
    "StyleGAN2": (("stylegan2", 256, 512, 0), {}, {}, 24_767_458, 24_001_089),
    # For FFHQ (config F).
    "StyleGAN2, 1024": (("stylegan2", 1024, 512, 0), {"full": 64}, {"full": 64}, 30_370_060, 29_012_513),
    # Huang et al. 2024, tables of the appendix for CIFAR-10: 768 channels at each of four sizes, groups of 16, z of 64.
    "R3GAN": (("r3gan", 32, 64, 0), {}, {}, 20_732_160, 20_683_776),
    "R3GAN, conditional": (("r3gan", 32, 64, 10), {}, {}, 20_781_952, 21_280_512),
    "SAGAN": (("resnet", 32, 128, 10), SAGAN, {"attention": 16}, 4_386_308, 1_075_586),
}


@pytest.mark.parametrize("network", COUNTED)
def test_numbers_of_weights_match_the_published_networks(network: str) -> None:
    (family, side, latent, classes), g, d, of_g, of_d = COUNTED[network]
    shape = ImageShape(3, side, side)
    assert weights(nets.build_generator(family, shape, latent, classes, g)) == of_g
    assert weights(nets.build_discriminator(family, shape, classes, d)) == of_d


def convolutions(network: nn.Module) -> list[tuple[int, int, int]]:
    return [
        (conv.in_channels, conv.out_channels, conv.kernel_size[0])
        for conv in network.modules()
        if isinstance(conv, nn.Conv2d)
    ]


def test_layers_match_sngan_for_32_pixels() -> None:
    """Miyato et al. 2018, Table 3, where a block of D that does not halve has no convolution in its skip."""
    shape = ImageShape(3, 32, 32)
    up = [(256, 256, 3), (256, 256, 3), (256, 256, 1)]
    down = [(128, 128, 3), (128, 128, 3), (128, 128, 1)]
    plain = [(128, 128, 3), (128, 128, 3)]
    assert convolutions(nets.build_generator("resnet", shape, 128, 0, {})) == [*up * 3, (256, 3, 3)]
    D = nets.build_discriminator("resnet", shape, 0, {})
    assert convolutions(D) == [(3, 128, 3), (128, 128, 3), (3, 128, 1), *down, *plain * 2]


def printed(number: int) -> str:
    """As in Table 2 of Karras et al. 2018: 4.2M, 590k, 9.2k, 513."""
    if number >= 1_000_000:
        return f"{number / 1e6:.1f}M"
    if number >= 1_000:
        return f"{number / 1e3:.0f}k" if number >= 10_000 else f"{number / 1e3:.1f}k"
    return str(number)


def layers(network: nn.Module) -> list[str]:
    """The number of weights of each layer that is used at the full level, in order."""
    kinds = (EqualizedConv2d, EqualizedLinear)
    return [
        printed(weights(layer)) for stage in network.stages() for layer in stage.modules() if isinstance(layer, kinds)
    ]


def test_progan_at_512_matches_table_2_of_the_paper() -> None:
    """Karras et al. 2018 (arXiv 1710.10196), Table 2, without its last level.

    So the last 1x1 has 32 channels here; at 1024 pixels it has 16.
    """
    shape = ImageShape(3, 512, 512)
    G = nets.build_generator("progressive", shape, 512, 0, {})
    D = nets.build_discriminator("progressive", shape, 0, {})
    to_64 = ["2.4M", "2.4M"] * 3 + ["1.2M", "590k"]  # 8, 16, 32 and 64 pixels
    onwards = ["295k", "148k", "74k", "37k", "18k", "9.2k"]  # 128, 256 and 512
    assert layers(G) == ["4.2M", "2.4M", *to_64, *onwards, printed(32 * 3 + 3)]
    assert layers(D) == [printed(3 * 32 + 32), *reversed([*to_64, *onwards]), "2.4M", "4.2M", "513"]


def test_d_of_progan_has_one_more_channel_at_4_pixels() -> None:
    """The standard deviation over the minibatch: 513 maps go into the last convolution (Table 2)."""
    D = nets.build_discriminator("progressive", ImageShape(3, 8, 8), 0, {})
    convs = [module.weight.shape for module in D.modules() if isinstance(module, EqualizedConv2d)]
    assert (512, 513, 3, 3) in convs
    assert sum(shape[1] == 513 for shape in convs) == 1


def test_the_progressive_dcgan_has_the_layers_of_dcgan() -> None:
    """4x4 convolutions of stride 2 without biases, and a 1x1 to and from the image at each level."""
    shape = ImageShape(3, 32, 32)
    G = nets.build_generator("progressive", shape, 100, 0, {"blocks": "dcgan", "width": 64})
    D = nets.build_discriminator("progressive", shape, 0, {"blocks": "dcgan", "width": 64})
    ups = [module for module in G.modules() if isinstance(module, nn.ConvTranspose2d)]
    downs = [module for module in D.modules() if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)]
    assert [(conv.kernel_size, conv.stride) for conv in ups] == [((4, 4), (1, 1)), *[((4, 4), (2, 2))] * 3]
    assert [(conv.kernel_size, conv.stride) for conv in downs] == [((4, 4), (2, 2))] * 3
    assert all(conv.bias is None for conv in [*ups, *downs])
