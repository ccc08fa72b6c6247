"""The same code for one process and for several: `torch.distributed`, one flat all-reduce per optimizer step.

The mathematics is defined per micro-batch; the ranks only divide the micro-batches among themselves. DDP and similar
wrappers are not used: a penalty with a backward pass of its own never completes their reduction.
"""

import contextlib
import ctypes
import datetime
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

import torch
import torch.distributed as dist
from torch import Tensor

from ganloom.core.errors import Interrupted, RunError
from ganloom.core.heartbeat import Heartbeat

__all__ = ["World", "connect", "is_first", "launch", "leave_note", "read_note", "reports_failure", "without_processes"]

PR_SET_PDEATHSIG = 1  # linux/prctl.h
STORE_TIMEOUT = datetime.timedelta(seconds=20)
# How long the other processes may take to end by themselves, in seconds.
PATIENCE_AFTER_SIGNAL = 60.0  # they are saving
PATIENCE_AFTER_FAULT = 5.0  # one of them may be about to print the message


@dataclass(frozen=True)
class World:
    """The processes of this training. With a single process no method costs anything."""

    rank: int = 0
    size: int = 1
    heartbeat: Heartbeat | None = field(default=None, compare=False, repr=False)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, count: int) -> range:
        """The indices, out of `count` micro-batches, that this process computes."""
        return range(self.rank, count, self.size)

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over all processes. Shapes and types must be the same in every process."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _collective():
            dist.all_reduce(flat)
        for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process. Every process gets the same answer."""
        return self.largest(int(flag), device) > 0

    def largest(self, number: int, device: torch.device) -> int:
        """The largest of the numbers that the processes give. Every process gets the same answer."""
        if self.size == 1:
            return number
        shared = torch.tensor(number, device=device)
        with _collective():
            dist.all_reduce(shared, op=dist.ReduceOp.MAX)
            return int(shared.item())

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors in every process with the first one's values."""
        if self.size > 1:
            for tensor in tensors:
                with _collective():
                    dist.broadcast(tensor.detach(), src=0)  # the same memory, without autograd

    def text_of_first(self, text: str, device: torch.device) -> str:
        """The text of the first process. Every process gets the same answer."""
        if self.size == 1:
            return text
        given = text.encode("utf-8", "surrogateescape")
        shared = torch.zeros(self.largest(len(given), device), dtype=torch.uint8, device=device)
        if self.is_first:
            shared[: len(given)] = torch.tensor(list(given), dtype=torch.uint8)
        self.broadcast([shared])
        return bytes(shared.tolist()).rstrip(b"\0").decode("utf-8", "surrogateescape")

    def disagreements(self, values: Mapping[str, str], device: torch.device) -> list[str]:
        """The names under which a process has another value than the first. Every process gets the same answer."""
        first = json.loads(self.text_of_first(json.dumps(values), device))
        return [name for name, value in first.items() if self.any(values.get(name) != value, device)]

    def barrier(self) -> None:
        if self.size > 1:
            with _collective():
                dist.barrier()

    def close(self) -> None:
        if self.heartbeat is not None:
            self.heartbeat.close()
        if self.size > 1:
            dist.destroy_process_group()


def is_first() -> bool:
    """Whether this is the first process of its training, also before it has joined the others."""
    return os.environ.get("RANK", "0") == "0"


def connect(device: torch.device) -> World:
    """Join the processes that `torchrun` or `launch` started; without them, a world of one process."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if parent := os.environ.get("GANLOOM_PARENT"):
        _end_with_parent(int(parent))
    # Optimizers import this module. If it is first imported after the process group was made, it keeps the group alive:
    # the group's threads then outlive `close`, and may abort the process at exit.
    importlib.import_module("torch._dynamo")
    backend = "nccl" if device.type == "cuda" else "gloo"
    if (store := _store()) is None:
        dist.init_process_group(backend)
    else:  # under a prefix of its own: after a restart, the store still has the addresses of the processes before
        prefixed = dist.PrefixStore(f"ganloom/{_restarts()}", store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=prefixed, rank=int(os.environ["RANK"]), world_size=size)
    rank, own = dist.get_rank(), _store()
    heartbeat = own and Heartbeat(own, rank, size, f"ganloom/alive/{_restarts()}").start()
    return World(rank, size, heartbeat)


def _end_with_parent(parent: int) -> None:
    """On Linux: when the process that started this one is killed, this one gets SIGTERM, and so saves and ends."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed before the request above
            raise Interrupted(signal.SIGTERM)


