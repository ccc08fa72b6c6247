"""Trackers: what they write, and that none of them stops a training."""

import json
import logging
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console as Terminal
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

import ganloom
from conftest import tiny_config
from ganloom.core import phases
from ganloom.core.errors import ConfigError, StorageError
from ganloom.core.terminal import shown_on
from ganloom.tracking import Event, Trackers
from ganloom.tracking.console import Console
from ganloom.tracking.groups import grouped
from ganloom.tracking.jsonl import Jsonl, read_log
from ganloom.tracking.tensorboard import TensorBoard
from ganloom.tracking.wandb import WeightsAndBiases

ROW = {
    "loss_d": 1.25, "loss_g": 2.0, "d_real": 0.5, "d_fake_before": 0.25, "d_fake_after": 0.75,
    "seconds": 10.0, "images_per_second": 100.0,
}  # fmt: skip
PICTURE = torch.zeros(1, 8, 8, dtype=torch.uint8)


class Failing:
    """Fails in every way a tracker can."""

    def __init__(self, error: Exception) -> None:
        self.error, self.calls = error, 0

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        self.calls += 1
        raise self.error

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self.calls += 1
        raise self.error

    def close(self) -> None:
        self.calls += 1
        raise self.error


def test_a_tracker_that_fails_is_reported_once_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    failing, log = Failing(RuntimeError("no network")), Jsonl(tmp_path / "log.jsonl", 0)
    trackers = Trackers([failing, log])
    for nimg in (32, 64):
        trackers.scalars(nimg, ROW)
    trackers.images(64, "samples", PICTURE)
    trackers.close()
    (warning,) = caplog.messages
    assert failing.calls == 1 and "no network" in warning
    assert [row["nimg"] for row in read_log(tmp_path / "log.jsonl")] == [32, 64]


def test_a_full_disk_is_passed_on() -> None:
    with pytest.raises(StorageError):
        Trackers([Failing(StorageError("full"))]).scalars(0, ROW)


def test_the_log_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Jsonl(path, 0)
    for nimg in (100, 200, 300):
        log.scalars(nimg, ROW)
    log.close()
    with open(path, "a") as file:
        file.write('{"nimg": 400, "loss_d": 1.')  # cut off by a kill
    Jsonl(path, 200).close()
    assert [row["nimg"] for row in read_log(path)] == [100, 200]


def test_the_log_stays_json_when_a_loss_is_not_a_number(tmp_path: Path) -> None:
    log = Jsonl(tmp_path / "log.jsonl", 0)
    log.scalars(1, {"loss_d": float("nan")})
    log.close()
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"nimg": 1, "loss_d": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    ['{"nimg": "x"}', '{"nimg": null}', '{"nimg": true}', "[1]", "[" * 5000, f'{{"nimg": {"9" * 5000}}}', "{"],
    ids=["text", "null", "true", "list", "deep", "thousands of digits", "cut off"],
)
def test_a_log_is_read_up_to_the_first_line_that_is_no_row(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"nimg": 10, "loss_d": null}}\n{line}\n{{"nimg": 20}}\n')
    assert read_log(path) == [{"nimg": 10, "loss_d": None}]


def test_tensorboard_has_scalars_and_images_over_the_image_count(tmp_path: Path) -> None:
    run = ganloom.train(out=tmp_path / "run", device="cpu", settings=settings(trackers__tensorboard=True))
    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"images": 0}).Reload()
    logged = read_log(run.folder.log)
    assert [scalar.step for scalar in events.Scalars("loss/d")] == [row["nimg"] for row in logged]
    assert [scalar.value for scalar in events.Scalars("loss/g")] == pytest.approx([row["loss_g"] for row in logged])
    assert {"loss/d", "d/real", "d/fake_before", "lr/g", "update/d", "progress/epoch"} <= set(events.Tags()["scalars"])
    assert not [tag for tag in events.Tags()["scalars"] if "/" not in tag]
    assert [image.step for image in events.Images("images/generated")][-1] == 320
    assert [image.step for image in events.Images("images/real")] == [0]
    (about,) = events.Tensors("run/text_summary")
    assert run.path.name.encode() in about.tensor_proto.string_val[0]


