"""What the guard advises: never a remedy that the training has already, or one that would make it worse."""

import dataclasses
import re
from typing import Any

import pytest

from conftest import tiny_config
from ganloom.config import Config, parse_override
from ganloom.guard.advice import advice
from ganloom.guard.remedies import HUGE_RATE, other_settings
from ganloom.guard.signals import Signals
from ganloom.guard.verdicts import RULES

WELL = Signals(
    finite=True, update_g=1e-3, update_d=1e-3, sign=0.5, auc=0.8, gap=0.05,
    gap_auc=0.52, spread=0.9, vendi=0.8, ndb=0.1, distance=20.0, nearest=1.5,
    brightness=0.02, contrast=0.9, saturation=0.95,
)  # fmt: skip


def but(**changes: float) -> Signals:
    return dataclasses.replace(WELL, **changes)


def typed(text: str) -> dict[str, Any]:
    """The settings that a text tells to type."""
    found = dict(parse_override(flag) for flag in re.findall(r"--set (\S+?)[.,;)]*(?:\s|$)", text))
    return {key: float(value) if key.endswith(".lr") else value for key, value in found.items()}


@pytest.mark.parametrize("stands_still", ["update_d", "update_g"])
@pytest.mark.parametrize("d", [1.0, 0.1])
def test_a_saturated_discriminator_at_a_huge_rate_is_told_a_lower_one(stands_still: str, d: float) -> None:
    """Its loss is 0, and so is what either network learns from it: update_d, or update_g, is 0."""
    config = tiny_config(optimizer__d__lr=d)
    now = but(auc=1.0, sign=1.0, **{stands_still: 1e-12})
    usual = config.optimizer.g.lr
    assert other_settings("stalled", config, now) == {"optimizer.d.lr": usual}
    for fault in ("stalled", "overpowering"):
        text = advice(fault, config, now)
        assert typed(text)["optimizer.d.lr"] == usual and "optimizer.g.lr" not in typed(text)
        assert "raise" not in text and f"optimizer.d.lr is {d:g}" in text


def test_a_saturated_discriminator_at_a_usual_rate_is_told_a_lower_one() -> None:
    config = tiny_config(optimizer__d__lr=2e-4, optimizer__g__lr=2e-4)
    for still in ("update_d", "update_g"):
        now = but(auc=1.0, **{still: 1e-12})
        assert other_settings("stalled", config, now)["optimizer.d.lr"] == 5e-5
        assert typed(advice("stalled", config, now))["optimizer.d.lr"] == 5e-5


@pytest.mark.parametrize("place, other", ["dg", "gd"])
@pytest.mark.parametrize("auc", [0.5, 1.0])
def test_a_network_with_hardly_any_rate_is_told_the_rate_of_the_other(place: str, other: str, auc: float) -> None:
    """Even if D is certain: it cannot be saturated if it has not learned, and G cannot answer it without a rate."""
    config = tiny_config(**{f"optimizer__{place}__lr": 1e-9, f"optimizer__{other}__lr": 2e-4})
    now = but(auc=auc, **{f"update_{place}": 1e-9})
    assert other_settings("stalled", config, now) == {f"optimizer.{place}.lr": 2e-4}
    assert typed(advice("stalled", config, now)) == {f"optimizer.{place}.lr": 2e-4}


@pytest.mark.parametrize("fault", RULES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer__g__lr": 0.5, "optimizer__d__lr": 0.5},
        {"optimizer__g__lr": 1e-6},
        {"augment": {"name": "ada"}},
        {"loss": "relativistic"},
        {"penalties": {}},
    ],
)
@pytest.mark.parametrize("signals", [{}, {"auc": 1.0, "update_d": 1e-12}, {"auc": 1.0, "update_g": 1e-12}])
def test_every_advice_can_be_typed_and_changes_something(
    fault: str, settings: dict[str, Any], signals: dict[str, float]
) -> None:
    config: Config = tiny_config(**settings)
    text = advice(fault, config, but(**signals))
    for key, value in typed(text).items():
        changed = config.with_overrides({key: value} if "augment" not in key else typed(text))
        assert changed != config, (key, text)
        assert not key.endswith(".lr") or value < HUGE_RATE, text


def test_what_a_training_has_already_is_not_advised() -> None:
    relativistic = tiny_config(loss="relativistic")
    assert "another loss" in advice("collapse", tiny_config(), WELL)
    assert "another loss" not in advice("collapse", relativistic, WELL)
    assert "augment=ada" in advice("overfitting", tiny_config(), WELL)
    with_ada = advice("overfitting", tiny_config(augment={"name": "ada"}), WELL)
    assert "augment=ada" not in with_ada and "augment.target" in with_ada
    assert "add the penalty R1" in advice("collapse", tiny_config(penalties={}), WELL)
    assert "increase the penalty" in advice("collapse", tiny_config(), WELL)


@pytest.mark.parametrize(
    ("d", "is_blind"),
    [
        ({"norm": "batch"}, True),
        ({"norm": "layer"}, True),
        ({"norm": "none"}, False),
        ({"norm": "spectral"}, False),
        ({"norm": "batch", "bias": True}, False),
    ],
)
def test_a_discriminator_that_cannot_see_contrast_is_told_to_have_biases(d: dict[str, Any], is_blind: bool) -> None:
    text = advice("tone", tiny_config(net__d={"width": 8, **d}), but(contrast=0.6))
    assert (typed(text) == {"net.d.bias": True}) == is_blind
    assert is_blind or "optimizer.g.lr" in typed(text)
