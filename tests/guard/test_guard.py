"""The guard's signals and verdicts."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganloom.config import Guard
from ganloom.core.pictures import to_float
from ganloom.data.packed import PackedDataset
from ganloom.guard.guard import Guard as Watch
from ganloom.guard.signals import Probe, Signals, area
from ganloom.guard.verdicts import RULES, SETTLED, remember
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors import loomnet
from ganloom.nets.contract import Judgement
from ganloom.training.health import SUSPICIONS, Past
from ganloom.training.step import AdversarialStep
from stepping import CPU, state, tiny


@pytest.fixture(scope="module")
def probe(digits: PackedDataset) -> Probe:
    return Probe(digits, Extraction(loomnet.load(), CPU), 60, seed=0)


def look(probe: Probe, step: AdversarialStep) -> Signals:
    return probe.measure(step, step.advance(measure=True), 0.5)


class Copying(nn.Module):
    """A G that returns training images in order, and starts again after the last."""

    def __init__(self, dataset: PackedDataset, rows: slice) -> None:
        super().__init__()
        self.images = to_float(torch.from_numpy(dataset.images(np.arange(dataset.count())[rows])).permute(0, 3, 1, 2))
        self.place = 0

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        self.place += len(z)
        return self.images[torch.arange(self.place - len(z), self.place) % len(self.images)]


class Memorising(nn.Module):
    """A D that takes the images that it knows for real, and all others for generated."""

    def __init__(self, seen: Tensor) -> None:
        super().__init__()
        self.known = {image.numpy().tobytes() for image in seen}

    def forward(self, x: Tensor, y: Tensor | None) -> Judgement:
        noise = torch.linspace(0, 0.1, len(x))
        return Judgement(torch.tensor([1.0 if image.numpy().tobytes() in self.known else -1.0 for image in x]) + noise)


# Signals


@pytest.mark.slow
def test_a_look_leaves_no_trace(digits: PackedDataset, probe: Probe) -> None:
    settings = {"net__d": {"width": 8, "norm": "spectral"}, "augment": {"name": "ada", "p": 0.5}}
    watched, alone = tiny(digits, **settings), tiny(digits, **settings)
    for _ in range(3):
        look(probe, watched)
        alone.advance(measure=False)
    ours, theirs = state(watched), state(alone)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_the_same_training_looks_the_same(digits: PackedDataset, probe: Probe) -> None:
    assert look(probe, tiny(digits)) == look(probe, tiny(digits))


def test_identical_images(digits: PackedDataset, probe: Probe) -> None:
    step = tiny(digits)
    stats = step.advance(measure=True)
    step.g.net = Copying(digits, slice(0, 1))
    step.g.net.forward = lambda z, y: step.g.net.images.expand(len(z), -1, -1, -1)
    seen = probe.measure(step, stats, 0.5)
    assert seen.spread < 0.01 and seen.vendi < 0.1 and seen.ndb > 0.1


def test_training_images_as_if_generated(digits: PackedDataset, probe: Probe) -> None:
    """Each is its own nearest training image; in every other signal they are like real images."""
    step = tiny(digits)
    stats = step.advance(measure=True)
    step.g.net = Copying(digits, slice(0, 60))
    seen = probe.measure(step, stats, 0.5)
    assert seen.nearest < 0.01
    assert 0.8 < seen.spread < 1.2 and 0.8 < seen.vendi < 1.2 and seen.distance < 1.5


def test_held_out_images_as_if_generated_are_no_copies(digits: PackedDataset, probe: Probe) -> None:
    step = tiny(digits)
    stats = step.advance(measure=True)
    step.g.net = Copying(digits, slice(0, 60))
    held_out = digits.images(np.arange(60), "val")
    step.g.net.images = to_float(torch.from_numpy(held_out).permute(0, 3, 1, 2))
    assert 0.8 < probe.measure(step, stats, 0.5).nearest < 1.2


# Digits are dark: their mean is about -.4 on a scale from -1 to 1.
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda x: x, None),
        (lambda x: 0.6 * (x - x.mean()) + x.mean(), "washed out"),
        (lambda x: (x + 0.5).clamp(-1, 1), "too bright"),
    ],
    ids=["none", "washed out", "bright"],
)
def test_the_tone_of_generated_images(
    digits: PackedDataset, probe: Probe, change: Callable[[Tensor], Tensor], fault: str | None
) -> None:
    step = tiny(digits)
    stats = step.advance(measure=True)
    step.g.net = Copying(digits, slice(100, 160))
    step.g.net.images = change(step.g.net.images)
    seen = probe.measure(step, stats, 0.5)
    assert math.isnan(seen.saturation)  # they are grey
    settled = Past(looks=SETTLED)
    assert RULES["tone"].suspects(seen, settled) == (fault is not None)
    assert fault is None or fault in RULES["tone"].says(seen, settled)
    assert not RULES["tone"].suspects(seen, Past(looks=SETTLED - 1))  # every training begins with grey pictures


def test_a_discriminator_that_has_memorised_its_images(digits: PackedDataset, probe: Probe) -> None:
    step = tiny(digits)
    stats = step.advance(measure=True)
    rows = digits.images(np.arange(digits.count()))
    step.D = Memorising(to_float(torch.from_numpy(rows).permute(0, 3, 1, 2)))
    seen = probe.measure(step, stats, 1.0)
    assert seen.gap == pytest.approx(1.0, abs=0.1) and seen.gap_auc == 1.0 and seen.auc == 1.0


def test_nan_in_the_weights(digits: PackedDataset, probe: Probe) -> None:
    step = tiny(digits)
    stats = step.advance(measure=True)
    with torch.no_grad():
        step.g.weights[0][0] = math.nan
    seen = probe.measure(step, stats, 0.5)
    assert not seen.finite and math.isnan(seen.distance)


def test_measured_steps_return_the_size_of_their_updates(digits: PackedDataset) -> None:
    step = tiny(digits)
    before = [weight.detach().clone() for weight in step.d.weights]
    stats = step.advance(measure=True)
    moved = math.sqrt(sum(float((a.detach() - b).square().sum()) for a, b in zip(step.d.weights, before, strict=True)))
    assert float(stats["update_d"]) == pytest.approx(
        moved / math.sqrt(sum(float(b.square().sum()) for b in before)), rel=1e-4
    )
    assert float(stats["gradient_g"]) > 0


def test_the_area_under_the_curve_by_hand() -> None:
    assert area(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 1.0])) == (2 + 0.5) / 4


# Verdicts

WELL = Signals(
    finite=True, update_g=1e-3, update_d=1e-3, sign=0.5, auc=0.8, gap=0.05,
    gap_auc=0.52, spread=0.9, vendi=0.8, ndb=0.1, distance=20.0, nearest=1.5,
    brightness=0.02, contrast=0.9, saturation=0.95,
)  # fmt: skip


class Scripted:
    """A probe that returns the given signals."""

    def __init__(self, seen: Iterator[Signals]) -> None:
        self.seen = seen

    def measure(self, step: object, stats: object, sign: float) -> Signals:
        return next(self.seen)


def verdicts_of(digits: PackedDataset, *seen: Signals, **settings: Any) -> list[list[str]]:
    """Suspicions that became verdicts, for each look."""
    watch = Watch(Guard(**settings), Scripted(iter(seen)))  # type: ignore[arg-type]
    step = tiny(digits)
    return [[verdict.suspicion for verdict in watch.look(step, {})[1]] for _ in seen]


def but(**changes: float) -> Signals:
    return dataclasses.replace(WELL, **changes)


def test_a_verdict_needs_patience_and_is_given_once(digits: PackedDataset) -> None:
    alike = but(spread=0.01, vendi=0.01)
    looks = [WELL] * 8 + [alike] * 5 + [WELL] + [alike] * 3
    verdicts = verdicts_of(digits, *looks, patience=3)
    assert [place for place, found in enumerate(verdicts) if "collapse" in found] == [10, 16]


def test_nan_needs_no_patience(digits: PackedDataset) -> None:
    assert verdicts_of(digits, WELL, Signals.unseen(), Signals.unseen()) == [[], ["divergence"], []]
    assert verdicts_of(digits, WELL, but(distance=200.0), Signals.unseen()) == [[], [], ["divergence"]]
    (verdict,) = Watch(Guard(), Scripted(iter([Signals.unseen()]))).look(tiny(digits), {})[1]  # type: ignore[arg-type]
    assert "contain NaN or infinity" in verdict.text and verdict.is_ruin


def test_every_suspicion_has_a_rule_and_an_action() -> None:
    assert set(RULES) == set(SUSPICIONS) < set(Guard.model_fields)


@pytest.mark.parametrize(
    "suspicion, sick",
    [
        ("divergence", {"distance": 200.0}),
        ("collapse", {"spread": 0.05}),
        ("collapse", {"spread": 0.3}),  # of .9 before
        ("collapse", {"vendi": 0.1, "distance": 50.0}),
        ("memorisation", {"nearest": 0.1}),
        ("overfitting", {"gap": 0.9, "gap_auc": 0.95}),
        ("stalled", {"update_d": 1e-12}),
        ("stalled", {"update_g": 1e-12}),
        ("tone", {"contrast": 0.6}),
        ("tone", {"saturation": 0.3}),
        ("tone", {"brightness": -0.2}),
    ],
)
def test_what_is_suspected(suspicion: str, sick: dict[str, float]) -> None:
    past = Past()
    for _ in range(3):
        past = remember(past, WELL)
    past = past._replace(looks=SETTLED)
    assert [name for name, rule in RULES.items() if rule.suspects(but(**sick), past)] == [suspicion]
    assert not any(rule.suspects(WELL, past) for rule in RULES.values())


def test_what_does_not_improve_for_long() -> None:
    """D is sure of everything, or G has learned nothing."""
    past = Past()
    for _ in range(9):
        past = remember(past, WELL)
    found = {name for name, rule in RULES.items() if rule.suspects(but(auc=1.0), past)}
    assert found == {"overpowering", "stalled"}
    learned = remember(Past(), but(distance=200.0))
    for _ in range(9):
        learned = remember(learned, WELL)
    assert {name for name, rule in RULES.items() if rule.suspects(but(auc=1.0), learned)} == {"overpowering"}
    assert not {name for name, rule in RULES.items() if rule.suspects(WELL, learned)}


def test_unknown_signals_raise_no_suspicion() -> None:
    nothing = but(gap=math.nan, gap_auc=math.nan, sign=math.nan)
    assert not any(rule.suspects(nothing, remember(Past(), WELL)) for rule in RULES.values())


def test_an_untrained_generator_is_not_suspected() -> None:
    """Its images are nearly identical, and as far from real ones as they can be."""
    young = but(spread=0.2, vendi=0.03, distance=900.0, nearest=20.0, auc=1.0, sign=1.0)
    past = remember(Past(), young)
    assert not any(rule.suspects(young, past) for rule in RULES.values())
