"""A run in Python: what it is, what it says while it trains, and how it ends."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import ganloom
from conftest import TINY
from ganloom import Event, Run, TrainingEvent
from ganloom.core import terminal
from ganloom.core.errors import ConfigError, ModelError, RunError
from ganloom.runs import Status
from ganloom.runs.status import read_status, write_status

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {
    **TINY,
    "train.length": "320 images",
    "evaluate.every": "160 images",
    "evaluate.n": 100,
    "evaluate.metrics": ["fd"],
    "guard.every": "160 images",
    "guard.n": 50,
}


class Recording:
    """A tracker of a user's own."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        self.calls.append("scalars")

    def event(self, nimg: int, event: Event) -> None:
        self.calls.append("event")

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self.calls.append("images")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture(scope="module")
def watched(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[TrainingEvent], Recording]:
    """A finished run, what its callback was given, and what its tracker was."""
    events: list[TrainingEvent] = []
    tracker = Recording()
    out = tmp_path_factory.mktemp("api") / "run"
    run = ganloom.train(out=out, device="cpu", settings=SETTINGS, trackers=[tracker], callback=events.append)
    return run, events, tracker


@pytest.fixture
def run(watched: tuple[Run, list[TrainingEvent], Recording]) -> Run:
    return watched[0]


def test_a_finished_run_says_so(run: Run) -> None:
    assert (run.status.state, run.status.nimg, run.status.total) == ("finished", 320, 320)
    assert run.status.newest_sample == "samples/000000000320.png"
    assert repr(run) == f"Run({str(run.path)!r}, finished, 320 images)"


def test_models_of_a_run_make_images(run: Run) -> None:
    model = run.model(device="cpu")
    assert torch.equal(model.sample(3, seed=4), run.model(device="cpu").sample(3, seed=4))
    images = model.images(3, seed=4)
    assert all(isinstance(image, Image.Image) and image.size == (32, 32) for image in images)
    assert repr(model) == "Model(dcgan, 32x32 grey, 10 classes, trained with 320 images)"
    assert run.model("best", device="cpu").shape == model.shape


def test_the_history_has_columns_of_one_length(run: Run) -> None:
    history = run.history()
    assert len({len(column) for column in history.values()}) == 1
    assert history["nimg"] == sorted(set(history["nimg"]))  # type: ignore[type-var]
    for name in ("loss_d", "loss_g", "lr_g", "fd[loomnet-1]@100", "guard_auc"):
        assert any(value is not None for value in history[name]), name


def test_a_run_is_given_wherever_its_folder_may(run: Run) -> None:
    assert os.fspath(run) == str(run.path)
    assert ganloom.load(run, device="cpu").header == run.model(device="cpu").header
    assert ganloom.open_run(run).path == run.path


def test_samples_are_found_by_images_seen(run: Run) -> None:
    samples = run.samples()
    assert list(samples) == sorted(samples) and list(samples)[-1] == 320
    assert all(path.is_file() for path in samples.values())


def test_a_notebook_shows_runs_and_models(run: Run) -> None:
    assert "data:image/png" in run._repr_html_() and "finished" in run._repr_html_()
    assert run.model(device="cpu")._repr_png_().startswith(b"\x89PNG")


def test_a_callback_hears_everything(watched: tuple[Run, list[TrainingEvent], Recording]) -> None:
    run, events, _ = watched
    kinds = [event.kind for event in events]
    assert kinds.count("step") == 10
    assert {"log", "samples", "scores", "guard", "saved"} <= set(kinds)
    (first, *_) = [event for event in events if event.kind == "scores"]
    assert first.nimg == 160 and "fd[loomnet-1]@100" in first.values
    assert [event.path for event in events if event.kind == "samples"][-1] == run.folder.newest_sample()


def test_trackers_of_the_user_get_what_the_others_get(watched: tuple[Run, list[TrainingEvent], Recording]) -> None:
    calls = watched[2].calls
    assert calls.count("close") == 1 and calls[-1] == "close"
    assert {"scalars", "images"} <= set(calls)


