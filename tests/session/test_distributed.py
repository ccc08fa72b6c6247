"""One process or several: the same training, and a plain end whatever happens to one of them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from worker import SETTINGS

import ganloom
from comparison import assert_same_run, log_of
from conftest import tiny_config, tiny_flags
from ganloom.config import parse_override
from ganloom.core import distributed
from ganloom.runs import open_folder

# No process here is waited for with a limit of its own: a busy machine takes as long as it takes.
pytestmark = pytest.mark.timeout(1800)

TESTS = Path(__file__).parent.parent
TOLERANCE = 1e-8


def start_workers(processes: int, out: Path, *names: str) -> "list[subprocess.Popen[bytes]]":
    """Train by the settings of those names in worker.py, one after the other: starting a process takes longer."""
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    return [
        subprocess.Popen(
            [sys.executable, "-W", "error", str(Path(__file__).with_name("worker.py")), str(out), *names],
            env={**shared, "RANK": str(rank)},
        )
        for rank in range(processes)
    ]


def wait_for(workers: "list[subprocess.Popen[bytes]]") -> None:
    try:
        for worker in workers:
            assert worker.wait() == 0
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
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process ("one") and two ("two") make of every setting, at the same time: one alone leaves cores idle."""
    folder = tmp_path_factory.mktemp("trained")
    wait_for([*start_workers(1, folder / "one", *SETTINGS), *start_workers(2, folder / "two", *SETTINGS)])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_train_the_same_network_as_one(trained: Path, name: str) -> None:
    """With accumulation and uneven shares, in float64: weights, averages, moments, statistics."""
    one, first, second = (
        result(trained / "one", name),
        result(trained / "two", name),
        result(trained / "two", name, 1),
    )
    assert torch.float32 not in {tensor.dtype for place, tensor in one.items() if place.startswith(("G/", "D/"))}
    assert largest_difference(first, second) == 0, "the processes have drifted apart"
    assert largest_difference(one, first) < TOLERANCE


@pytest.mark.slow
def test_more_processes_than_micro_batches(trained: Path, tmp_path: Path) -> None:
    """A process with nothing to do; layers that are not in use yet."""
    names = ("r1, two micro-batches", "growing, two micro-batches")
    wait_for(start_workers(3, tmp_path / "three", *names))
    for name in names:
        assert largest_difference(result(trained / "one", name), result(tmp_path / "three", name, 2)) < TOLERANCE


