"""The clock of the machine is set back, or forward, under a training: nothing follows it."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import ganloom
from comparison import assert_same_run, log_of, state_of
from conftest import tiny_config
from ganloom.config import Config
from ganloom.tracking.jsonl import read_log

pytestmark = pytest.mark.slow

HOURS = 3600.0


class Clock:
    """Stands in for `time.time`; after so many questions it is set anew."""

    def __init__(self, after: int, by: float) -> None:
        self.after, self.by, self.asked = after, by, 0
        self._time = time.time

    def __call__(self) -> float:
        self.asked += 1
        return self._time() + (self.by if self.asked > self.after else 0.0)


def config(**settings: Any) -> Config:
    return tiny_config(**{"trackers.tensorboard": True, **settings})


def train(out: Path, **settings: Any) -> None:
    ganloom.train(out=out, device="cpu", settings=config(**settings).model_dump(mode="json"))


def scalars(run: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("loss/d")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "run"
    train(out)
    return out


@pytest.mark.parametrize("by", [-5 * HOURS, -400 * 24 * HOURS, 5 * HOURS], ids=["back", "back a year", "forward"])
def test_a_clock_that_is_set_anew_in_a_training_changes_nothing(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    clock = Clock(after=40, by=by)
    monkeypatch.setattr(time, "time", clock)
    run = tmp_path / "run"
    train(run)
    assert clock.asked > 2 * clock.after  # it was asked before and after
    assert_same_run(undisturbed, run)
    assert scalars(run) == scalars(undisturbed)
    seconds = [row["seconds"] for row in read_log(run / "log.jsonl")]
    assert seconds == sorted(seconds) and 0 < seconds[-1] < 600


@pytest.mark.parametrize("by", [-5 * HOURS, 0.0, 5 * HOURS], ids=["back", "right", "forward"])
def test_a_clock_that_is_set_anew_between_two_halves_of_a_run_changes_nothing(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    """TensorBoard reads its files in the order of the time in their names, and what it reads last holds."""
    run = tmp_path / "run"
    train(run, train__length="480 images")
    monkeypatch.setattr(time, "time", Clock(after=0, by=by))
    for length in ("640 images", "960 images"):
        ganloom.resume(run, length=length, device="cpu")
    assert state_of(run).keys() == state_of(undisturbed).keys()
    assert all(torch.equal(ours, state_of(undisturbed)[name]) for name, ours in state_of(run).items())
    assert (run / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()
    logged = [(row["nimg"], pytest.approx(row["loss_d"])) for row in log_of(run)]
    assert scalars(run) == logged and logged[-1][0] == 960
