"""One process or many, the same code: `torch.distributed`, one flat all-reduce an optimizer step.

The micro-batch is the unit of the mathematics; ranks only share micro-batches out. Wrappers such as DDP are not used
because a penalty with a backward pass of its own never finishes their reduction.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["World", "connect", "launch"]


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
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is up in any process; all hear the same answer."""
        if self.size == 1:
            return flag
        total = torch.tensor(int(flag), device=device)
        dist.all_reduce(total)
        return bool(total.item())

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()

    def close(self) -> None:
        if self.size > 1:
            dist.destroy_process_group()


def connect(device: torch.device) -> World:
    """Join the processes that `torchrun` (or `launch`) started; alone otherwise."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(dist.get_rank(), size)


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run `python -m ganloom ARGUMENTS` in that many processes on this machine; returns the first failure's exit code.

    When one fails, the others are ended: they would wait for it for ever.
    """
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    shared = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(processes),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
    }
    command = [sys.executable, "-m", "ganloom", *arguments]
    workers = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(processes)
    ]
    try:
        return _wait(workers)
    finally:
        for worker in workers:
            worker.terminate()


def _wait(workers: Sequence["subprocess.Popen[bytes]"]) -> int:
    while True:
        try:
            codes = [worker.poll() for worker in workers]
            for code in codes:
                if code:
                    return code
            if all(code == 0 for code in codes):
                return 0
            time.sleep(0.1)
        except KeyboardInterrupt:
            continue  # the workers heard Ctrl-C too, and are saving


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