# A loss like the built-in one. Once there is a checkpoint, the process of rank RANK sends SIGNAL to itself ("self"), to
# the process that started it ("launcher"), or to that one's group ("group"), as a terminal does: always after the same
# number of steps, on a machine of any speed. Processes that were restarted send nothing.
SIGNALLING_LOSS = """
import os
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from ganloom.objectives import Loss

rank, number, target, run = os.environ.get("SEND", "none 0 self .").split(" ", 3)
sends = os.environ.get("RANK") == rank and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"


def loss() -> Loss:
    def d(real: Tensor, fake: Tensor) -> Tensor:
        global sends
        if sends and list(Path(run).glob("checkpoints/*.json")):
            sends = False
            if target == "group":
                os.killpg(os.getppid(), int(number))
            else:
                os.kill(os.getpid() if target == "self" else os.getppid(), int(number))
        return F.softplus(-real) + F.softplus(fake)

    return Loss(d, lambda fake: F.softplus(-fake))
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ganloom", *arguments]


def run_to_the_end(arguments: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    """Returns once every process that holds the output has ended. If this test ends sooner, all of them are killed."""
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(arguments, process.returncode, output)


def train_and_send(out: Path, rank: int, number: signal.Signals, target: str) -> "subprocess.CompletedProcess[str]":
    """Train in two processes until rank `rank` sends the signal."""
    loss = out.with_name("loss.py")
    loss.write_text(SIGNALLING_LOSS)
    flags = [*tiny_flags(**{"train.length": "100 kimg", "loss": loss}), "--device", "cpu", "--out", str(out)]
    send = f"{rank} {int(number)} {target} {out}"
    return run_to_the_end(command("train", *flags, "--processes", "2"), SEND=send)


SENT = [
    (signal.SIGTERM, "launcher"),
    (signal.SIGINT, "group"),  # Ctrl-C in a terminal
    (signal.SIGTERM, "self"),  # to the second process alone
]
unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")


class InTwo(NamedTuple):
    """A training by the command line, in two processes."""

    flags: list[str]
    run: Path
    done: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module")
def in_two(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> InTwo:
    folder = tmp_path_factory.mktemp("in_two")
    (folder / "loss.py").write_text(SIGNALLING_LOSS)
    slow = {"optimizer.g.lr": 2e-4, "optimizer.d.lr": 2e-4}  # at high rates the last bits soon show
    short = {"train.length": "320 images", "train.micro_batch": 16, "loss": folder / "loss.py"}
    flags = [*tiny_flags(**short, **slow), "--device=cpu"]
    done = run_to_the_end(command("train", *flags, "--processes=2", "--out", str(folder / "run")))
    assert done.returncode == 0, done.stdout
    return InTwo(flags, folder / "run", done)


@pytest.mark.slow
def test_the_command_line_trains_in_two_processes(in_two: InTwo, tmp_path: Path) -> None:
    one = tmp_path / "one"
    settings = [parse_override(flag) for flag in in_two.flags if "=" in flag and not flag.startswith("--")]
    ganloom.train(out=one, device="cpu", settings=dict(settings))
    assert in_two.done.stdout.count("recipe") == 1, "every process wrote to the terminal"
    for alone, together in zip(log_of(one), log_of(in_two.run), strict=True):
        assert alone == pytest.approx(together, rel=1e-2, abs=1e-3)
    resumed = run_to_the_end(command("resume", str(one), "--length=640 images", "--processes=2", "--device=cpu"))
    assert resumed.returncode == 0, resumed.stdout
    assert log_of(one)[-1]["nimg"] == 640


@pytest.mark.slow
def test_an_error_in_several_processes_is_printed_once_with_exit_code_2(tmp_path: Path) -> None:
    done = run_to_the_end(command("train", str(tmp_path / "nothing.npz"), "--processes", "2"))
    assert done.returncode == 2
    assert done.stdout.count("error:") == 1 and "Traceback" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("what", ["images", "settings (optimizer)"])
def test_processes_that_do_not_train_the_same_are_refused(tmp_path: Path, what: str) -> None:
    """Each was started by hand, on a machine of its own: they would train on, and their weights drift apart."""
    for rank in range(2):
        np.save(tmp_path / f"{rank}.npy", np.full((60, 8, 8), 50 * rank + np.arange(60)[:, None, None], np.uint8))
    flags = [*tiny_flags(train__length="64 images"), "--device=cpu", f"--out={tmp_path / 'run'}"]
    other = [] if what == "images" else ["--lr-g=0.01"]
    more = [[str(tmp_path / "0.npy")], [str(tmp_path / f"{int(what == 'images')}.npy"), *other]]
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [
        subprocess.Popen(
            command("train", *more[rank], *flags), env={**shared, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    said = [each.communicate()[1] for each in started]
    assert [each.returncode for each in started] == [2, 2]
    assert f"the processes of this training have different {what}: start all of them" in said[0]
    assert not (tmp_path / "run").exists()


@unix
@pytest.mark.slow
@pytest.mark.parametrize(("number", "target"), SENT)
def test_a_signal_ends_all_processes_with_a_saved_run(tmp_path: Path, number: signal.Signals, target: str) -> None:
    out = tmp_path / "run"
    done = train_and_send(out, 1, number, target)
    assert done.returncode == 128 + number, done.stdout
    assert "ganloom resume" in done.stdout and "Traceback" not in done.stdout
    stopped = [line for line in done.stdout.splitlines() if line.startswith("stopped at")]
    saved = max(int(path.stem) for path in (out / "checkpoints").glob("*.json"))
    assert len(stopped) == 1 and f"{saved:,} images" in stopped[0]
    status = open_folder(out).status
    assert (status.state, status.reason, status.nimg) == ("stopped", number.name, saved)


@unix
@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all_with_one_message(tmp_path: Path, rank: int) -> None:
    done = train_and_send(tmp_path / "run", rank, signal.SIGKILL, "self")
    assert done.returncode == 128 + signal.SIGKILL, done.stdout
    assert done.stdout.count("error:") == 1 and "another process of this training has ended" in done.stdout
    assert "ganloom resume" in done.stdout and "Traceback" not in done.stdout


@linux
@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """It was killed, and could end nobody; they save, and release the folder."""
    out = tmp_path / "run"
    done = train_and_send(out, 1, signal.SIGKILL, "launcher")  # returns when the last process has ended
    assert done.returncode == -signal.SIGKILL
    assert "continue with: ganloom resume" in done.stdout and "Traceback" not in done.stdout
    with open_folder(out).alone():
        pass


def torchrun(processes: int, *arguments: str) -> list[str]:
    program = str(Path(sys.executable).with_name("torchrun"))
    options = [f"--nproc-per-node={processes}", "--monitor-interval=0.2", "--max-restarts=1"]
    return [program, *options, "-m", "ganloom", *arguments]


@unix
@pytest.mark.slow
def test_torchrun_resumes_automatically(in_two: InTwo, tmp_path: Path) -> None:
    """A process is killed, all are restarted with the same command, and the end is that of an undisturbed run."""
    run = tmp_path / "run"
    send = f"1 {int(signal.SIGKILL)} self {run}"
    done = run_to_the_end(torchrun(2, "train", *in_two.flags, "--out", str(run)), SEND=send)
    assert done.returncode == 0, done.stdout
    assert (
        "resuming at" in done.stdout and done.stdout.count("error:") <= 1
    )  # the other may be stopped before it says so
    assert_same_run(run, in_two.run)


@unix
@pytest.mark.slow
def test_processes_agree_on_the_name_of_their_run_also_after_a_restart(
    in_two: InTwo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of the data is taken: all of them train in the next one, and resume there after one was killed."""
    monkeypatch.chdir(tmp_path)
    taken = tmp_path / "runs" / "digits"
    taken.mkdir(parents=True)
    (taken / "notes.txt").write_text("mine")
    send = f"1 {int(signal.SIGKILL)} self runs/digits-2"
    done = run_to_the_end(torchrun(2, "train", *in_two.flags), SEND=send)
    assert done.returncode == 0, done.stdout
    assert "note: runs/digits exists, so this run is runs/digits-2" in done.stdout and "resuming at" in done.stdout
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["digits", "digits-2"]
    assert [path.name for path in taken.iterdir()] == ["notes.txt"]
    assert_same_run(tmp_path / "runs" / "digits-2", in_two.run)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Path:
    """A run that is there already."""
    out = tmp_path_factory.mktemp("complete") / "run"
    ganloom.train(out=out, device="cpu", settings=tiny_config(train__length="64 images").model_dump(mode="json"))
    return out


