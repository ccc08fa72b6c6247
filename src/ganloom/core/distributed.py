"""One process or many, the same code: `torch.distributed`, one flat all-reduce an optimizer step.

The micro-batch is the unit of the mathematics; ranks only share micro-batches out. Wrappers such as DDP are not used
because a penalty with a backward pass of its own never finishes their reduction.
"""

import contextlib
import ctypes
import datetime
import functools
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

import torch
import torch.distributed as dist
from torch import Tensor

from ganloom.core.errors import Interrupted, RunError

__all__ = ["World", "connect", "launch", "note", "noted", "tells"]

PR_SET_PDEATHSIG = 1  # linux/prctl.h
STORE_SECONDS = datetime.timedelta(seconds=20)  # for an answer of whoever started the processes


@dataclass(frozen=True)
class World:
    """The processes of this training. With one, nothing here costs anything."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, count: int) -> range:
        """Which of `count` micro-batches are this process's."""
        return range(self.rank, count, self.size)

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Add up, over all processes, tensors of equal shape and type in each of them."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _together():
            dist.all_reduce(flat)
        for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is up in any process; all hear the same answer."""
        if self.size == 1:
            return flag
        total = torch.tensor(int(flag), device=device)
        with _together():
            dist.all_reduce(total)
            return bool(total.item())

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values."""
        if self.size > 1:
            for tensor in tensors:
                with _together():
                    dist.broadcast(tensor.detach(), src=0)  # the same memory, out of autograd's sight

    def barrier(self) -> None:
        if self.size > 1:
            with _together():
                dist.barrier()

    def close(self) -> None:
        if self.size > 1:
            dist.destroy_process_group()


def connect(device: torch.device) -> World:
    """Join the processes that `torchrun` (or `launch`) started; alone otherwise."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if parent := os.environ.get("GANLOOM_PARENT"):
        _end_with(int(parent))
    # Optimizers import this module. Imported once there is a process group, it keeps that alive: the group's threads
    # outlive `close`, and may abort the process at its exit.
    importlib.import_module("torch._dynamo")
    backend = "nccl" if device.type == "cuda" else "gloo"
    if (store := _store()) is None:
        dist.init_process_group(backend)
    else:  # in a room of its own: where processes were started anew, those before them have left their addresses
        room = dist.PrefixStore(f"ganloom/{_attempt()}", store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=room, rank=int(os.environ["RANK"]), world_size=size)
    return World(dist.get_rank(), size)


def _end_with(parent: int) -> None:
    """Hear SIGTERM, and so save and end, when the process that started this one is killed. On Linux alone."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it has been killed already
            raise Interrupted(signal.SIGTERM)


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """What all processes do at once. Raises `RunError` if one of them is no more."""
    try:
        yield
    except RuntimeError as error:
        why = str(error).splitlines()[0].partition("] ")[2].split(". ")[0]  # without the line in gloo's source
        raise RunError(
            f"another process of this training has ended, or cannot be reached ({why or error}): all end here. "
            "What was saved is whole: go on with 'ganloom resume'."
        ) from error


def note(name: str, value: str) -> None:
    """Leave word for the processes that torchrun starts in the place of those that failed."""
    if (store := _store()) is not None:
        store.set(f"ganloom/{name}", value)


def noted(name: str) -> str | None:
    """What processes before these have left word of."""
    store = _store()
    if store is None or not store.check([f"ganloom/{name}"]):
        return None
    value: bytes = store.get(f"ganloom/{name}")
    return value.decode()


@functools.cache
def tells() -> bool:
    """Whether this process is the one of several to tell of a failure: that which asks first."""
    with contextlib.suppress(RuntimeError):
        if (store := _store()) is not None:
            return bool(store.add(f"ganloom/failed/{_attempt()}", 1) == 1)
    return os.environ.get("RANK", "0") == "0"


def _attempt() -> str:
    """How often torchrun has started the processes anew."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")


def _store() -> "dist.TCPStore | None":  # type: ignore[name-defined]
    """Kept by whoever started the processes, torchrun or `launch`: it outlives them."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.TCPStore(address, port, is_master=False, timeout=STORE_SECONDS)  # type: ignore[attr-defined]


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run `python -m ganloom ARGUMENTS` in that many processes on this machine; returns the first failure's exit code.

    SIGTERM is passed on, Ctrl-C reaches the processes by itself. When one fails, the others are ended: they would wait
    for it for ever.
    """
    # Outlives each of them, as torchrun's does.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    shared = {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes)),
        **os.environ,  # below: a cluster's jobs often have addresses of their own there
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
        # After a signal all of them save and end; after a fault the rest wait for a process that is no more.
        _end(workers, patience=60.0 if code > 128 else 0.0)
        return code
    finally:
        signal.signal(signal.SIGTERM, before)


def _first_failure(workers: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Wait until one has failed, or all have ended well: 0."""
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # the workers heard Ctrl-C too, and are saving
            codes = [worker.poll() for worker in workers]
            failed = [code if code > 0 else 128 - code for code in codes if code]  # -9 is killed by signal 9
            if failed:
                return max(failed)  # who was killed is the cause: others fail when they hear no more of it
            if all(code == 0 for code in codes):
                return 0
            time.sleep(0.1)


def _end(workers: Sequence["subprocess.Popen[bytes]"], patience: float) -> None:
    for worker in workers:
        try:
            worker.wait(patience)
        except subprocess.TimeoutExpired:
            worker.kill()  # it may be deep in a collective operation, where it hears nothing milder
            worker.wait()