def test_the_real_images_and_the_name_of_the_run_are_sent_once(tmp_path: Path) -> None:
    """Also if a run is resumed."""
    run = ganloom.train(out=tmp_path / "run", device="cpu", settings=settings(trackers__tensorboard=True))
    ganloom.resume(run.path, length="480 images", device="cpu")
    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"images": 0}).Reload()
    assert len(events.Images("images/real")) == len(events.Tensors("run/text_summary")) == 1


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("loss_d", "loss/d"), ("d_fake_before", "d/fake_before"), ("guard_gap_auc", "guard/gap_auc"),
        ("penalty_r1", "penalty/r1"), ("lr_g", "lr/g"), ("augment_p", "augment/p"), ("seconds", "progress/seconds"),
        ("fd[loomnet-1]@2000", "scores/fd[loomnet-1]@2000"), ("mine", "mine"), ("my_own", "my_own"),
    ],
)  # fmt: skip
def test_numbers_of_a_kind_have_one_group(name: str, group: str) -> None:
    assert grouped(name) == group


def test_tensorboard_purges_all_when_a_run_begins_again(tmp_path: Path) -> None:
    for _ in range(2):
        tracker = TensorBoard(tmp_path, 0)
        tracker.scalars(100, {"loss_d": 1.0})
        tracker.close()
    assert len(EventAccumulator(str(tmp_path)).Reload().Scalars("loss/d")) == 1


def test_tensorboard_purges_what_a_resumed_run_repeats(tmp_path: Path) -> None:
    first = TensorBoard(tmp_path, 0)
    for nimg in (100, 200, 300):
        first.scalars(nimg, {"loss_d": 1.0})
    first.close()
    second = TensorBoard(tmp_path, 200)
    second.scalars(300, {"loss_d": 2.0})
    second.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(scalar.step, scalar.value) for scalar in events.Scalars("loss/d")] == [(100, 1.0), (200, 1.0), (300, 2.0)]


