"""Our `launch` against torch's elastic launcher: `python benchmarks/launch.py [--only "CASE;CASE"]`. Linux only.

What was measured of other cases stays in the results.

`ganloom train --processes 2 --device cpu` on the built-in digits, with either launcher in turns:

start   seconds from the command to the first row of the log, which is written after the first step; on a busy machine
        they favour `elastic`, whose processes are in sessions of their own (Linux shares the cores among sessions)
cpu     seconds of processor time that the launcher itself has taken by then
code    the exit code
end     seconds from the cause (of a configuration error: from the command) until all processes have ended
lines   on standard error, and how many of them come from torch's launcher
saved   a checkpoint was written after the cause
left    processes that still ran after 90 s

`elastic` is torch's launcher as `ganloom` would use it, its reports silenced; `not silenced` shows them. The cases in
`PROGRAMS` run a small program in place of ganloom, whose rank 0 has something to do after rank 1 has ended.
"""

import argparse
import itertools
import json
import logging
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import machine

LAUNCHERS = ("launch", "elastic")
PATIENCE = 90  # seconds
TINY = {
    "net.g.width": 8,
    "net.d.width": 8,
    "train.batch": 32,
    "train.length": "500 kimg",
    "log.every": "1 kimg",
    "checkpoint.every": "1 kimg",
    "evaluate.every": "0 images",
    "guard.every": "0 images",
    "trackers.tensorboard": False,
}
FAULTY_LOSS = """
import itertools, os
import torch.nn.functional as F
from ganloom.objectives import Loss

steps = itertools.count()

def loss() -> Loss:
    def d(real, fake):
        if os.environ["RANK"] == "1" and next(steps) == 100:
            raise KeyError("a fault in one process")
        return F.softplus(-real) + F.softplus(fake)

    return Loss(d, lambda fake: F.softplus(-fake))
"""
CASES = (
    "configuration error",
    "exception in rank 1",
    "kill -9 rank 1",
    "SIGTERM to rank 1",
    "Ctrl-C",
    "SIGTERM",
    "closed terminal",
    "kill -9 launcher",
)
# Rank 1 ends at once, with an exit code; rank 0 as many seconds later, with a line on standard error.
PROGRAMS = {"message 1 s after rank 1": (2, 1), "saving 40 s after rank 1": (143, 40)}
PROGRAM = """#!{python} -S
import os, signal, sys, time
if {code} == 143:
    signal.signal(signal.SIGTERM, lambda *_: None)  # as a training that saves
if os.environ["RANK"] == "0":
    time.sleep({seconds})
    print("error: done", file=sys.stderr)
else:
    time.sleep(0.2)
sys.exit({code})
"""
OF_TORCH = re.compile(r"torch/distributed/elastic|FAILED$|Failures:|Root Cause|^\[\d+\]:|^[=-]{20,}$|^  \w+ *: ")


