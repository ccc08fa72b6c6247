"""Penalties in the step: which network they train, how often, with which weight, and through which D."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganloom.data.packed import PackedDataset
from ganloom.nets.contract import Judgement
from ganloom.objectives import penalties
from ganloom.training import checkpoint
from ganloom.training.step import AdversarialStep
from stepping import OFF, gradients, same, saved_and_restored, tiny, values, weights

CLASSIFIER = {"net__d__labels": "classifier"}


def with_penalty(dataset: PackedDataset, name: str, weight: float, **settings: Any) -> AdversarialStep:
    interval = settings.pop("interval", 1)
    settings.setdefault("net__d__norm", "layer")  # a new D without one is so flat that R1 is close to 0
    if name == "auxiliary_classifier":
        settings |= CLASSIFIER
    if name == "path_length":
        settings |= {"net": {"name": "stylegan2", "g": {"width": 8}, "d": {"width": 8}}}
        del settings["net__d__norm"]
    return tiny(dataset, penalties={**OFF, name: {"weight": weight, "interval": interval}}, **settings)


@pytest.mark.parametrize("name", penalties.__all__)
def test_columns_have_the_name_of_the_penalty_and_of_the_network_it_trains(digits: PackedDataset, name: str) -> None:
    stats = with_penalty(digits, name, 0.1, train__batch=8).advance(measure=False)
    penalty = getattr(penalties, name)()
    found = {key for key in stats if key.startswith("penalty_")}
    parts = {f"penalty_{name}": penalty.d or penalty.path, f"penalty_{name}_g": penalty.g}
    assert found == {key for key, part in parts.items() if part is not None}
    assert all(value.isfinite() for value in stats.values())
    assert all(stats[key] > 0 for key in found)


def test_a_penalty_reaches_the_update(digits: PackedDataset) -> None:
    with_r1, without = with_penalty(digits, "r1", 5.0), with_penalty(digits, "r1", 0)
    stats = with_r1.advance(measure=False)
    without.advance(measure=False)
    assert stats["penalty_r1"] > 0
    assert not same(weights(with_r1), weights(without))


def test_a_weight_of_0_switches_a_penalty_off(digits: PackedDataset) -> None:
    assert not any(name.startswith("penalty_") for name in tiny(digits, penalties=OFF).advance(measure=False))


def test_the_part_of_g_trains_g_and_only_g(digits: PackedDataset) -> None:
    matching, plain = with_penalty(digits, "feature_matching", 5.0), with_penalty(digits, "feature_matching", 0)
    for step in (matching, plain):
        step.advance(measure=False)
    assert same(values(matching.d.net), values(plain.d.net))
    assert not same(values(matching.g.net), values(plain.g.net))
    assert all(weight.grad is None for step in (matching, plain) for weight in step.d.net.parameters())


def test_the_part_of_d_trains_d_and_only_d(digits: PackedDataset) -> None:
    held, plain = with_penalty(digits, "drift", 5.0), with_penalty(digits, "drift", 0)
    ours, theirs = (gradients(step.d, step.discriminator_step) for step in (held, plain))
    assert not same(ours, theirs)
    for weight in (*held.d.weights, *plain.d.weights):
        weight.grad = None
    # The two D are still the same, since neither was updated: G gets the same gradients from both.
    ours, theirs = (gradients(step.g, step.generator_step) for step in (held, plain))
    assert same(ours, theirs)


def test_a_penalty_of_both_has_a_part_in_each(digits: PackedDataset) -> None:
    both, plain = (with_penalty(digits, "auxiliary_classifier", weight) for weight in (1.0, 0))
    for network in ("d", "g"):
        ours, theirs = (
            gradients(getattr(step, network), step.discriminator_step if network == "d" else step.generator_step)
            for step in (both, plain)
        )
        assert not same(ours, theirs)


# How often, and how much


def test_lazy_parts_are_due_at_their_interval_of_their_own_networks_updates(digits: PackedDataset) -> None:
    """Two updates of D for one of G: each counts its own."""
    step = with_penalty(digits, "auxiliary_classifier", 2.0, interval=2, train__batch=8, train__d_updates=2)
    due: dict[str, list[bool]] = {"d": [], "g": []}
    for _ in range(4):
        for _ in range(2):
            stats = step.discriminator_step()
            due["d"].append("penalty_auxiliary_classifier" in stats)
            assert "penalty_auxiliary_classifier_g" not in stats
        stats = step.generator_step()
        due["g"].append("penalty_auxiliary_classifier_g" in stats)
        assert "penalty_auxiliary_classifier" not in stats
    assert due["d"] == [True, False] * 4
    assert due["g"] == [True, False] * 2


def test_rows_of_the_log_have_the_newest_value_of_a_lazy_penalty(digits: PackedDataset, tmp_path: Path) -> None:
    step = with_penalty(digits, "r1", 2.0, interval=3, train__batch=8)
    newest = [step.advance(measure=False).get("penalty_r1") for _ in range(5)][3]
    step = saved_and_restored(step, digits, tmp_path)
    stats = step.advance(measure=True)
    assert newest is not None and torch.equal(stats["penalty_r1"], newest) and newest > 0
    assert not torch.equal(step.advance(measure=True)["penalty_r1"], newest)


def test_another_penalty_than_the_checkpoint_had(digits: PackedDataset, tmp_path: Path) -> None:
    step = with_penalty(digits, "r1", 2.0, train__batch=8)
    step.advance(measure=False)
    checkpoint.save(tmp_path, step, seconds=0.0, keep=1)
    other = with_penalty(digits, "drift", 2.0, train__batch=8)
    checkpoint.load_newest(tmp_path, other)
    assert {"penalty_drift"} == {name for name in other.advance(measure=True) if name.startswith("penalty_")}


def test_a_lazy_penalty_counts_as_often_as_it_was_not_due(digits: PackedDataset) -> None:
    step = with_penalty(digits, "r1", 2.0, interval=3)
    assert [step.penalties.due(step.penalties.d, 8 * update, 8) for update in range(4)] == [
        {"r1": 6.0},
        {},
        {},
        {"r1": 6.0},
    ]


@pytest.mark.parametrize(("name", "network"), [("r1", "d"), ("feature_matching", "g")])
def test_the_gradient_has_the_penalty_with_its_weight_and_its_interval(
    digits: PackedDataset, name: str, network: str
) -> None:
    def of(weight: float, interval: int) -> Tensor:
        step = with_penalty(digits, name, weight, interval=interval, train__micro_batch=16)
        if network == "g":
            step.discriminator_step()  # the same, whatever G's penalty
        act = step.discriminator_step if network == "d" else step.generator_step
        return torch.cat([gradient.flatten() for gradient in gradients(getattr(step, network), act)])

    none, lazy, often = of(0.0, 1), of(2.0, 3), of(6.0, 1)
    assert (lazy - none).norm() > 1e-2 * none.norm()
    assert torch.equal(lazy, often)
    assert (often - none - 2 * (of(3.0, 1) - none)).norm() < 1e-3 * (often - none).norm()


# Through which D


class Watched:
    """In place of a compiled D: counts calls of it, and records those of the network underneath."""

    def __init__(self, step: AdversarialStep) -> None:
        self.step, self.compiled = step, 0
        self.given: list[tuple[Tensor, bool]] = []  # images, whether in mixed precision
        self.written = step.D
        step.D = self.ask  # type: ignore[assignment]
        step.d.net.register_forward_pre_hook(self.note)

    def ask(self, images: Tensor, y: Tensor | None) -> Judgement:
        self.compiled += 1
        judgement: Judgement = self.written(images, y)
        return judgement

    def note(self, module: torch.nn.Module, given: tuple[Tensor, Tensor | None]) -> None:
        self.given.append((given[0], torch.is_autocast_enabled("cpu")))


@pytest.mark.parametrize(("name", "calls"), [("r1", 2), ("r2", 2), ("wgan_gp", 3), ("dragan", 3)])
def test_penalties_that_differentiate_d_use_it_uncompiled_in_full_precision(
    digits: PackedDataset, name: str, calls: int
) -> None:
    step = with_penalty(digits, name, 1.0, interval=2, train__precision="bf16", train__batch=8)
    watched = Watched(step)
    step.discriminator_step()
    assert watched.compiled == 0
    assert len(watched.given) == calls
    for images, mixed in watched.given:
        assert not mixed
        assert images.dtype == torch.float32
        assert images.requires_grad
    step.generator_step()
    assert watched.compiled == 1


@pytest.mark.parametrize("name", ["drift", "auxiliary_classifier"])
def test_other_penalties_and_updates_use_the_compiled_d_in_mixed_precision(digits: PackedDataset, name: str) -> None:
    due = with_penalty(digits, name, 1.0, train__precision="bf16", train__batch=8)
    not_due = with_penalty(digits, "r1", 1.0, interval=2, train__precision="bf16", train__batch=8)
    not_due.discriminator_step()
    for step in (due, not_due):
        watched = Watched(step)
        step.discriminator_step()
        assert watched.compiled == len(watched.given) == 2
        assert all(mixed for _, mixed in watched.given)
        assert not any(images.requires_grad for images, _ in watched.given)