def test_tensorboard_reads_in_the_order_of_writing_whatever_the_clock_was_set_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back, back before all, a little forward, back again, and far forward."""
    for nimg, seconds in enumerate((9000.0, 5000.0, 100.0, 200.0, 150.0, 20000.0)):
        monkeypatch.setattr("time.time", lambda now=seconds: now)
        tracker = TensorBoard(tmp_path, nimg)
        tracker.scalars(nimg + 1, {"loss_d": 1.0})
        tracker.close()
        scalars = EventAccumulator(str(tmp_path)).Reload().Scalars("loss/d")
        assert [scalar.step for scalar in scalars] == list(range(1, nimg + 2))


def settings(**changes: Any) -> dict[str, Any]:
    return tiny_config(train__length="320 images", **changes).model_dump(mode="json")


class FakeWandb:
    """Records what a W&B client would be sent."""

    __spec__ = ModuleSpec("wandb", None, origin="a test")  # what importlib looks for

    def __init__(self) -> None:
        self.inits: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []
        self.finished = 0

    def init(self, **options: Any) -> SimpleNamespace:
        self.inits.append(options)
        return SimpleNamespace(
            url="https://example/run",
            log=self.logged.append,
            alert=lambda **alert: self.alerts.append(alert),
            finish=self.finish,
            define_metric=lambda *a, **k: None,
        )

    def finish(self) -> None:
        self.finished += 1

    def setup(self, settings: dict[str, Any]) -> None:
        assert settings == {"silent": True}

    def Settings(self, **options: Any) -> dict[str, Any]:
        return options

    def Image(self, array: Any) -> Any:
        return array


@pytest.mark.slow
def test_wandb_gets_losses_images_and_configuration_and_resumes_into_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", client)
    wandb = {"mode": "online", "project": "mine"}
    run = ganloom.train(out=tmp_path / "run", device="cpu", settings=settings(trackers__wandb=wandb))
    ganloom.resume(run.path, length="480 images", device="cpu")
    first, second = client.inits
    assert first["id"] == second["id"] and first["resume"] == "allow" and first["project"] == "mine"
    assert first["config"]["train"]["batch"] == 32 and first["mode"] == "online"
    assert client.finished == 2
    assert any("loss/d" in row for row in client.logged)
    for name in ("images/generated", "images/real"):
        assert any(name in row and row[name].ndim == 3 for row in client.logged)
    assert max(row["nimg"] for row in client.logged) == 480


@pytest.mark.slow
def test_wandb_that_cannot_start_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = FakeWandb()
    monkeypatch.setattr(client, "init", lambda **options: (_ for _ in ()).throw(OSError("unreachable")))
    monkeypatch.setitem(sys.modules, "wandb", client)
    run = ganloom.train(out=tmp_path / "run", device="cpu", settings=settings(trackers__wandb={"mode": "online"}))
    assert read_log(run.folder.log)[-1]["nimg"] == 320
    assert "unreachable" in caplog.text


def test_wandb_not_installed_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="pip install"):
        ganloom.train(out=tmp_path / "run", device="cpu", settings=settings(trackers__wandb={"mode": "offline"}))


def test_wandb_gets_events_as_numbers_and_as_alerts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", client)
    tracker = WeightsAndBiases(tmp_path, mode="online", project="mine", id="1", name="run", config={})
    tracker.event(32, Event("mode collapse", "the same few images", {"spread": 0.1}))
    tracker.close()
    assert client.logged == [{"nimg": 32, "mode collapse/spread": 0.1}]
    assert client.alerts == [{"title": "mode collapse", "text": "the same few images"}]


def test_wandb_offline_says_where_the_files_are_and_how_to_upload_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    client, init = FakeWandb(), FakeWandb.init
    without_url = {"url": None}
    monkeypatch.setattr(client, "init", lambda **given: SimpleNamespace(**(vars(init(client, **given)) | without_url)))
    monkeypatch.setitem(sys.modules, "wandb", client)
    WeightsAndBiases(tmp_path, mode="offline", project="mine", id="17", name="run", config={}).close()
    (line,) = caplog.messages
    assert str(tmp_path / "wandb") in line and f"wandb sync {tmp_path}/wandb/*run-*-17" in line


def console(total: int = 1000) -> Console:
    return Console(total, None, lambda nimg: Path(f"run/samples/{nimg}.png"))


def test_without_a_terminal_the_log_gets_plain_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    tracker = console()
    tracker.scalars(500, ROW)
    tracker.scalars(1000, ROW)
    tracker.close()
    first, _ = caplog.messages
    for part in (
        "0.5 / 1.0 kimg",
        "100 img/s",
        "0:00:05 left",
        "Loss_D 1.250",
        "Loss_G 2.000",
        "D(x) 0.500",
        "D(G(z)) 0.250 -> 0.750",
    ):
        assert part in first


def test_every_tracker_gets_an_event(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a row of log.jsonl with its numbers, as text in TensorBoard, as a sentence from the console."""
    caplog.set_level(logging.INFO, "ganloom")
    event = Event("collapse", "mode collapse: the generator makes the same few images.", {"spread": 0.01})
    shown = console()
    trackers = Trackers([Jsonl(tmp_path / "log.jsonl", 0), TensorBoard(tmp_path / "tb", 0), shown])
    trackers.event(500, event)
    trackers.close()
    (row,) = read_log(tmp_path / "log.jsonl")
    assert row == {"nimg": 500, "event": "collapse", "text": event.text, "spread": 0.01}
    assert "at 500 images: mode collapse: the generator makes the same few images." in caplog.text
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    (text,) = events.Tensors("collapse/text_summary")
    assert text.step == 500 and b"the same few images" in text.tensor_proto.string_val[0]


def test_the_console_does_not_show_the_guards_numbers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    tracker = console()
    tracker.scalars(500, {"guard_auc": 0.9})
    tracker.close()
    assert not caplog.messages


def test_a_terminal_shows_the_losses_and_the_newest_pictures() -> None:
    output = StringIO()
    with shown_on(Terminal(file=output, force_terminal=True, width=160)):
        tracker = console()
        tracker.images(400, "samples", PICTURE)
        tracker.scalars(500, ROW)
        tracker.advance(500, 10.0, 100.0)
        phases.WATCH.tick()
        tracker.close()
    for part in ("run/samples/400.png", "Loss_D 1.250", "100 img/s"):
        assert part in output.getvalue()


def test_all_trackers_are_closed_even_if_the_disk_is_full_for_one() -> None:
    closed = []

    class Full:
        def close(self) -> None:
            raise StorageError("no room left")

    class Other:
        def close(self) -> None:
            closed.append(self)

    with pytest.raises(StorageError, match="no room left"):
        Trackers([Full(), Other()]).close()  # type: ignore[list-item]
    assert len(closed) == 1
