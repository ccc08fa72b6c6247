"""The contenders of time_to_quality.py: the textbook loop, recipes and the default, trained step by step."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.config import Config, recipe_values
from ganloom.core.distributed import World
from ganloom.core.pictures import to_uint8
from ganloom.data.inspect import Sizes
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find
from ganloom.models.generate import generate
from ganloom.planning.defaults import Case, derive
from ganloom.training.assembly import assemble, resolve
from textbook import Textbook

CPU = torch.device("cpu")
SETS = {
    "cifar10": ("cifar10.npz", 32),
    "fashion": ("fashion_mnist.npz", 32),
    "chest": ("chest_xray", 64),
}
UNLABELLED = {"data.labels": False}
CONTENDERS: dict[str, int | dict[str, Any] | tuple[str, dict[str, Any]]] = {
    "textbook-128": 128,  # the textbook loop with this batch size
    "textbook-32": 32,
    "textbook-16": 16,
    "textbook-8": 8,
    "default": UNLABELLED,  # the settings that ganloom derives for these images and minutes, changed by these
    "default, labels": {"data.labels": True},
    "default, 64 wide": UNLABELLED | {"net.g.width": 64, "net.d.width": 64},
    "default, batch 8": UNLABELLED | {"train.batch": 8},
    "default, fp32": UNLABELLED | {"train.precision": "fp32"},
    "default, no R1": UNLABELLED | {"penalties.r1.weight": 0},
    "default, beta1 .5": UNLABELLED | {"optimizer.g.beta1": 0.5, "optimizer.d.beta1": 0.5},
    "dcgan": ("dcgan-32", {}),  # a recipe and changed settings
    "dcgan, 16": ("dcgan-32", {"train.batch": 16}),
    "sndcgan": ("sndcgan-32", {}),
    "rpgan, 16": ("rpgan-32", {"train.batch": 16}),
    "r3gan, small": ("r3gan-32-small", {}),
    "stylegan2, small": ("stylegan2-32-small", {}),
}


class Contender(Protocol):
    """A training that can be paused and evaluated after each step."""

    @property
    def nimg(self) -> int: ...  # images seen

    def step(self) -> None: ...

    def pictures(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """Generated images [count, H, W, C], once for each way to generate them; the best score counts."""
        ...


class TextbookLoop:
    """The textbook loop."""

    def __init__(self, dataset: PackedDataset, batch: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.loop = Textbook(torch.from_numpy(dataset.images(np.arange(dataset.count()))), batch)
        self.batch, self.nimg, self.reals = batch, 0, self._endless()

    def _endless(self) -> Iterator[Tensor]:
        while True:
            yield from self.loop.loader

    def step(self) -> None:
        self.loop.step(next(self.reals))
        self.nimg += self.batch

    @torch.no_grad()
    def pictures(self, count: int) -> Iterator[NDArray[np.uint8]]:
        state = torch.get_rng_state()
        kept = {name: value.clone() for name, value in self.loop.G.state_dict().items()}
        for training in (False, True):
            torch.manual_seed(0)
            self.loop.G.train(training)
            parts = [self.loop.G(torch.randn(min(128, count - at), 100, 1, 1)) for at in range(0, count, 128)]
            yield to_uint8(torch.cat(parts)).permute(0, 2, 3, 1).numpy()
        self.loop.G.load_state_dict(kept)  # training mode has changed its running statistics
        torch.set_rng_state(state)


class RecipeTraining:
    """ganloom's training step with its data stream and EMA, as in `ganloom train`."""

    def __init__(self, dataset: PackedDataset, recipe: str, settings: Mapping[str, Any], seed: int) -> None:
        base = {"seed": seed, "data.size": dataset.shape.height}
        config = Config.build(recipe_values(recipe), base | dict(settings))
        self.config = resolve(config, dataset.shape, 1)
        total = config.train.length.images(epoch=dataset.count(), step=self.config.images_per_step)
        self.training = assemble(self.config, dataset, CPU, World(), total)

    @property
    def nimg(self) -> int:
        return self.training.nimg

    def step(self) -> None:
        self.training.advance(measure=False)

    def pictures(self, count: int) -> Iterator[NDArray[np.uint8]]:
        step, config = self.training, self.config
        step.ema.refresh(config.seed, config.net.latent, step.g.micro_batch, step.stream.labels)
        parts = generate(step.ema.G, config.net.latent, count, 0, step.stream.labels(0, count))
        yield torch.cat(list(parts)).permute(0, 2, 3, 1).numpy()


def open_set(folder: Path, name: str) -> PackedDataset:
    file, size = SETS[name]
    return prepare(find(str(folder / file)), Preprocessing((size, size)))


def make(name: str, dataset: PackedDataset, minutes: float, seed: int) -> Contender:
    contender = CONTENDERS[name]
    if isinstance(contender, int):
        return TextbookLoop(dataset, contender, seed)
    if isinstance(contender, dict):
        contender = by_default(dataset, contender, f"{minutes} minutes")
    return RecipeTraining(dataset, *contender, seed)


def by_default(dataset: PackedDataset, given: dict[str, Any], length: str) -> tuple[str, dict[str, Any]]:
    """The recipe and settings, without the length, that `ganloom train` derives for these images and this length."""
    size = dataset.shape.height, dataset.shape.width
    sizes = Sizes(size, True, size[0] / size[1])
    requested = given | {"train.length": length}
    derived = derive(Case(sizes, dataset.count(), len(dataset.class_names), CPU, requested))
    return derived.recipe, derived.settings | given
