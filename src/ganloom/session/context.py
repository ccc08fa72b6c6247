"""What stays the same for a whole training: the device, the processes, the images."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ganloom.core import rng
from ganloom.core.distributed import World, connect, reports_failure
from ganloom.core.errors import GanloomError
from ganloom.core.runtime import flushed_denormals
from ganloom.data.dataset import Dataset

__all__ = ["Context", "connected"]


@dataclass(frozen=True)
class Context:
    """Where a training runs, and on what."""

    device: torch.device
    world: World
    dataset: Dataset


@contextlib.contextmanager
def connected(device: torch.device, dataset: Dataset) -> Iterator[Context]:
    """Join the other processes of this training, and set this one up for its arithmetic."""
    world = connect(device)
    try:
        with flushed_denormals(), rng.preserved():
            yield Context(device, world, dataset)
    except GanloomError:
        reports_failure()  # ask now: the others fail as soon as this process has left them
        raise
    finally:
        world.close()
