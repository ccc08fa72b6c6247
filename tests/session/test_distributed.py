"""One process or many: the same training."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from worker import SETTINGS

import ganloom
from comparison import assert_same_run, log_of
from conftest import tiny_config, tiny_flags
from ganloom.core import distributed
from ganloom.runs import open_folder

TESTS = Path(__file__).parent.parent
TOLERANCE = 1e-8


def train_in(processes: int, out: Path, *names: str) -> None:
    """By the settings of those names in worker.py, one after the other: starting a process takes longer."""
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", str(TESTS / "training" / "worker.py"), str(out), *names],
            env={**shared, "RANK": str(rank)},
        )
        for rank in range(processes)
    ]
    try:
        assert [worker.wait(200) for worker in workers] == [0] * processes
    finally:
        for worker in workers:
            worker.kill()  # one that failed leaves the others waiting for it
            worker.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def result(out: Path, name: str, rank: int = 0) -> dict[str, torch.Tensor]:
    return load_file(f"{out}.{name}.{rank}.safetensors")


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().nan_to_num().max()) for name in one if one[name].numel())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of every setting."""
    out = tmp_path_factory.mktemp("alone") / "one"
    train_in(1, out, *SETTINGS)
    return out


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two make of it."""
    out = tmp_path_factory.mktemp("together") / "two"
    train_in(2, out, *SETTINGS)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_train_the_same_network_as_one(alone: Path, together: Path, name: str) -> None:
    """With accumulation and uneven shares, in float64: weights, averages, moments, statistics."""
    one, first, second = result(alone, name), result(together, name), result(together, name, 1)
    assert torch.float32 not in {tensor.dtype for place, tensor in one.items() if place.startswith(("G/", "D/"))}
    assert largest_difference(first, second) == 0, "the processes have drifted apart"
    assert largest_difference(one, first) < TOLERANCE


@pytest.mark.slow
def test_more_processes_than_micro_batches(alone: Path, tmp_path: Path) -> None:
    """A process with nothing to do; layers that are not in use yet."""
    names = ("r1", "growing")
    train_in(5, tmp_path / "five", *names)
    for name in names:
        assert largest_difference(result(alone, name), result(tmp_path / "five", name, 4)) < TOLERANCE


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ganloom", *arguments]


@pytest.mark.slow
def test_the_command_line_trains_in_two_processes(tmp_path: Path) -> None:
    slow = {"optimizer.g.lr": 2e-4, "optimizer.d.lr": 2e-4}  # at high rates the last bits soon tell
    flags = tiny_flags(**{"train.length": "320 images", "train.micro_batch": 16}, **slow)
    logs = {}
    for processes in ("1", "2"):
        out = tmp_path / processes
        done = subprocess.run(
            command("train", *flags, "--processes", processes, "--device", "cpu", "--out", str(out)),
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("recipe") == 1, "every process spoke"
        logs[processes] = log_of(out)
    for alone, together in zip(logs["1"], logs["2"], strict=True):
        assert alone == pytest.approx(together, rel=1e-2, abs=1e-3)
    resumed = subprocess.run(
        command("resume", str(tmp_path / "1"), "--length", "640 images", "--processes=2", "--device", "cpu"),
        capture_output=True, text=True,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert log_of(tmp_path / "1")[-1]["nimg"] == 640


@pytest.mark.slow
def test_an_error_in_several_processes_is_said_once_with_exit_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        command("train", str(tmp_path / "nothing.npz"), "--processes", "2"), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1 and "Traceback" not in done.stderr


@pytest.mark.slow
def test_sigterm_ends_all_processes_with_a_saved_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = [*tiny_flags(**{"train.length": "100 kimg"}), "--processes", "2", "--device", "cpu", "--out", str(out)]
    process = subprocess.Popen(command("train", *flags), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while process.poll() is None and not ((out / "log.jsonl").exists() and (out / "log.jsonl").stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "ganloom resume" in output and "Traceback" not in output
    assert list((out / "checkpoints").glob("*.json"))


def wait_for_a_checkpoint(out: Path, process: "subprocess.Popen[str]") -> None:
    while process.poll() is None and not list(out.glob("checkpoints/*.json")):
        time.sleep(0.05)


def kill_one_of(process: "subprocess.Popen[str]", place: int) -> None:
    """One of the processes that were started by it, by SIGKILL."""
    started = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(started[place]), signal.SIGKILL)


linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the processes that a process has started")


@linux
@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1])
def test_a_killed_process_ends_all_with_one_message(tmp_path: Path, place: int) -> None:
    out = tmp_path / "run"
    flags = [*tiny_flags(**{"train.length": "100 kimg"}), "--processes", "2", "--device", "cpu", "--out", str(out)]
    process = subprocess.Popen(command("train", *flags), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for_a_checkpoint(out, process)
    kill_one_of(process, place)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGKILL, output
    assert output.count("error:") == 1 and "another process of this training has ended" in output
    assert "ganloom resume" in output and "Traceback" not in output


@linux
@pytest.mark.slow
def test_torchrun_goes_on_by_itself(tmp_path: Path) -> None:
    """A process is killed, all are started anew by the same command, and the end is that of a run left alone."""
    flags = [*tiny_flags(**{"train.length": "20 kimg"}), "--device", "cpu"]
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--nproc-per-node=2", "--monitor-interval=0.2"]
    run, alone = tmp_path / "run", tmp_path / "alone"
    started = [*torchrun, "--max-restarts=1", "-m", "ganloom", "train", *flags, "--out", str(run)]
    process = subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for_a_checkpoint(run, process)
    kill_one_of(process, 1)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert "going on from" in output and output.count("error:") == 1
    done = subprocess.run(
        command("train", *flags, "--processes=2", "--out", str(alone)), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert_same_run(run, alone)


@pytest.mark.slow
def test_torchrun_does_not_take_another_run_for_its_own(tmp_path: Path) -> None:
    """There is one already at that place: the command fails, and fails again when it is started anew."""
    out = tmp_path / "run"
    ganloom.train(out=out, device="cpu", settings=tiny_config(train__length="64 images").model_dump(mode="json"))
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--nproc-per-node=1", "--monitor-interval=0.2"]
    started = [*torchrun, "--max-restarts=1", "-m", "ganloom", "train", *tiny_flags(), "--out", str(out)]
    done = subprocess.run(started, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr.count("there is a run at") == 2
    assert log_of(out)[-1]["nimg"] == 64


@pytest.mark.slow
def test_torchrun_leaves_alone_what_the_guard_has_stopped(tmp_path: Path) -> None:
    """For torchrun that is a failure like any other: what it starts anew says the same and ends."""
    out = tmp_path / "run"
    guard = {"guard.every": "300 images", "guard.n": 64, "guard.stalled": "stop", "optimizer.d.lr": 1e-12}
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--nproc-per-node=1", "--monitor-interval=0.2"]
    started = [*torchrun, "--max-restarts=1", "-m", "ganloom", "train", *tiny_flags(**guard), "--out", str(out)]
    done = subprocess.run(started, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr.count("the guard has stopped the training at 608 images") == 2
    assert log_of(out)[-1]["nimg"] == 608


@linux
@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """Killed itself, it can end nobody; they save, and leave the folder free."""
    out = tmp_path / "run"
    flags = [*tiny_flags(**{"train.length": "100 kimg"}), "--processes", "2", "--device", "cpu", "--out", str(out)]
    process = subprocess.Popen(command("train", *flags), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for_a_checkpoint(out, process)
    process.kill()
    output, _ = process.communicate(timeout=120)  # until the last of them has closed it
    assert "go on with: ganloom resume" in output and "Traceback" not in output
    with open_folder(out).alone():
        pass


@pytest.mark.slow
def test_two_trainings_of_several_processes_in_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    ganloom.train(out=out, device="cpu", settings=tiny_config(train__length="64 images").model_dump(mode="json"))
    with open_folder(out).alone():
        done = subprocess.run(
            command("resume", str(out), "--length", "128 images", "--processes", "2", "--device", "cpu"),
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("error:") == 1
    assert "another training is going on" in done.stderr


@pytest.mark.slow
def test_the_guard_goes_back_in_all_processes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    guard = {"guard.every": "300 images", "guard.n": 64, "guard.stalled": "rollback", "optimizer.d.lr": 1e-12}
    flags = [*tiny_flags(**guard), "--processes", "2", "--device", "cpu", "--out", str(out)]
    done = subprocess.run(command("train", *flags), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    run = open_folder(out)
    assert [change.reason for change in run.changes] == ["stalled"]
    assert run.config.optimizer.d.lr == run.config.optimizer.g.lr
    assert done.stdout.count("Gone back from") == 1 and log_of(out)[-1]["nimg"] == 960


def test_a_dead_process_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import os, sys, time\n"
        "if os.environ['RANK'] == '1': sys.exit(7)\n"
        "time.sleep(600)\n"
    )  # fmt: skip
    ordinary = subprocess.Popen

    def popen(arguments: list[str], **options: object) -> "subprocess.Popen[bytes]":
        return ordinary([sys.executable, "-c", script], **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(subprocess, "Popen", popen)
    assert distributed.launch(2, []) == 7


def test_shares_are_every_micro_batch_once() -> None:
    for size in (1, 2, 3, 7):
        shares = [list(distributed.World(rank, size).share(5)) for rank in range(size)]
        assert sorted(index for share in shares for index in share) == [0, 1, 2, 3, 4]
