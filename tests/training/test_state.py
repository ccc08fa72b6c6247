"""What a checkpoint holds of each part of a training, and which parts start afresh under other settings."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ganloom.config import Config
from ganloom.data.packed import PackedDataset
from ganloom.training import checkpoint
from ganloom.training.schedules import Plateau
from ganloom.training.state import HEALTH
from ganloom.training.step import AdversarialStep
from stepping import make, tiny

PLATEAU = {"name": "plateau", "interval": "64 images", "patience": 0}
BEFORE: dict[str, Any] = {"train__batch": 8, "augment": "ada", "optimizer__g__schedule": PLATEAU}


def resumed(digits: PackedDataset, folder: Path, before: dict[str, Any], now: dict[str, Any]) -> Any:
    """A step that was trained and saved with some settings, and loaded with others; the old one, the new one, what
    was loaded.
    """
    old = tiny(digits, **{**BEFORE, **before})
    old.advance(measure=False)
    checkpoint.save(folder, old, seconds=0.0, keep=1)
    new = make(old.config.with_overrides({key.replace("__", "."): value for key, value in now.items()}), digits)
    return old, new, checkpoint.load_newest(folder, new)


def trains(step: AdversarialStep) -> bool:
    step.advance(measure=True)
    return all(bool(torch.isfinite(weight).all()) for weight in [*step.g.weights, *step.d.weights])


@pytest.mark.parametrize("before", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("now", ["adam", "adamw", "rmsprop"])
def test_an_optimizer_of_another_kind_starts_afresh_and_trains(
    digits: PackedDataset, tmp_path: Path, before: str, now: str
) -> None:
    """Adam and AdamW keep the same values for each weight, so one continues with those of the other."""
    _, new, loaded = resumed(digits, tmp_path, {"optimizer__d__name": before}, {"optimizer__d__name": now})
    same = (before == "rmsprop") == (now == "rmsprop")
    assert loaded.afresh == ([] if same else ["the optimizer of D"])
    assert bool(new.d.optimizer.state) == same and new.g.optimizer.state
    assert trains(new)


@pytest.mark.parametrize(
    ("before", "now", "afresh"),
    [
        ({}, {}, []),
        ({}, {"optimizer.g.schedule": "cosine"}, []),
        ({"optimizer__g__schedule": "linear"}, {"optimizer.g.schedule": PLATEAU}, []),
        ({}, {"optimizer.g.schedule.score": True}, ["the schedule of G"]),
        ({}, {"optimizer.g.schedule.factor": 0.25}, []),
        ({}, {"loss": "hinge"}, ["the schedule of G"]),
        ({}, {"evaluate.best": "precision"}, []),
        ({"optimizer__g__schedule": {**PLATEAU, "score": True}}, {"evaluate.best": "precision"}, ["the schedule of G"]),
        ({}, {"augment": None}, []),
        ({}, {"augment": "diffaugment"}, []),
        ({"augment": "diffaugment"}, {"augment": "ada"}, []),
        ({}, {"augment.p": 0.25}, ["the augmentation"]),
        ({}, {"augment.target": 0.5}, []),
        ({}, {"guard.n": 60}, [HEALTH]),
        ({}, {"guard.patience": 2}, []),
        ({}, {"penalties.drift.weight": 0.001}, []),
        ({}, {"train.batch": 16, "train.micro_batch": 16, "train.batch_g": 16, "train.micro_batch_g": 16}, []),
    ],
)
def test_state_that_means_something_else_under_the_new_settings_starts_afresh(
    digits: PackedDataset, tmp_path: Path, before: dict[str, Any], now: dict[str, Any], afresh: list[str]
) -> None:
    old, new, loaded = resumed(digits, tmp_path, before, now)
    assert loaded.afresh == afresh
    assert bool(loaded.edits) == bool(now)
    assert all(torch.equal(a, b) for a, b in zip(old.g.net.parameters(), new.g.net.parameters(), strict=True))
    assert trains(new)


def test_an_edited_p_takes_effect(digits: PackedDataset, tmp_path: Path) -> None:
    _, new, _ = resumed(digits, tmp_path, {}, {"augment.p": 0.25})
    assert float(new.augment.p) == 0.25


def test_a_plateau_of_another_loss_forgets_its_best(digits: PackedDataset, tmp_path: Path) -> None:
    old, new, _ = resumed(digits, tmp_path, {}, {"loss": "hinge"})
    assert isinstance(new.g.schedule, Plateau)
    assert new.g.schedule.memory["updates"] == 0 and old.g.schedule.memory["updates"] == 1


def test_a_guard_that_starts_afresh_holds_nothing_against_the_checkpoint(digits: PackedDataset, tmp_path: Path) -> None:
    _, new, _ = resumed(digits, tmp_path, {}, {"guard.n": 60})
    assert int(new.health.well_at) == new.nimg == 8


def test_a_run_that_stops_growing_is_at_full_size(digits: PackedDataset, tmp_path: Path) -> None:
    """Its level is in the checkpoint, and nothing would raise it."""
    growing = {
        "net": {"name": "progressive", "g": {"width": 4}, "d": {"width": 4}},
        "growth": {"hold": "1 kimg", "fade": "1 kimg"},
    }
    old, new, _ = resumed(digits, tmp_path, growing, {"growth": None})
    assert float(old.g.net.level) == 0 and float(new.g.net.level) == new.g.net.levels
    assert float(new.ema.G.level) == new.g.net.levels and trains(new)


def test_weights_that_were_frozen_learn_with_fresh_optimizer_state(digits: PackedDataset, tmp_path: Path) -> None:
    start = {"start": {"model": "elsewhere", "freeze_d": 1}}
    old, new, loaded = resumed(digits, tmp_path, start, {"start.freeze_d": 0})
    assert len(new.d.weights) > len(old.d.weights) and loaded.afresh == []
    assert trains(new) and all(new.d.optimizer.state[weight] for weight in new.d.weights)


def test_other_networks_are_an_error_that_knows_the_settings(digits: PackedDataset, tmp_path: Path) -> None:
    with pytest.raises(checkpoint.MismatchError) as raised:
        resumed(digits, tmp_path, {}, {"net.g.width": 4})
    assert list(raised.value.edits) == ["net.g.width"]


def test_a_checkpoint_says_with_which_settings_it_was_saved(digits: PackedDataset, tmp_path: Path) -> None:
    """With micro-batches that were halved for lack of memory as they are by now."""
    step = tiny(digits, **BEFORE)
    step.d.micro_batch = 4
    checkpoint.save(tmp_path, step, seconds=0.0, keep=1)
    manifest = checkpoint.load_newest(tmp_path, make(step.config, digits)).manifest
    assert manifest is not None
    assert Config.build(manifest.config) == step.config.with_overrides({"train.micro_batch": 4})


def test_without_known_settings_what_does_not_fit_starts_afresh(digits: PackedDataset, tmp_path: Path) -> None:
    """In runs of versions that wrote none."""
    old = tiny(digits, **BEFORE)
    old.advance(measure=False)
    checkpoint.save(tmp_path, old, seconds=0.0, keep=1)
    path = next(tmp_path.glob("*.json"))
    manifest = checkpoint.Manifest.model_validate_json(path.read_bytes())
    path.write_text(manifest.model_copy(update={"format": 3, "config": {}}).model_dump_json())
    now = {"augment": None, "optimizer.g.schedule": "constant", "optimizer.g.name": "rmsprop"}
    new = make(old.config.with_overrides(now), digits)
    assert checkpoint.load_newest(tmp_path, new).afresh == ["the optimizer of G"]
    assert trains(new)
