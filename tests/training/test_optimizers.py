"""Our Adam is bit-identical to torch's, without the copies that its CPU kernel makes and does not use."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from ganloom.config import sections
from ganloom.training.optimizers import make_optimizer

CPU = torch.device("cpu")
SHAPES = [(8, 4, 3, 3), (4, 1, 3, 3), (6, 5, 1, 1), (1, 8, 4, 4), (7,), (3, 4)]


def weights() -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=draw) for shape in SHAPES]
    return [each.to(memory_format=torch.channels_last) if each.dim() == 4 else each for each in made]


def as_it_lies(gradient: Tensor, weight: Tensor) -> Tensor:
    return torch.empty_like(weight).copy_(gradient)


def teach(
    optimizer: torch.optim.Optimizer,
    learning: list[Tensor],
    order: Callable[[Tensor, Tensor], Tensor] = as_it_lies,
) -> None:
    draw = torch.Generator().manual_seed(1)
    for _ in range(3):
        for weight in learning:
            weight.grad = order(torch.randn(weight.shape, generator=draw), weight)
        optimizer.step()


@pytest.mark.parametrize(("name", "torchs"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_same_numbers_without_copies(name: str, torchs: type[torch.optim.Adam]) -> None:
    settings = sections.Optimizer.model_validate({"name": name, "beta2": 0.99, "weight_decay": 0.1})
    mine, theirs = weights(), weights()
    own = make_optimizer(mine, settings, CPU)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        teach(own, mine)
    assert all(event.key != "aten::clone" for event in seen.key_averages())
    teach(torchs(theirs, settings.lr, (settings.beta1, 0.99), weight_decay=0.1, fused=True), theirs)
    one_by_one = weights()
    teach(torchs(one_by_one, settings.lr, (settings.beta1, 0.99), weight_decay=0.1, foreach=False), one_by_one)
    for ours, fused, plain, begun in zip(mine, theirs, one_by_one, weights(), strict=True):
        assert torch.equal(ours, fused) and ours.stride() == begun.stride()
        torch.testing.assert_close(ours, plain)
        assert own.state[ours]["exp_avg"].shape == ours.shape and not torch.equal(ours, begun)


def test_gradients_of_another_order_than_their_weights() -> None:
    mine, theirs = weights(), weights()
    settings = sections.Optimizer()
    teach(make_optimizer(mine, settings, CPU), mine, order=lambda gradient, weight: gradient)
    teach(make_optimizer(theirs, settings, CPU), theirs)
    assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))