@contextlib.contextmanager
def _collective() -> Iterator[None]:
    """Around a collective operation. Raises `RunError` if another process has ended."""
    try:
        yield
    except RuntimeError as error:
        why = str(error).splitlines()[0].partition("] ")[2].split(". ")[0]  # without the line in gloo's source
        raise RunError(
            f"another process of this training has ended, or cannot be reached ({why or error}), so all processes end. "
            "What was saved is complete: continue with 'ganloom resume'."
        ) from error


def leave_note(name: str, value: str) -> None:
    """Leave a note for the processes that torchrun starts after these have failed."""
    if (store := _store()) is not None:
        store.set(f"ganloom/{name}", value)


def read_note(name: str) -> str | None:
    """The note that processes before these have left, if any."""
    store = _store()
    if store is None or not store.check([f"ganloom/{name}"]):
        return None
    value: bytes = store.get(f"ganloom/{name}")
    return value.decode()


@functools.cache
def reports_failure() -> bool:
    """Whether this is the process that prints the error message: of several that fail, the first one to ask."""
    with contextlib.suppress(RuntimeError):
        if (store := _store()) is not None:
            return bool(store.add(f"ganloom/failed/{_restarts()}", 1) == 1)
    return is_first()


def _restarts() -> str:
    """How many times torchrun has restarted the processes."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")


def _store() -> "dist.TCPStore | None":  # type: ignore[name-defined]
    """The store of torchrun or `launch`, which outlives the processes that they start."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.TCPStore(address, port, is_master=False, timeout=STORE_TIMEOUT)  # type: ignore[attr-defined]


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run `python -m ganloom ARGUMENTS` in that many processes on this machine; returns the exit code of the cause.

    SIGTERM is passed on to the processes; a terminal sends Ctrl-C to them as well. When one of them fails, the others
    are ended: they would wait for it forever.

    torch's elastic launcher was measured and is not used. When one process has ended, it sends SIGTERM to the others at
    once and SIGKILL after 30 s: the error message that one of them is about to print is lost, and so is what it is
    saving. Starting also costs 0.9 s more of processor time (docs/lab-notes.md, "Starting several processes").
    """
    # It outlives each of the processes, as torchrun's store does.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    shared = {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes)),
        **os.environ,  # what follows takes precedence: the jobs of a cluster often have other addresses there
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "GANLOOM_PARENT": str(os.getpid()),
        "WORLD_SIZE": str(processes),
    }
    command = [sys.executable, "-m", "ganloom", *arguments]
    workers = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(processes)
    ]

    def pass_on(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            worker.terminate()

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        code = _first_failure(workers)
        _end(workers, PATIENCE_AFTER_SIGNAL if code > 128 else PATIENCE_AFTER_FAULT)
        return code
    finally:
        signal.signal(signal.SIGTERM, before)


def without_processes(arguments: list[str]) -> list[str]:
    """The command line without `--processes N`, for each of the processes."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if not skip and not argument.startswith("--processes"):
            kept.append(argument)
        skip = argument == "--processes"
    return kept


def _first_failure(workers: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Wait until a process has failed, and return its exit code; 0 once all have succeeded."""
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # the workers got Ctrl-C too, and are saving
            codes = [worker.poll() for worker in workers]
            failed = [code if code > 0 else 128 - code for code in codes if code]  # -9: killed by signal 9
            if failed:
                return max(failed)  # a killed process is the cause: the others fail because they lose contact with it
            if all(code == 0 for code in codes):
                return 0
            time.sleep(0.1)


def _end(workers: Sequence["subprocess.Popen[bytes]"], patience: float) -> None:
    """Wait until all have ended; kill those that take longer than `patience` seconds."""
    deadline = time.monotonic() + patience
    for worker in workers:
        try:
            worker.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()  # it may be inside a collective operation, where it does not react to SIGTERM
            worker.wait()
