"""One process or many: the same training."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from worker import SETTINGS

from comparison import log_of
from conftest import tiny_flags
from ganloom.core import distributed

TESTS = Path(__file__).parent.parent
TOLERANCE = 1e-8


def train_in(processes: int, out: Path, *names: str) -> None:
    """By the settings of those names in worker.py, one after the other: starting a process takes longer."""
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(distributed._free_port()),
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
    flags = tiny_flags(**{"train.length": "320 images", "train.micro_batch": 16})
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
