"""Checkpoints of older formats, and of other sets of rules, still load."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganloom.core import tensors
from ganloom.core.errors import RunError
from ganloom.core.files import sha256
from ganloom.data.packed import PackedDataset
from ganloom.runs import checkpoints
from ganloom.training import checkpoint
from ganloom.training.buffers import NamedBuffers
from ganloom.training.health import Past
from ganloom.training.schedules import Plateau
from ganloom.training.step import AdversarialStep
from stepping import state, tiny

PLATEAU = {"name": "plateau", "interval": "64 images"}
SETTINGS: dict[str, Any] = {
    "optimizer__g__schedule": PLATEAU,
    "optimizer__d__schedule": {**PLATEAU, "score": True},
}
PAST = Past(3.0, 9.5, 4.25, 2.0, 0.875, 0.75)
FAULTS = ("divergence", "collapse", "memorisation", "overfitting", "overpowering", "stalled")  # of formats 1 and 2
COUNTS = (6, 5, 4, 3, 2, 1)
SIGNS = (2.5, 4.0)
MEMORY = {"g": (2.0, 0.5, 1.0, 0.25), "d": (3.0, math.inf, 0.0, 0.125)}


def trained(digits: PackedDataset) -> AdversarialStep:
    """A step with distinct values in everything that older formats held by position."""
    step = tiny(digits, **SETTINGS)
    step.advance(measure=False)
    step.health.past.assign(PAST._asdict())
    step.health.counts.assign(dict(zip(FAULTS, COUNTS, strict=True)))
    step.health.signs.assign(dict(zip(("sum", "updates"), SIGNS, strict=True)))
    step.health.well_at.fill_(16)
    for place in "gd":
        memory(step, place).assign(dict(zip(("updates", "best", "waited", "factor"), MEMORY[place], strict=True)))
    return step


def memory(step: AdversarialStep, place: str) -> NamedBuffers:
    schedule = getattr(step, place).schedule
    assert isinstance(schedule, Plateau)
    return schedule.memory


def vectors() -> dict[str, Tensor]:
    """What formats 1 and 2 held by position."""
    return {
        "health/past": torch.tensor(PAST, dtype=torch.float64),
        "health/counts": torch.tensor(COUNTS),
        "health/signs": torch.tensor(SIGNS),
        **{f"schedule_{place}/memory": torch.tensor(MEMORY[place], dtype=torch.float64) for place in "gd"},
    }


def write(folder: Path, saved: dict[str, Tensor], nimg: int, format: int) -> None:
    data = tensors.pack(saved)
    folder.mkdir(exist_ok=True)
    (folder / f"{nimg:012d}.safetensors").write_bytes(data)
    manifest = {"format": format, "nimg": nimg, "seconds": 1.5, "sha256": sha256(data), "torch": torch.__version__}
    (folder / f"{nimg:012d}.json").write_text(json.dumps(manifest))


def loaded(folder: Path, digits: PackedDataset) -> AdversarialStep:
    step = tiny(digits, **SETTINGS)
    found = checkpoint.load_newest(folder, step)
    assert found.manifest is not None and not found.skipped
    return step


def without(saved: dict[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in saved.items() if not name.startswith(prefixes)}


NAMED = ("health/past.", "health/counts.", "health/signs.", "schedule_g/memory.", "schedule_d/memory.")


def test_format_2_loads_with_every_value_under_its_name(digits: PackedDataset, tmp_path: Path) -> None:
    step = trained(digits)
    write(tmp_path, without(state(step), *NAMED) | vectors(), step.nimg, format=2)
    ours, theirs = state(loaded(tmp_path, digits)), state(step)
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert {name: ours[name].dtype for name in ours} == {name: theirs[name].dtype for name in theirs}


def test_format_1_loads_with_a_new_guard_that_finds_it_healthy(digits: PackedDataset, tmp_path: Path) -> None:
    step = trained(digits)
    old = without(state(step), *NAMED, "health/", "penalties/")
    old |= {name: vector for name, vector in vectors().items() if name.startswith("schedule")}
    write(tmp_path, old, step.nimg, format=1)
    found = loaded(tmp_path, digits)
    assert Past(**found.health.past.values()) == Past()
    assert int(found.health.well_at) == step.nimg
    assert memory(found, "g").values() == memory(step, "g").values()


def test_a_field_that_a_checkpoint_lacks_has_its_initial_value(digits: PackedDataset, tmp_path: Path) -> None:
    """As after an update of ganloom that adds a rule, a signal, and a value of a schedule."""
    step = trained(digits)
    lacking = ("health/past.best_distance", "health/counts.overfitting", "schedule_g/memory.best")
    write(tmp_path, without(state(step), *lacking), step.nimg, format=checkpoints.FORMAT)
    found = loaded(tmp_path, digits)
    assert Past(**found.health.past.values()) == PAST._replace(best_distance=Past().best_distance)
    assert list(found.health.counts.values().values()) == [6, 5, 4, 0, 2, 0, 1]  # none of `tone`
    assert memory(found, "g").values() == {**memory(step, "g").values(), "best": math.inf}
    ours, theirs = state(found), state(step)
    assert {name for name in theirs if not torch.equal(ours[name], theirs[name])} == set(lacking)


def test_loading_resets_a_field_that_the_checkpoint_lacks() -> None:
    """Whatever the module held before."""
    buffers = NamedBuffers({"old": 1.0, "new": 2.0})
    buffers.assign({"old": 3.0, "new": 4.0})
    buffers.load_state_dict({"old": torch.tensor(5.0)})
    assert buffers.values() == {"old": 5.0, "new": 2.0}


def test_a_field_that_is_no_longer_known_is_ignored(digits: PackedDataset, tmp_path: Path) -> None:
    step = trained(digits)
    more = {"health/counts.removed": torch.tensor(3), "health/past.removed": torch.tensor(0.5)}
    write(tmp_path, state(step) | more, step.nimg, format=checkpoints.FORMAT)
    ours, theirs = state(loaded(tmp_path, digits)), state(step)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("missing", ["health/well_at", "schedule_g/total", "D/"])
def test_what_is_not_held_by_name_must_be_there(digits: PackedDataset, tmp_path: Path, missing: str) -> None:
    step = trained(digits)
    saved = state(step)
    gone = next(name for name in saved if name.startswith(missing))
    write(tmp_path, without(saved, gone), step.nimg, format=checkpoints.FORMAT)
    with pytest.raises(RunError, match=r"does not match config\.yaml"):
        loaded(tmp_path, digits)


def test_what_a_kill_has_left_without_a_manifest_is_removed(digits: PackedDataset, tmp_path: Path) -> None:
    step = trained(digits)
    (tmp_path / "000000000008.safetensors").write_bytes(b"killed between the two files")
    (tmp_path / "notes.safetensors").write_bytes(b"the user's")
    checkpoint.save(tmp_path, step, seconds=1.0, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{step.nimg:012d}.json",
        f"{step.nimg:012d}.safetensors",
        "notes.safetensors",
    ]
