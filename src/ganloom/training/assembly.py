"""Builds an `AdversarialStep` from a configuration and a dataset."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ganloom import augment, nets
from ganloom.config import Config, Optimizer
from ganloom.core import rng
from ganloom.core.distributed import World
from ganloom.core.errors import ConfigError
from ganloom.core.lengths import Length
from ganloom.core.shapes import ImageShape
from ganloom.data.dataset import Dataset
from ganloom.data.stream import Stream, resident
from ganloom.nets.contract import Growing, Staged
from ganloom.training import rules
from ganloom.training.ema import Ema, stop_tracking
from ganloom.training.growth import Growth
from ganloom.training.health import Health
from ganloom.training.learner import Learner
from ganloom.training.schedules import BurnIn, make_schedule
from ganloom.training.step import AdversarialStep, Parts

__all__ = ["assemble", "resolve", "without_labels"]

NOT_RESOLVED = "the configuration must be resolved first"


def resolve(config: Config, shape: ImageShape, processes: int) -> Config:
    """Fill in what was left open, so that the saved configuration repeats the run on any number of processes.

    Raises `ConfigError` where a batch cannot be divided among `processes`, or a weight has no rule.
    """
    train = config.train
    batch = train.batch or rules.batch_of(shape)
    batch_g = train.batch_g or batch

    def share(batch: int, remedy: str) -> int:
        if batch % processes:
            raise ConfigError(f"a batch of {batch} cannot be divided among {processes} processes: set {remedy}.")
        return batch // processes

    micro = train.micro_batch or share(batch, "train.micro_batch")
    fits = batch_g % micro == 0
    micro_g = train.micro_batch_g or (micro if fits else share(batch_g, "train.micro_batch_g"))
    weights = {name: penalty.weight for name, penalty in config.penalties.items()}
    if "r1" in weights and weights["r1"] is None:
        weights["r1"] = rules.gamma_of(shape, batch)
    for name, weight in weights.items():
        if weight is None:
            raise ConfigError(f"penalties.{name}.weight is null, but only r1 has a rule for its weight: give a number.")
    return config.with_overrides(
        {
            **{f"penalties.{name}.weight": weight for name, weight in weights.items()},
            "ema.half_life": str(config.ema.half_life or rules.half_life_of(batch)),
            "train.batch": batch,
            "train.micro_batch": micro,
            "train.batch_g": batch_g,
            "train.micro_batch_g": micro_g,
        }
    )


def assemble(config: Config, dataset: Dataset, device: torch.device, world: World, total: int) -> AdversarialStep:
    """A step with new networks on `device`, the same in every process, for a run of `total` images.

    Raises `ConfigError`.
    """
    train, half_life = config.train, config.ema.half_life
    assert train.batch and train.micro_batch and train.batch_g and train.micro_batch_g, NOT_RESOLVED
    assert half_life is not None, NOT_RESOLVED

    def images(length: Length) -> int:
        return length.images(epoch=dataset.count(), step=config.images_per_step)

    G, D, augmentation = networks(config, dataset)
    growth = grow(config, images, G, D)
    prepare_stages(config, G, D)
    for module in (G, D, augmentation):
        place(module, device, world)
    burn_in = BurnIn(config.burn_in, total)

    def learner(network: nn.Module, settings: Optimizer, batch: int, micro_batch: int) -> Learner:
        schedule = make_schedule(settings.schedule, images, total, device)
        return Learner(network, settings, schedule, burn_in, batch=batch, micro_batch=micro_batch)

    parts = Parts(
        g=learner(G, config.optimizer.g, train.batch_g, train.micro_batch_g),
        d=learner(D, config.optimizer.d, train.batch, train.micro_batch),
        ema=Ema(G, images(half_life), config.ema.ramp_up),
        augment=augmentation,
        growth=growth,
        burn_in=burn_in,
        health=Health(device),
    )
    stream = Stream(dataset, config.seed, config.data.labels, config.data.mirror, resident(dataset, device))
    step = AdversarialStep(config, parts, stream, world, device)
    if min(train.micro_batch, train.micro_batch_g) < step.min_micro_batch:
        raise ConfigError(
            f"{config.net.name} has batch normalization, which needs at least {step.min_micro_batch} images per "
            f"micro-batch: use a micro-batch of {step.min_micro_batch} or more."
        )
    return step


def networks(config: Config, dataset: Dataset) -> tuple[nn.Module, nn.Module, nn.Module]:
    """New G, D and augmentation, on the CPU, initialised from the seed. Raises `ConfigError`."""
    if config.data.labels and not dataset.labelled:
        raise without_labels(dataset.class_names)
    net, shape = config.net, dataset.shape
    classes = len(dataset.class_names) if config.data.labels else 0
    rng.seed(config.seed, "G")
    G = nets.build_generator(net.name, shape, net.latent, classes, net.g)
    rng.seed(config.seed, "D")
    D = nets.build_discriminator(net.name, shape, classes, net.d)
    if config.augment is None:
        return G, D, nn.Identity()
    rng.seed(config.seed, "augment")
    return G, D, augment.build(config.augment.name, shape.channels, config.augment.options)


def grow(config: Config, images: Callable[[Length], int], G: nn.Module, D: nn.Module) -> Growth | None:
    """Raises `ConfigError` for networks that cannot grow."""
    if config.growth is None:
        return None
    if not (isinstance(G, Growing) and isinstance(D, Growing)):
        raise ConfigError(f"{config.net.name} does not grow: set net=progressive, or growth=null.")
    return Growth(config.growth, images, G, D)


def place(module: nn.Module, device: torch.device, world: World) -> None:
    """Move a network to the device, with the first process's values, in the memory layout of fast convolutions."""
    # Channels last is what convolution kernels of CPUs and GPUs are fastest with (not Apple's).
    layout = torch.preserve_format if device.type == "mps" else torch.channels_last
    module.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    stop_tracking(module)
    world.broadcast([*module.parameters(), *module.buffers()])


