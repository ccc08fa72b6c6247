"""Steps small enough for a test, access to their state, and images that cost nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conftest import tiny_config
from ganloom.config import Config
from ganloom.core.distributed import World
from ganloom.core.shapes import ImageShape
from ganloom.data.packed import PackedDataset
from ganloom.training import checkpoint
from ganloom.training.assembly import assemble, resolve
from ganloom.training.learner import Learner
from ganloom.training.state import pack_state
from ganloom.training.step import AdversarialStep

CPU = torch.device("cpu")
OFF = {"r1": {"weight": 0}}  # the penalty that `tiny_config` adds


def make(config: Config, dataset: PackedDataset) -> AdversarialStep:
    return assemble(resolve(config, dataset.shape, 1), dataset, CPU, World(), total=1000)


def tiny(dataset: PackedDataset, **settings: Any) -> AdversarialStep:
    """A step of the digits recipe, made small, with these settings."""
    return make(tiny_config(**settings), dataset)


def values(network: torch.nn.Module) -> list[Tensor]:
    return [weight.detach().clone() for weight in network.parameters()]


def weights(step: AdversarialStep) -> list[Tensor]:
    return [value for network in (step.g.net, step.d.net, step.ema.G) for value in values(network)]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def gradients(learner: Learner, act: Callable[[], object]) -> list[Tensor]:
    """The gradients of the update of `learner` that `act` would make; the update itself is left out."""
    learner.update = lambda *arguments: {}  # type: ignore[method-assign]
    act()
    del learner.update  # type: ignore[method-assign]
    return [torch.zeros_like(weight) if weight.grad is None else weight.grad.clone() for weight in learner.weights]


def state(step: AdversarialStep) -> dict[str, Tensor]:
    """Everything that a checkpoint would hold."""
    return {name: tensor.clone() for name, tensor in pack_state(step)}


def saved_and_restored(step: AdversarialStep, dataset: PackedDataset, folder: Path) -> AdversarialStep:
    """The step that a resumed process has after `step` was saved and killed."""
    checkpoint.save(folder, step, seconds=0.0, keep=1)
    fresh = make(step.config, dataset)
    loaded = checkpoint.load_newest(folder, fresh)
    assert loaded.manifest is not None and not loaded.skipped
    return fresh


class Noise(PackedDataset):
    """Random images in ten classes, of any shape."""

    def __init__(self, shape: ImageShape, count: int = 1000) -> None:
        self._shape, self._count = shape, count

    @property
    def shape(self) -> ImageShape:
        return self._shape

    @property
    def class_names(self) -> list[str]:
        return list("abcdefghij")

    def count(self, split: str = "train") -> int:
        return self._count

    def images(self, index: NDArray[np.int64], split: str = "train") -> NDArray[np.uint8]:
        shape = len(index), self._shape.height, self._shape.width, self._shape.channels
        return np.random.default_rng(index[0]).integers(0, 256, shape, np.uint8)

    def labels(self, index: NDArray[np.int64], split: str = "train") -> NDArray[Any]:
        return index % 10
