"""From a configuration and images to an `AdversarialStep`."""

from collections.abc import Sequence
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
from ganloom.training.schedules import BurnIn
from ganloom.training.step import AdversarialStep

__all__ = ["assemble", "resolve", "without_labels"]

NOT_RESOLVED = "a configuration is to be resolved first"


def resolve(config: Config, shape: ImageShape, processes: int) -> Config:
    """Fill in what was left open, so that the saved configuration repeats the run on any number of processes.

    Raises `ConfigError`.
    """
    train = config.train
    batch = train.batch or rules.batch_of(shape)
    batch_g = train.batch_g or batch

    def share(batch: int, remedy: str) -> int:
        if batch % processes:
            raise ConfigError(f"a batch of {batch} cannot be shared by {processes} processes: set {remedy}.")
        return batch // processes

    micro = train.micro_batch or share(batch, "--micro-batch")
    fits = batch_g % micro == 0
    micro_g = train.micro_batch_g or (micro if fits else share(batch_g, "train.micro_batch_g"))
    weights = {name: penalty.weight for name, penalty in config.penalties.items()}
    if "r1" in weights and weights["r1"] is None:
        weights["r1"] = rules.gamma_of(shape, batch)
    for name, weight in weights.items():
        if weight is None:
            raise ConfigError(f"penalties.{name}.weight: only r1 has a rule for it: give a number.")
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
    """Fresh networks and all that teaches them, for a run of `total` images. Raises `ConfigError`."""
    if config.data.labels and not dataset.labelled:
        raise without_labels(dataset.class_names)
    classes = len(dataset.class_names) if config.data.labels else 0
    net = config.net
    rng.seed(config.seed, "G")
    G = nets.build_generator(net.name, dataset.shape, net.latent, classes, net.g)
    rng.seed(config.seed, "D")
    D = nets.build_discriminator(net.name, dataset.shape, classes, net.d)
    rng.seed(config.seed, "augment")
    seen_through = (
        augment.build(config.augment.name, dataset.shape.channels, config.augment.options)
        if config.augment
        else nn.Identity()
    )

    def images(length: Length) -> int:
        return length.images(epoch=dataset.count(), step=config.images_per_step)

    growth = None
    if config.growth is not None:
        if not (isinstance(G, Growing) and isinstance(D, Growing)):
            raise ConfigError(f"{net.name} does not grow: set net=progressive, or growth=null.")
        growth = Growth(config.growth, images, G, D)
    prepare_stages(config, G, D)
    modules: list[nn.Module] = [G, D, seen_through]
    for network in modules:
        # Channels last is the layout that fast convolution kernels want, on CPUs and on GPUs (not on Apple's).
        layout = torch.preserve_format if device.type == "mps" else torch.channels_last
        network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        stop_tracking(network)
        world.broadcast([*network.parameters(), *network.buffers()])

    burn_in = BurnIn(config.burn_in, total)

    def learner(network: torch.nn.Module, settings: Optimizer, batch: int, micro_batch: int) -> Learner:
        return Learner(
            network,
            settings,
            batch=batch,
            micro_batch=micro_batch,
            images=images,
            total=total,
            burn_in=burn_in,
            device=device,
        )

    train = config.train
    assert train.batch and train.micro_batch and train.batch_g and train.micro_batch_g, NOT_RESOLVED
    assert config.ema.half_life is not None, NOT_RESOLVED
    g = learner(G, config.optimizer.g, train.batch_g, train.micro_batch_g)
    d = learner(D, config.optimizer.d, train.batch, train.micro_batch)
    ema = Ema(G, images(config.ema.half_life), config.ema.ramp_up)
    stream = Stream(dataset, config.seed, config.data.labels, config.data.mirror, resident(dataset, device))
    health = Health(device)
    step = AdversarialStep(config, g, d, ema, seen_through, growth, burn_in, health, stream, world, device)
    if min(train.micro_batch, train.micro_batch_g) < step.least:
        raise ConfigError(
            f"{net.name} normalises over the batch, and one image is none: use a micro-batch of {step.least} or more."
        )
    return step


def prepare_stages(config: Config, G: nn.Module, D: nn.Module) -> None:
    """Those that learn nothing, and those whose maps are made again in the backward pass. Raises `ConfigError`."""
    if config.start is not None:
        freeze(G, config.start.freeze_g, "--freeze-g")
        freeze(D, config.start.freeze_d, "--freeze-d")
    if config.train.recompute:
        if config.train.compile:
            raise ConfigError(
                "train.recompute and --compile have not been seen to work together: leave one of them out."
            )
        recompute(G)
        recompute(D)


def without_labels(class_names: Sequence[str]) -> ConfigError:
    """What to say where labels are asked for, and not all images have one."""
    lack = "some of these images have no class" if class_names else "these images have no classes"
    return ConfigError(f"data.labels is on, but {lack}: sort them into a folder a class, or set data.labels=false.")


def freeze(network: nn.Module, count: int, flag: str) -> None:
    """Let the first `count` stages of a network learn nothing."""
    if not count:
        return
    found = stages(network, flag)
    if count >= len(found):
        raise ConfigError(f"{flag} {count}: of {len(found)} stages some must learn: give at most {len(found) - 1}.")
    for stage in found[:count]:
        stage.requires_grad_(False)


def stages(network: nn.Module, flag: str) -> list[nn.Module]:
    """Raises `ConfigError`."""
    if not isinstance(network, Staged):
        raise ConfigError(f"{flag}: this network does not say what its stages are: give its class a method stages().")
    return network.stages()


def recompute(network: nn.Module) -> None:
    """Let each stage keep its inputs alone, and make all else again in the backward pass. Raises `ConfigError`.

    Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): the numbers are the same to the last bit.
    """
    parts, found = set(network.modules()), stages(network, "train.recompute")
    if not parts.issuperset(found):
        raise ConfigError("train.recompute: this network does not call its stages one by one: set it to false.")
    for stage in found:
        stage.forward = partial(checkpoint, stage.forward, use_reentrant=False)
