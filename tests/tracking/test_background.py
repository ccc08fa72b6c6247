"""A tracker that hangs neither stops nor delays a training, nor keeps it alive."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganloom
from comparison import assert_same_run
from conftest import tiny_config, tiny_flags
from ganloom.tracking import Event, Trackers, background, wandb
from ganloom.tracking.background import BackgroundTracker
from ganloom.tracking.jsonl import read_log

PICTURE = torch.zeros(1, 8, 8, dtype=torch.uint8)
EVENT = Event("collapse", "mode collapse", {"spread": 0.01})
METHODS = ("__init__", "scalars", "event", "images", "close")
SECONDS = 120.0  # enough for anything here, unless it hangs


class Slow:
    """Records every call, but hangs in one method until it is let go."""

    url, kept = None, "run/wandb/*run-*-1"

    def __init__(self, hangs_in: str | None, let_go: threading.Event) -> None:
        self.hangs_in, self.let_go = hangs_in, let_go
        self.calls: list[tuple[str, int]] = []
        self._call("__init__", 0)

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        self._call("scalars", nimg)

    def event(self, nimg: int, event: Event) -> None:
        self._call("event", nimg)

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self._call("images", nimg)

    def close(self) -> None:
        self._call("close", 0)

    def _call(self, method: str, nimg: int) -> None:
        if method == self.hangs_in:
            self.let_go.wait()
        self.calls.append((method, nimg))


@pytest.fixture
def let_go(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Lets everything go on after the test; until then waits are short."""
    monkeypatch.setattr(background, "CLOSE_SECONDS", 0.2)
    event = threading.Event()
    yield event
    event.set()


def remedy(tracker: Slow | None) -> str:
    return "nothing is kept" if tracker is None else f"send {tracker.kept}"


def nothing(tracker: Slow) -> None:
    """Do nothing once the tracker is made."""