def prepare_stages(config: Config, G: nn.Module, D: nn.Module) -> None:
    """Freeze stages and set up activation checkpointing, as configured. Raises `ConfigError`."""
    if config.start is not None:
        freeze(G, config.start.freeze_g, "start.freeze_g")
        freeze(D, config.start.freeze_d, "start.freeze_d")
    if config.train.recompute:
        if config.train.compile:
            raise ConfigError("train.recompute together with train.compile is untested: set one of them to false.")
        recompute(G)
        recompute(D)


def without_labels(class_names: Sequence[str]) -> ConfigError:
    """The error where labels are required and not all images have one."""
    lack = "some of these images have no class" if class_names else "these images have no classes"
    return ConfigError(f"data.labels is on, but {lack}: sort them into one folder per class, or set data.labels=false.")


def freeze(network: nn.Module, count: int, key: str) -> None:
    """Freeze the first `count` stages of a network. Raises `ConfigError` if none would be left to learn."""
    if not count:
        return
    found = stages(network, key)
    if count >= len(found):
        raise ConfigError(f"{key}={count} leaves none of {len(found)} stages to learn: give at most {len(found) - 1}.")
    for stage in found[:count]:
        stage.requires_grad_(False)


def stages(network: nn.Module, key: str) -> list[nn.Module]:
    """The stages of a network, in the order of its inputs. Raises `ConfigError`."""
    if not isinstance(network, Staged):
        raise ConfigError(f"{key}: this network does not list its stages: give its class a method stages().")
    return network.stages()


def recompute(network: nn.Module) -> None:
    """Activation checkpointing: keep each stage's inputs alone, and recompute its activations in the backward pass.

    From Chen et al. 2016 (arXiv 1604.06174); the results are bit-identical. Raises `ConfigError`.
    """
    parts, found = set(network.modules()), stages(network, "train.recompute")
    if not parts.issuperset(found):
        raise ConfigError(
            "train.recompute: this network does not call its stages one by one: set train.recompute=false."
        )
    for stage in found:
        stage.forward = partial(checkpoint, stage.forward, use_reentrant=False)