def elastic(processes: int, arguments: Sequence[str], *, silenced: bool) -> int:
    """What `ganloom.core.distributed.launch` does, by torch's launcher. The exit code is the same where it can be."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if silenced:
        logger = logging.getLogger("torch.distributed.elastic")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    os.environ["GANLOOM_PARENT"] = str(os.getpid())
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="ganloom",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",  # or it looks up the machine's full name, which may take seconds
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(os.devnull),  # or every start leaves a folder in /tmp
        signals_to_handle="SIGTERM,SIGINT",  # with SIGHUP too, nohup has no effect
        shutdown_timeout=60,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "ganloom", *arguments)
    except SignalException as error:
        return 128 + error.sigval
    except ChildFailedError as error:
        if not silenced:
            print(error, file=sys.stderr)
        # It ends the others by SIGTERM, which is not the cause.
        codes = [failure.exitcode for failure in error.failures.values() if failure.exitcode != -signal.SIGTERM]
        return max(code if code > 0 else 128 - code for code in codes or [-signal.SIGTERM])
    return 0


def run(launcher: str, arguments: Sequence[str]) -> None:
    """The command line of ganloom, with that launcher."""
    from ganloom import cli
    from ganloom.core import distributed

    if launcher != "launch":
        distributed.launch = partial(elastic, silenced=launcher == "elastic")
    sys.argv = ["ganloom", *arguments]
    sys.executable = os.environ.get("PROGRAM", sys.executable)
    cli.main()


class Training:
    """One command, started in a session of its own as a terminal does, and the processes that it has started."""

    def __init__(self, launcher: str, folder: Path, data: str, settings: dict[str, Any], **environment: str) -> None:
        self.out, self.errors = folder / "run", folder / "stderr"
        flags = [part for key, value in (TINY | settings).items() for part in ("--set", f"{key}={value}")]
        verb = ["train", data, *flags, "--device", "cpu", "--out", str(self.out), "--processes", "2"]
        self.began = time.monotonic()
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--run", launcher, *verb],
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                cwd=folder,
                env={**os.environ, **environment},
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, pattern: str) -> float:
        """Seconds from the command to the first file of that pattern in the run folder that is not empty."""
        while not any(path.stat().st_size for path in self.out.glob(pattern)):
            if self.process.poll() is not None:
                raise SystemExit(f"it ended with {self.process.returncode}: {self.errors.read_text()}")
            time.sleep(0.02)
        return time.monotonic() - self.began

    def ranks(self) -> list[int]:
        return [int(text) for text in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


def meet(case: str, launcher: str, folder: Path) -> dict[str, Any]:
    """Bring the case about, and return what a user sees of it."""
    if case in PROGRAMS:
        code, seconds = PROGRAMS[case]
        program = folder / "program"
        program.write_text(PROGRAM.format(python=sys.executable, code=code, seconds=seconds))
        program.chmod(0o700)
        training = Training(launcher, folder, "digits", {}, PROGRAM=str(program))
        return {**ending(training), "end": None, "saved": None, "left": None}
    (folder / "loss.py").write_text(FAULTY_LOSS)
    faulty = {"loss": str(folder / "loss.py")} if case == "exception in rank 1" else {}
    wrong = case == "configuration error"
    training = Training(launcher, folder, str(folder / "nothing.npz") if wrong else "digits", faulty)
    began, ranks, start = training.began, [], {}
    if not wrong:
        start = {"start": round(training.wait_for("log.jsonl"), 2), "cpu": cpu_seconds(training.pid)}
        ranks = training.ranks()
    if not wrong and not faulty:
        training.wait_for("checkpoints/*.json")
        began = time.monotonic()
    if case == "kill -9 rank 1":
        os.kill(ranks[1], signal.SIGKILL)
    elif case == "SIGTERM to rank 1":
        os.kill(ranks[1], signal.SIGTERM)
    elif case == "Ctrl-C":
        os.killpg(training.pid, signal.SIGINT)  # to the whole foreground process group, as a terminal does
    elif case == "closed terminal":
        os.killpg(training.pid, signal.SIGHUP)
    elif case == "SIGTERM":
        os.kill(training.pid, signal.SIGTERM)
    elif case == "kill -9 launcher":
        os.kill(training.pid, signal.SIGKILL)
    row = ending(training)
    left = wait_until_gone(ranks)
    cause = time.time() - (time.monotonic() - began)
    return {
        **row,
        "end": None if faulty else round(time.monotonic() - began, 1),
        "saved": any(path.stat().st_mtime > cause for path in training.out.glob("checkpoints/*.json")),
        "left": len(left),
        **start,
    }


def ending(training: Training) -> dict[str, Any]:
    """How the command itself ended, and what it wrote."""
    code = training.process.wait()
    lines = training.errors.read_text().splitlines()
    return {
        "code": code if code >= 0 else 128 - code,
        "lines": len(lines),
        "of_torch": sum(bool(OF_TORCH.search(line)) for line in lines),
    }


def wait_until_gone(pids: Sequence[int]) -> list[int]:
    """Those that still run after `PATIENCE` seconds; they are killed then."""
    deadline = time.monotonic() + PATIENCE
    while left := [pid for pid in pids if is_running(pid)]:
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    return left


def is_running(pid: int) -> bool:
    try:
        return status_of(pid)[0] != "Z"
    except OSError:
        return False


def cpu_seconds(pid: int) -> float:
    """Processor time of that process alone: other load on the machine hardly changes it."""
    user, system = status_of(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def status_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the process's name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def main() -> None:
    if sys.argv[1:2] == ["--run"]:
        run(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=";".join([*CASES, *PROGRAMS]), help="cases, separated by semicolons")
    parser.add_argument("--name", default="launch")
    arguments = parser.parse_args()
    chosen = arguments.only.split(";")
    path = machine.RESULTS / f"{arguments.name}.json"
    before = json.loads(path.read_text())["results"] if path.exists() else []
    rows: list[dict[str, Any]] = [row for row in before if row["case"] not in chosen]
    columns = ("start", "cpu", "code", "end", "lines", "of_torch", "saved", "left")
    print(f"{'case':<26}{'launcher':<14}" + "".join(f"{name:>9}" for name in columns))
    for case, turn in zip(chosen, itertools.cycle((1, -1)), strict=False):
        for launcher in (*LAUNCHERS[::turn], *(["not silenced"] if case == "configuration error" else [])):
            with tempfile.TemporaryDirectory() as folder:
                row = {"case": case, "launcher": launcher, **meet(case, launcher, Path(folder))}
            rows.append(row)
            print(f"{case:<26}{launcher:<14}" + "".join(f"{row.get(name)!s:>9}" for name in columns), flush=True)
            machine.write(arguments.name, rows)
    for launcher in LAUNCHERS:
        starts = [row for row in rows if row["launcher"] == launcher and "start" in row]
        if starts:
            medians = [statistics.median(row[name] for row in starts) for name in ("start", "cpu")]
            print(f"{'median of ' + str(len(starts)):<26}{launcher:<14}" + "".join(f"{m:>9.2f}" for m in medians))


if __name__ == "__main__":
    main()
