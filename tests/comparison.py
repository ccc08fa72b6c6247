"""What it means that two runs are the same."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from ganloom.tracking.jsonl import read_log

TIME_COLUMNS = ("seconds", "images_per_second")


def state_of(run: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the newest checkpoint: weights, moments, averages, schedules."""
    return load_file(max((run / "checkpoints").glob("*.safetensors")))


def log_of(run: Path) -> list[dict[str, float]]:
    """Its rows, but for what the user has changed, such as the length of a run that is made longer."""
    rows = [row for row in read_log(run / "log.jsonl") if row.get("event") != "settings"]
    return [{k: v for k, v in row.items() if k not in TIME_COLUMNS} for row in rows]


def assert_same_run(one: Path, other: Path) -> None:
    """Bit for bit: the newest checkpoint, the model file, the log but for its time columns, and every picture."""
    ours, theirs = state_of(one), state_of(other)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert different == []
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert log_of(one) == log_of(other)
    assert log_of(one)
    pictures = {path.name: path.read_bytes() for path in (one / "samples").iterdir()}
    assert pictures == {path.name: path.read_bytes() for path in (other / "samples").iterdir()}
