"""DCGAN's convolutions are PyTorch's, whatever way they are computed."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from ganloom.core import rng
from ganloom.nets.layers.strided import FEWEST, Doubling, Gathering, Halving, Spreading

CASES = {
    "halving": (Halving(FEWEST, FEWEST + 1), (2, FEWEST, 6, 4)),
    "doubling": (Doubling(FEWEST, FEWEST + 1), (2, FEWEST, 3, 2)),
    "halving few channels": (Halving(3, 5), (2, 3, 6, 4)),
    "doubling to few channels": (Doubling(5, 3), (2, 5, 3, 2)),
    "gathering": (Gathering(3, 5, (3, 2)), (2, 3, 3, 2)),
    "spreading": (Spreading(5, 3, (3, 2)), (2, 5)),
}


def plain(layer: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    if isinstance(layer, Halving):
        return F.conv2d(x, weight, None, 2, 1)
    if isinstance(layer, Doubling):
        return F.conv_transpose2d(x, weight, None, 2, 1)
    if isinstance(layer, Gathering):
        return F.conv2d(x, weight).flatten(1)
    return F.conv_transpose2d(x[:, :, None, None], weight)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_pytorch(case: str, layout: torch.memory_format) -> None:
    layer, shape = copy.deepcopy(CASES[case][0]).double(), CASES[case][1]
    layer.to(memory_format=layout)  # type: ignore[call-overload]
    rng.seed(0, case)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert isinstance(layer.weight, Tensor)
    weight = layer.weight.detach().clone().requires_grad_()
    ours, theirs = layer(x), plain(layer, x, weight)
    assert torch.allclose(ours, theirs)
    towards = torch.randn_like(theirs)
    mine = torch.autograd.grad(ours, [x, layer.weight], towards)
    for own, other in zip(mine, torch.autograd.grad(theirs, [x, weight], towards), strict=True):
        assert torch.allclose(own, other)
    assert mine[1].is_contiguous(memory_format=layout) or layout is torch.contiguous_format


@pytest.mark.parametrize("kind", [Halving, Doubling])
def test_second_derivatives_are_right(kind: type[Halving | Doubling], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganloom.nets.layers.strided.FEWEST", 1)
    layer = kind(2, 3).double()
    rng.seed(0, "second")
    x = torch.randn(2, 2, 4, 2, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, weight: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(layer, {"weight": weight}, (x,))
        return result

    weight = layer.weight.detach().clone().requires_grad_()
    assert gradcheck(run, (x, weight))
    assert gradgradcheck(run, (x, weight))


@pytest.mark.parametrize("kind", [Halving, Doubling])
def test_under_autocast_gradients_are_what_the_plain_ones_are(kind: type[Halving | Doubling]) -> None:
    rng.seed(0, "autocast")
    layer, x = kind(32, 32), torch.randn(4, 32, 8, 8, requires_grad=True)
    weight = layer.weight.detach().clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = layer(x), plain(layer, x, weight)
    assert ours.dtype is torch.bfloat16
    towards = torch.randn_like(theirs)
    mine = torch.autograd.grad(ours, [x, layer.weight], towards)
    for own, other in zip(mine, torch.autograd.grad(theirs, [x, weight], towards), strict=True):
        assert own.dtype is torch.float32
        assert F.cosine_similarity(own.flatten(), other.flatten(), dim=0) > 0.9999
