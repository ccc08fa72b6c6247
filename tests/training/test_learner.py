"""A network's update: the optimizer, clipping, and what is updated after the weights."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.data.packed import PackedDataset
from ganloom.nets.layers.spectral import SpectralNorm
from stepping import OFF, same, tiny, values

TEXTBOOK: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {"betas": (0.5, 0.99)}),
    "adamw": (torch.optim.AdamW, {"betas": (0.5, 0.99)}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.99}),
}


@pytest.mark.parametrize("optimizer", TEXTBOOK)
def test_optimizers_match_their_textbook(digits: PackedDataset, optimizer: str) -> None:
    """Fused kernels against the plain ones."""
    step = tiny(digits, optimizer__d={"name": optimizer, "weight_decay": 0.1, "beta2": 0.99, "lr": 1e-3})
    kind, options = TEXTBOOK[optimizer]
    plain = copy.deepcopy(step.d.net)
    reference = kind(plain.parameters(), lr=1e-3, weight_decay=0.1, foreach=False, **options)  # type: ignore[call-arg]
    for _ in range(3):
        for weight, other in zip(step.d.net.parameters(), plain.parameters(), strict=True):
            weight.grad = torch.sin(weight.detach() * 100)
            other.grad = weight.grad.clone()
        step.d.update(torch.zeros(()), 0, 32)
        reference.step()
    for weight, other in zip(step.d.net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(weight, other)


def test_rmsprop_is_the_average_of_squares(digits: PackedDataset) -> None:
    """By hand (Tieleman & Hinton 2012): v = beta2 v + (1 - beta2) g^2, w -= lr g / (sqrt v + 1e-8)."""
    step = tiny(digits, optimizer__g={"name": "rmsprop", "lr": 0.01, "beta2": 0.9})
    weight, square = step.g.weights[0], torch.zeros_like(step.g.weights[0])
    expected = weight.detach().clone()
    for _ in range(3):
        gradient = torch.sin(expected * 100)
        weight.grad = gradient.clone()
        step.g.update(torch.zeros(()), 0, 32)
        square = 0.9 * square + 0.1 * gradient.square()
        expected = expected - 0.01 * gradient / (square.sqrt() + 1e-8)
        torch.testing.assert_close(weight.detach(), expected)


def test_clipping_bounds_the_gradient(digits: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    step = tiny(digits, optimizer__d__clip=1e-3)
    seen: list[float] = []

    def spy() -> None:
        grads = [weight.grad for weight in step.d.net.parameters() if weight.grad is not None]
        seen.append(float(torch.stack([grad.norm() for grad in grads]).norm()))

    monkeypatch.setattr(step.d.optimizer, "step", spy)
    step.discriminator_step()
    assert seen[0] == pytest.approx(1e-3, rel=1e-3)


def test_clipping_weights_bounds_every_weight_after_the_update(digits: PackedDataset) -> None:
    settings = {"loss": "wasserstein", "net__d__norm": "layer"}
    clipped, plain = tiny(digits, **settings, optimizer__d__clip_weights=0.01), tiny(digits, **settings)
    assert max(float(weight.abs().max()) for weight in values(plain.d.net)) > 0.5  # a norm's gain
    for step in (clipped, plain):
        step.discriminator_step()
    for ours, theirs in zip(values(clipped.d.net), values(plain.d.net), strict=True):
        assert torch.equal(ours, theirs.clamp(-0.01, 0.01))
    clipped.advance(measure=False)
    assert max(float(weight.abs().max()) for weight in values(clipped.d.net)) <= 0.01
    assert max(float(weight.abs().max()) for weight in values(clipped.g.net)) > 0.5  # G has settings of its own


# Spectral norm


def vectors(network: nn.Module) -> list[Tensor]:
    return [part.clone() for norm in norms(network) for part in (norm.u, norm.v)]


def norms(network: nn.Module) -> list[SpectralNorm]:
    return [module for module in network.modules() if isinstance(module, SpectralNorm)]


def advanced(network: nn.Module, before: nn.Module) -> list[Tensor]:
    """The vectors of `before` after one more iteration of the power method with the weights of `network`."""
    found = []
    for module, old in zip(network.modules(), before.modules(), strict=True):
        if isinstance(module, nn.utils.parametrize.ParametrizationList):
            rows = module.original.detach().flatten(1)
            v = F.normalize(rows.T @ old[0].u, dim=0)
            found += [F.normalize(rows @ v, dim=0), v]
    return found


def close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"train__micro_batch": 2}], ids=["whole", "accumulated"])
def test_spectral_vectors_advance_once_an_update_of_their_own_network(
    digits: PackedDataset, settings: dict[str, Any]
) -> None:
    """Whatever the number of forward passes: D has four per update, G two."""
    lr = {"optimizer__d__lr": 0.01, "optimizer__g__lr": 0.01}  # so that an iteration moves them
    step = tiny(
        digits, net="resnet", net__g__spectral=True, penalties=OFF, train__batch=4, train__d_updates=2, **settings, **lr
    )
    assert vectors(step.g.net) and vectors(step.d.net)
    for _ in range(2):
        G, D = copy.deepcopy((step.g.net, step.d.net))
        step.discriminator_step()
        close(vectors(step.d.net), advanced(step.d.net, D))
        assert not same(vectors(step.d.net), vectors(D))
        assert same(vectors(step.g.net), vectors(G))
    D = copy.deepcopy(step.d.net)
    step.generator_step()
    close(vectors(step.g.net), advanced(step.g.net, G))
    assert not same(vectors(step.g.net), vectors(G))
    assert same(vectors(step.d.net), vectors(D))


def test_forward_passes_do_not_advance_spectral_vectors(digits: PackedDataset) -> None:
    step = tiny(digits, net="resnet", net__g__spectral=True, penalties=OFF, train__batch=4)
    step.advance(measure=False)
    before = vectors(step.g.net), vectors(step.d.net)
    step.measure_generator()
    micro = next(step.micro_batches(step.d, 0))
    for judge in (step.judge, step.judge_exactly):
        judge(step.g.net(micro.z, micro.y), micro.y)
    assert same(before[0], vectors(step.g.net))
    assert same(before[1], vectors(step.d.net))


# Networks frozen in part


def test_frozen_stages_do_not_learn_and_the_others_do(digits: PackedDataset) -> None:
    step = tiny(digits, start={"model": "runs/before", "freeze_g": 1, "freeze_d": 2})
    stages = {"g": step.g.net.stages(), "d": step.d.net.stages()}
    before = {place: [values(stage) for stage in parts] for place, parts in stages.items()}
    for _ in range(2):
        step.advance(measure=True)
    learned = {
        place: [not same(old, values(stage)) for old, stage in zip(before[place], parts, strict=True)]
        for place, parts in stages.items()
    }
    assert learned["g"] == [False, *[True] * (len(stages["g"]) - 1)]
    assert learned["d"] == [False, False, *[True] * (len(stages["d"]) - 2)]
    assert not any(weight.requires_grad for stage in stages["d"][:2] for weight in stage.parameters())