@pytest.mark.parametrize("method", METHODS)
def test_one_that_hangs_is_reported_once_with_the_remedy(
    method: str, let_go: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    made = threading.Event()
    trackers = Trackers([BackgroundTracker(lambda: Slow(method, let_go), lambda tracker: made.set(), remedy)])
    assert method == "__init__" or made.wait(SECONDS)
    trackers.scalars(32, {"loss_d": 1.0})
    trackers.event(32, EVENT)
    trackers.images(32, "samples", PICTURE)
    assert not caplog.messages
    trackers.close()
    trackers.close()
    (warning,) = caplog.messages
    assert "no answer" in warning and ("nothing is kept" if method == "__init__" else "send run/wandb/") in warning


def test_all_is_passed_on_in_order_before_close_returns(
    let_go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "CLOSE_SECONDS", SECONDS)
    made: list[Slow] = []
    tracker = BackgroundTracker(lambda: Slow("scalars", let_go), made.append, remedy)
    threading.Timer(0.2, let_go.set).start()  # behind by all of it when close is called
    for nimg in range(100):
        tracker.scalars(nimg, {})
    tracker.images(100, "samples", PICTURE)
    tracker.event(101, EVENT)
    tracker.close()
    rows = [("scalars", nimg) for nimg in range(100)]
    assert made[0].calls == [("__init__", 0), *rows, ("images", 100), ("event", 101), ("close", 0)]


@pytest.mark.parametrize("error", [OSError("unreachable"), SystemExit("bye"), KeyboardInterrupt("wandb")])
def test_what_it_raises_is_reported_at_the_next_call(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """Also what would end the process if the training's own thread raised it."""

    def make() -> Slow:
        raise error

    tracker = BackgroundTracker(make, nothing, remedy)
    tracker._thread.join(SECONDS)
    trackers = Trackers([tracker])
    trackers.scalars(32, {})
    trackers.close()
    (warning,) = caplog.messages
    assert str(error) in warning and "nothing is kept" in warning


def test_calls_that_wait_do_not_fill_the_memory(let_go: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MAX_QUEUED_CALLS", 3)
    tracker = BackgroundTracker(lambda: Slow("__init__", let_go), nothing, remedy)
    for nimg in range(3):
        tracker.scalars(nimg, {})
    with pytest.raises(RuntimeError, match="3 calls wait; nothing is kept"):
        tracker.scalars(4, {})


def test_one_that_is_given_up_logs_nothing_more(let_go: threading.Event) -> None:
    made: list[Slow] = []
    tracker = BackgroundTracker(lambda: Slow("__init__", let_go), made.append, remedy)
    with pytest.raises(RuntimeError, match="no answer"):
        tracker.close()
    let_go.set()
    tracker._thread.join(SECONDS)
    assert not tracker._thread.is_alive() and not made


def settings(**changes: Any) -> dict[str, Any]:
    return tiny_config(train__length="320 images", **changes).model_dump(mode="json")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training without the tracker."""
    return ganloom.train(out=tmp_path_factory.mktemp("alone") / "run", device="cpu", settings=settings()).path


@pytest.mark.slow
@pytest.mark.parametrize("method", ["__init__", "scalars", "images", "close"])
def test_a_training_is_the_same_whatever_its_tracker_hangs_in(
    method: str,
    alone: Path,
    tmp_path: Path,
    let_go: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(wandb, "_Client", lambda folder, given: Slow(method, let_go))
    run = ganloom.train(out=tmp_path / "run", device="cpu", settings=settings(trackers__wandb={"mode": "online"}))
    assert_same_run(run.path, alone)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "WeightsAndBiases" in warning
    assert ("trackers.wandb.mode=offline" if method == "__init__" else "wandb sync run/wandb/") in warning


def history(file: Path) -> list[dict[str, Any]]:
    """The rows in a file of W&B's: its own messages, in the log format of LevelDB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, parts, rows = file.read_bytes(), 7, b"", []  # after the file's own header
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # no room for a header: the rest of the block is empty
            at += 32768 - at % 32768
            continue
        size, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        parts += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record, parts = Record.FromString(parts), b""
            if record.HasField("history"):
                rows.append(
                    {
                        "/".join([item.key, *item.nested_key]).strip("/"): json.loads(item.value_json)
                        for item in record.history.item
                    }
                )
    return rows


PROGRAM = """
from ganloom.tracking import wandb
wandb.INIT_SECONDS = 3.0
from ganloom.cli import main
main()
"""


def trained(run: Path, mode: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A whole process: W&B's hook at its exit belongs to what is tested, and writes the last of a file."""
    flags = tiny_flags(train__length="320 images", trackers__wandb__mode=mode)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "train", "--out", run, "--device", "cpu", *flags],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=900,
    )


@pytest.mark.slow
def test_offline_the_real_client_has_every_row_and_picture(tmp_path: Path) -> None:
    done = trained(tmp_path / "run", "offline")
    assert done.returncode == 0, done.stderr
    assert "wandb     offline" in done.stdout and "warning" not in done.stdout
    (file,) = tmp_path.glob("run/wandb/offline-run-*/*.wandb")
    rows, names = history(file), {"nimg": "nimg", "loss_d": "loss/d", "loss_g": "loss/g"}
    logged = [{key: row[key] for key in names} for row in read_log(tmp_path / "run" / "log.jsonl")]
    assert [{key: row[name] for key, name in names.items()} for row in rows if "loss/d" in row] == logged
    pictures = [int(path.stem) for path in sorted(tmp_path.glob("run/samples/0*.png"))]
    assert [row["nimg"] for row in rows if any(key.startswith("images/generated") for key in row)] == pictures


@pytest.mark.slow
@pytest.mark.parametrize("listens", [False, True], ids=["nobody listens", "nobody answers"])
def test_the_real_client_without_its_server_lets_the_process_end_well(listens: bool, tmp_path: Path) -> None:
    """Measured with its 30 s: 38 s where nobody listens, 50 s where nobody answers; the steps wait for neither."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen(64)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = trained(tmp_path / "run", "online", WANDB_API_KEY="0123456789" * 4, WANDB_BASE_URL=url)
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stdout.splitlines() if line.startswith("warning")]
    assert "WeightsAndBiases" in warning and "trackers.wandb.mode=offline" in warning
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["nimg"] == 320
    assert "model.safetensors" in done.stdout and "Traceback" not in done.stderr