@pytest.mark.slow
def test_torchrun_does_not_continue_another_run(complete: Path) -> None:
    """There is one already at that place: the command fails, and fails again when it is restarted."""
    done = run_to_the_end(torchrun(1, "train", *tiny_flags(), "--out", str(complete)))
    assert done.returncode != 0 and done.stdout.count("there is a run at") == 2
    assert log_of(complete)[-1]["nimg"] == 64


@pytest.mark.slow
def test_torchrun_does_not_continue_what_the_guard_has_stopped(tmp_path: Path) -> None:
    """For torchrun that is a failure like any other: the processes that it restarts say the same and end."""
    out = tmp_path / "run"
    guard = {"guard.every": "300 images", "guard.n": 64, "guard.stalled": "stop", "optimizer.d.lr": 1e-12}
    done = run_to_the_end(torchrun(1, "train", *tiny_flags(**guard), "--out", str(out)))
    assert done.returncode != 0 and done.stdout.count("the guard stopped the training at 608 images") == 2
    assert log_of(out)[-1]["nimg"] == 608


@pytest.mark.slow
def test_two_trainings_of_several_processes_in_one_folder(complete: Path) -> None:
    with open_folder(complete).alone():
        done = run_to_the_end(
            command("resume", str(complete), "--length", "128 images", "--processes", "2", "--device", "cpu")
        )
    assert done.returncode == 2 and done.stdout.count("error:") <= 1  # the other may be stopped before it says so
    assert "another process is training" in done.stdout


@pytest.mark.slow
def test_the_guard_goes_back_in_all_processes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    guard = {"guard.every": "300 images", "guard.n": 64, "guard.stalled": "rollback", "optimizer.d.lr": 1e-12}
    flags = [*tiny_flags(**guard), "--processes", "2", "--device", "cpu", "--out", str(out)]
    done = run_to_the_end(command("train", *flags))
    assert done.returncode == 0, done.stdout
    run = open_folder(out)
    assert [change.reason for change in run.changes] == ["stalled"]
    assert run.config.optimizer.d.lr == run.config.optimizer.g.lr
    assert done.stdout.count("Rolled back from") == 1 and log_of(out)[-1]["nimg"] == 960


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `launch` runs in place of ganloom: the lines of this list, as a Python program."""
    lines: list[str] = ["import os, sys, time", "from pathlib import Path"]
    ordinary = subprocess.Popen

    def popen(arguments: list[str], **options: object) -> "subprocess.Popen[bytes]":
        return ordinary([sys.executable, "-S", "-c", "\n".join(lines)], **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(subprocess, "Popen", popen)
    return lines


def test_a_dead_process_ends_the_others(program: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "PATIENCE_AFTER_FAULT", 0.1)
    program += ["if os.environ['RANK'] == '1': sys.exit(7)", "time.sleep(3600)"]
    assert distributed.launch(2, []) == 7


@pytest.mark.parametrize("code", [2, 143])
def test_a_process_that_fails_first_leaves_the_others_time(
    program: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    """To print the one message, or to save."""
    monkeypatch.setattr(distributed, "PATIENCE_AFTER_FAULT", 3600)
    monkeypatch.setattr(distributed, "PATIENCE_AFTER_SIGNAL", 3600)
    program += [
        f"begun, ended = Path({str(tmp_path / 'begun')!r}), Path({str(tmp_path / 'ended')!r})",
        "if os.environ['RANK'] == '0':",
        "    begun.touch()",
        "    time.sleep(0.5)",
        "    ended.touch()",
        "while not begun.exists(): time.sleep(0.01)",
        f"sys.exit({code})",
    ]
    assert distributed.launch(2, []) == code
    assert (tmp_path / "ended").exists()


def test_shares_are_every_micro_batch_once() -> None:
    for size in (1, 2, 3, 7):
        shares = [list(distributed.World(rank, size).share(5)) for rank in range(size)]
        assert sorted(index for share in shares for index in share) == [0, 1, 2, 3, 4]