def test_a_callback_may_stop_a_training_that_resumes_bit_exactly(run: Run, tmp_path: Path) -> None:
    def stop(event: TrainingEvent) -> None:
        if event.nimg == 160 and event.kind == "step":
            event.stop("it is late")

    stopped = ganloom.train(out=tmp_path / "run", device="cpu", settings=SETTINGS, callback=stop)
    assert (stopped.status.state, stopped.status.reason, stopped.status.nimg) == ("stopped", "it is late", 160)
    resumed = ganloom.resume(stopped, device="cpu")
    assert resumed.status.state == "finished"
    assert (resumed.path / "model.safetensors").read_bytes() == (run.path / "model.safetensors").read_bytes()


def test_an_error_in_a_callback_is_the_callers_and_the_run_says_that_it_crashed(tmp_path: Path) -> None:
    def fails(event: TrainingEvent) -> None:
        if event.nimg == 96:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        ganloom.train(out=tmp_path / "run", device="cpu", settings=SETTINGS, callback=fails)
    status = ganloom.open_run(tmp_path / "run").status
    assert status.state == "crashed" and status.reason == "ZeroDivisionError: mine"


def test_the_library_prints_nothing_and_logs(tmp_path: Path, capfd: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ganloom"):
        ganloom.train(out=tmp_path / "quiet", device="cpu", settings={**SETTINGS, "train.length": "64 images"})
    assert any(record.getMessage().startswith("data ") for record in caplog.records)
    assert capfd.readouterr() == ("", "")


def test_verbose_prints_what_the_command_line_prints(tmp_path: Path, capfd: Any) -> None:
    short = {**SETTINGS, "train.length": "64 images"}
    ganloom.train(out=tmp_path / "loud", device="cpu", settings=short, verbose=True)
    assert "data      digits" in capfd.readouterr().out
    assert terminal.log.level == logging.NOTSET and terminal.terminal() is terminal.QUIET


def test_a_library_call_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    tiny = torch.tensor(1e-40)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    environment, random = dict(os.environ), torch.get_rng_state()
    run = ganloom.train(out=tmp_path / "run", device="cpu", settings={**SETTINGS, "train.length": "64 images"})
    run.model(device="cpu").sample(2)
    ganloom.plan("digits", recipe="dcgan-32", device="cpu")
    ganloom.evaluate(run.path, metrics="fd", n=60, device="cpu")
    assert torch.equal(torch.get_rng_state(), random)
    assert tiny.mul(0.5) > 0  # denormal numbers are not flushed
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert dict(os.environ) == environment


def test_a_training_in_a_thread(tmp_path: Path) -> None:
    """Where Python allows no signal handlers."""
    made: list[Run] = []
    short = {**SETTINGS, "train.length": "64 images"}
    thread = threading.Thread(
        target=lambda: made.append(ganloom.train(out=tmp_path / "run", device="cpu", settings=short))
    )
    thread.start()
    thread.join()
    assert made[0].status.state == "finished"


def test_ctrl_c_saves_and_raises_keyboard_interrupt(tmp_path: Path) -> None:
    def press(event: TrainingEvent) -> None:
        if event.nimg == 96 and event.kind == "step":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as interrupted:
        ganloom.train(out=tmp_path / "run", device="cpu", settings=SETTINGS, callback=press)
    assert isinstance(interrupted.value, ganloom.Interrupted) and interrupted.value.signal == signal.SIGINT
    run = ganloom.open_run(tmp_path / "run")
    assert (run.status.state, run.status.reason) == ("stopped", "SIGINT")
    assert run.model(device="cpu").header.training["nimg"] == 96


def test_a_second_ctrl_c_ends_it_at_once_and_the_run_says_so(tmp_path: Path) -> None:
    def press_twice(event: TrainingEvent) -> None:
        if event.nimg == 96 and event.kind == "step":
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as interrupted:
        ganloom.train(out=tmp_path / "run", device="cpu", settings=SETTINGS, callback=press_twice)
    assert not isinstance(interrupted.value, ganloom.Interrupted)
    status = ganloom.open_run(tmp_path / "run").status
    assert (status.state, status.reason) == ("stopped", "SIGINT, without saving")


def test_an_error_before_the_first_step_is_a_crash_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        assert ganloom.open_run(tmp_path / "run").status.state == "running"
        raise ZeroDivisionError("mine")

    monkeypatch.setattr("ganloom.session.session.make_guard", fails)
    with pytest.raises(ZeroDivisionError):
        ganloom.train(out=tmp_path / "run", device="cpu", settings=SETTINGS)
    assert ganloom.open_run(tmp_path / "run").status.state == "crashed"


def test_a_rollback_does_not_close_the_trackers_of_the_user(tmp_path: Path) -> None:
    tracker = Recording()
    stalls = {"guard.every": "300 images", "guard.n": 64, "guard.stalled": "rollback", "optimizer.d.lr": 1e-12}
    run = ganloom.train(out=tmp_path / "run", device="cpu", settings={**TINY, **stalls}, trackers=[tracker])
    assert [change.reason for change in run.folder.changes] == ["stalled"]
    assert tracker.calls.count("close") == 1 and tracker.calls[-1] == "close"


def test_flags_are_settings_in_python(tmp_path: Path) -> None:
    plan = ganloom.plan("digits", batch=8, lr_g=1e-3, beta1=0.0, epochs=3, device="cpu")
    assert plan.config.train.batch == 8 and plan.config.optimizer.g.lr == 1e-3
    assert plan.config.optimizer.d.beta1 == 0 and str(plan.config.train.length) == "3 epochs"
    assert "train.batch" in str(plan) or "batch" in str(plan)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"length": "3 epochs", "epochs": 3}, "give one of them"),
        ({"freeze_d": 1}, "name it with `start`"),
        ({"bacth": 8}, "Did you mean 'batch'"),
    ],
)
def test_wrong_keywords_are_refused_with_the_remedy(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ganloom.train("digits", device="cpu", **flags)


def test_a_plan_is_a_line_and_prints_a_table() -> None:
    plan = ganloom.plan("digits", device="cpu", batch=8)
    assert repr(plan) == "Plan(digits: dcgan, bce, 1 minute; print it for reasons)"
    assert "recipe" in str(plan) and len(str(plan).splitlines()) > 1
    assert "<table>" in plan._repr_html_() and " --" not in str(ganloom.plan("shapes", device="cpu"))


@pytest.mark.parametrize(
    ("given", "words"),
    [({"callback": 3}, "callback must be a function"), ({"trackers": [object()]}, "lacks scalars, event")],
)
def test_what_cannot_be_called_is_refused_before_there_is_a_run(
    given: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        ganloom.train(out=tmp_path / "run", device="cpu", settings=SETTINGS, **given)
    assert not (tmp_path / "run").exists()


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run at"):
        ganloom.open_run(tmp_path)


def test_without_scores_there_is_no_best_model(tmp_path: Path) -> None:
    settings = {**SETTINGS, "evaluate.every": "0 images", "train.length": "64 images"}
    run = ganloom.train(out=tmp_path / "run", device="cpu", settings=settings)
    with pytest.raises(ModelError, match="no best model"):
        run.model("best")
    assert list(run.scores()) == []


# status.json


def test_a_training_that_was_killed_has_died(tmp_path: Path) -> None:
    """Its status still says that it runs; its process is gone."""
    script = f"""
import os, signal, ganloom
def kill(event):
    if event.nimg == 96: os.kill(os.getpid(), signal.SIGKILL)
ganloom.train(out={str(tmp_path / "run")!r}, device="cpu", settings={SETTINGS!r}, callback=kill)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "running"
    assert ganloom.open_run(tmp_path / "run").status.state == "died"


def test_a_status_of_this_process_runs_and_one_of_another_start_has_died(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    assert read_status(path).state == "unknown"
    write_status(path, Status(state="running", nimg=5))
    assert read_status(path).state == "running"
    values = json.loads(path.read_text())
    if values["process_start"] is not None:  # the pid was given to a later process
        path.write_text(json.dumps({**values, "process_start": values["process_start"] - 1}))
        assert read_status(path).state == "died"
    path.write_text(json.dumps({**values, "host": "elsewhere", "pid": 2**22 + 1}))
    assert read_status(path).state == "running"  # nobody can tell from here
    path.write_text(json.dumps({**values, "a_later_field": 1}))
    assert read_status(path).nimg == 5
    path.write_text("{")
    assert read_status(path).state == "unknown"
