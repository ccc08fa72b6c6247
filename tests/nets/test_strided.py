"""DCGAN's convolutions give the same results as PyTorch's."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.core import rng
from ganloom.nets.layers.strided import ConvFromVector, ConvToVector

CASES: dict[str, tuple[ConvToVector | ConvFromVector, tuple[int, ...]]] = {
    "to vector": (ConvToVector(3, 5, (3, 2)), (2, 3, 3, 2)),
    "from vector": (ConvFromVector(5, 3, (3, 2)), (2, 5)),
}


def plain(layer: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    if isinstance(layer, ConvToVector):
        return F.conv2d(x, weight).flatten(1)
    return F.conv_transpose2d(x[:, :, None, None], weight)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_equal_pytorchs(case: str, layout: torch.memory_format) -> None:
    layer, shape = copy.deepcopy(CASES[case][0]).double(), CASES[case][1]
    layer.to(memory_format=layout)  # type: ignore[call-overload]
    rng.seed(0, case)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = layer.weight.detach().clone().requires_grad_()
    ours, theirs = layer(x), plain(layer, x, weight)
    assert torch.allclose(ours, theirs)
    towards = torch.randn_like(theirs)
    mine = torch.autograd.grad(ours, [x, layer.weight], towards)
    for own, other in zip(mine, torch.autograd.grad(theirs, [x, weight], towards), strict=True):
        assert torch.allclose(own, other)
    assert mine[1].is_contiguous(memory_format=layout) or layout is torch.contiguous_format
