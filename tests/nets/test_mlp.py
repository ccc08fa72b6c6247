from torch import nn

from ganloom import nets
from ganloom.core.shapes import ImageShape


def widths(network: nn.Module) -> list[tuple[int, int]]:
    return [(module.in_features, module.out_features) for module in network.modules() if isinstance(module, nn.Linear)]


def test_layers_have_the_expected_widths_at_28_pixels() -> None:
    shape = ImageShape(1, 28, 28)
    G = nets.build_generator("mlp", shape, 100, 0, {})
    D = nets.build_discriminator("mlp", shape, 0, {})
    assert widths(G) == [(100, 128), (128, 256), (256, 512), (512, 784)]
    assert widths(D) == [(784, 512), (512, 256), (256, 1)]
    norms = [module.num_features for module in G.modules() if isinstance(module, nn.BatchNorm1d)]
    assert norms == [256, 512]
