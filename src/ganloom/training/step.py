"""The adversarial step: two functions that read like the paper."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ganloom import objectives
from ganloom.augment import Adaptive
from ganloom.config import Config
from ganloom.core import rng
from ganloom.core.device import computes_in_bf16, to_device
from ganloom.core.distributed import World
from ganloom.core.errors import ConfigError
from ganloom.core.pictures import to_float
from ganloom.data.stream import Stream
from ganloom.nets.contract import Judgement, Styled
from ganloom.objectives import Judged, RelativisticLoss
from ganloom.training.ema import Ema
from ganloom.training.fakes import ReusableFakes
from ganloom.training.growth import Growth
from ganloom.training.health import Health
from ganloom.training.learner import Learner
from ganloom.training.penalties import LastPenalties, Penalties
from ganloom.training.retry import Retry
from ganloom.training.schedules import BurnIn

__all__ = ["AdversarialStep", "MicroBatch", "Parts", "Stats"]

Stats = dict[str, Tensor]  # scalars, averaged over the micro-batches of an update
PATH_MEMORY = 0.01  # weight of the newest value in the mean path length (Karras et al. 2020, appendix B)


class MicroBatch(NamedTuple):
    """What one forward pass sees."""

    first: int  # its first sample in the stream
    size: int
    z: Tensor  # [size, latent]
    y: Tensor | None  # int64 [size] or float [size, K]


@dataclass(frozen=True)
class Parts:
    """What learns, and what follows or guides the learning."""

    g: Learner
    d: Learner
    ema: Ema
    augment: nn.Module  # of all images that D sees
    growth: Growth | None
    burn_in: BurnIn
    health: Health


class AdversarialStep:
    """G and D, everything that trains them, and the image count `nimg`; the same in every process.

    The micro-batch is the unit of the mathematics: batch statistics see one micro-batch, its randomness is keyed by its
    place in the update, gradients are averaged over an update's micro-batches, and processes only share them out.
    """

    def __init__(self, config: Config, parts: Parts, stream: Stream, world: World, device: torch.device) -> None:
        """Raises `ConfigError` for an unknown loss or penalty."""
        self.config, self.stream, self.world, self.device = config, stream, world, device
        self.g, self.d, self.ema, self.augment, self.growth = parts.g, parts.d, parts.ema, parts.augment, parts.growth
        self.burn_in, self.health = parts.burn_in, parts.health
        self.adaptive = self.augment if isinstance(self.augment, Adaptive) else None
        self.loss = objectives.loss(config.loss.name, config.loss.options)
        self.penalties = Penalties(config.penalties, self.burn_in)
        self.last_penalties = LastPenalties(self.penalties, device)
        self.bf16 = uses_bf16(config.train.precision, device)
        self.G: nn.Module = torch.compile(self.g.net) if config.train.compile else self.g.net  # type: ignore[assignment]
        self.D: nn.Module = torch.compile(self.d.net) if config.train.compile else self.d.net  # type: ignore[assignment]
        self.buffers = [buffer for module in (self.g.net, self.d.net, self.augment) for buffer in module.buffers()]
        self.fakes = ReusableFakes(self.g, self.d, world)
        self.retry = Retry((self.g, self.d), self.buffers, world, device)
        self.nimg = 0
        self.images_per_step = config.images_per_step
        self.halved = False  # whether micro-batches have become smaller than in `config`

    @property
    def min_micro_batch(self) -> int:
        """Images that a micro-batch must have."""
        return self.retry.min_micro_batch

    def advance(self, *, measure: bool) -> Stats:
        """D's updates, then G's.

        With `measure` the statistics also have the norms of gradients and updates, D's opinion of G's images after G's
        update, and the newest value of each lazy penalty.
        """
        stats = self.grow()
        if self.adaptive is not None:
            self.adaptive.reach(self.burn_in.augment(self.nimg))
        for remaining in reversed(range(self.config.train.d_updates)):
            last = remaining == 0
            update = partial(self.discriminator_step, keep=last, measure=measure and last)
            stats |= self.retry_smaller(self.d, update)
        stats |= self.retry_smaller(self.g, partial(self.generator_step, measure=measure))
        self.last_penalties.observe(stats)
        if measure:
            stats = self.last_penalties.copies() | stats
            stats |= self.measure_generator()
        if self.adaptive is not None:
            stats["augment_p"] = self.adaptive.p.clone()
        return stats

    def observe_score(self, score: float) -> None:
        """Pass the first process's score, lower is better, to the schedules in every process; NaN means none."""
        shared = torch.tensor(score, device=self.device)
        self.world.broadcast([shared])
        if torch.isfinite(shared):
            for learner in (self.g, self.d):
                learner.schedule.observe_score(float(shared))

    def discriminator_step(self, *, keep: bool = False, measure: bool = False) -> Stats:
        """Teach D to tell real images from generated ones; `keep` the generated ones for G's update, if possible."""
        keep = keep and self.fakes.possible
        due = self.penalties.due(self.penalties.d, self.nimg, self.d.batch)
        judge = self.judge_exactly if self.penalties.differentiate(due) else self.judge
        stats = self.zeros("loss_d", "d_real", "d_sign", *(f"penalty_{name}" for name in due))
        self.fakes.clear()
        for micro in self.micro_batches(self.d, self.nimg):
            with torch.set_grad_enabled(keep), self.autocast():
                fake = self.G(micro.z, micro.y)
            if keep:
                self.fakes.keep(fake)
            real, made = judge(self.reals(micro), micro.y), judge(fake.detach(), micro.y)
            loss = self.loss.d(real.logits, made.logits).mean()
            stats["loss_d"] += loss.detach()
            stats["d_real"] += real.logits.detach().sigmoid().mean()
            stats["d_sign"] += real.logits.detach().sign().mean()
            for name, weight in due.items():
                penalty = self.penalties.d[name](real, made, self.judge_exactly).mean()
                stats[f"penalty_{name}"] += penalty.detach()
                loss = loss + weight * penalty
            self.backward(loss, self.d)
        before, self.nimg = self.nimg, self.nimg + self.d.batch
        self.update(self.d, stats, "d", before, measure)
        self.health.observe(stats["d_sign"])
        if self.adaptive is not None:
            self.adaptive.adapt(stats["d_sign"], self.d.batch)
        return stats

    def generator_step(self, *, measure: bool = False) -> Stats:
        """Teach G to make images that D takes for real."""
        before = self.nimg - self.images_per_step
        due = self.penalties.due(self.penalties.g, before, self.images_per_step)
        stats = self.zeros("loss_g", "d_fake_before", *(f"penalty_{name}_g" for name in due))
        due_paths = self.penalties.due(self.penalties.path, before, self.images_per_step)
        stats |= self.zeros(*(f"{kind}_{name}" for name in due_paths for kind in ("penalty", "mean")))
        self.d.track_gradients(False)  # D does not learn here
        for micro in self.micro_batches(self.g, self.nimg - self.d.batch):
            with self.autocast():
                fake = self.fakes.take()
                fake = self.G(micro.z, micro.y) if fake is None else fake
            rng.seed(self.config.seed, self.nimg, micro.first, "judge")  # whether or not G has just drawn
            made, real = self.judge(fake, micro.y), cache(partial(self.judge_reals, micro))
            if isinstance(self.loss, RelativisticLoss):
                loss = self.loss.g(real().logits, made.logits).mean()
            else:
                loss = self.loss.g(made.logits).mean()
            stats["loss_g"] += loss.detach()
            stats["d_fake_before"] += made.logits.detach().sigmoid().mean()
            for name, weight in due.items():
                penalty = self.penalties.g[name](made, real).mean()
                stats[f"penalty_{name}_g"] += penalty.detach()
                loss = loss + weight * penalty
            self.backward(loss, self.g)
            for name, weight in due_paths.items():
                self.backward(weight * self.path(name, micro, stats), self.g)
        self.d.track_gradients(True)
        self.update(self.g, stats, "g", before, measure)
        for name in due_paths:
            self.styled.path_length.lerp_(stats.pop(f"mean_{name}"), PATH_MEMORY)
        self.ema.update(self.nimg, self.images_per_step, self.burn_in.half_life(self.nimg))
        return stats

    @torch.no_grad()
    def measure_generator(self) -> Stats:
        """What D says of G's images after G's update, of the same latents and under the same augmentation."""
        stats = self.zeros("d_fake_after")
        for micro in self.micro_batches(self.g, self.nimg - self.d.batch):
            with self.autocast():
                fake = self.G(micro.z, micro.y)
            rng.seed(self.config.seed, self.nimg, micro.first, "judge")  # as in `generator_step`
            stats["d_fake_after"] += self.judge(fake, micro.y).logits.sigmoid().mean()
        self.world.sum_in_place(list(stats.values()))
        return {"d_fake_after": stats["d_fake_after"] / self.g.micro_batches}

    # What the two steps are made of.

    def micro_batches(self, learner: Learner, start: int) -> Iterator[MicroBatch]:
        """This process's micro-batches of an update that begins at sample `start`, each with its randomness keyed.

        G's update begins where D's last one did, and so has the same latents and labels.
        """
        for index in self.world.share(learner.micro_batches):
            first, size = start + index * learner.micro_batch, learner.micro_batch
            y = self.stream.labels(first, size)
            rng.seed(self.config.seed, start, index, "step")
            z = to_device(torch.randn(size, self.config.net.latent), self.device)
            yield MicroBatch(first, size, z, None if y is None else to_device(y, self.device))

    def reals(self, micro: MicroBatch) -> Tensor:  # [size, C, H, W]
        images = to_float(to_device(self.stream.images(micro.first, micro.size), self.device))
        return images if self.growth is None else self.growth.faded(images)

    def judge(self, images: Tensor, y: Tensor | None) -> Judged:
        """What D says of augmented images. The augmentation is in full precision: sampling coordinates need float32."""
        seen = self.augment(images.to(torch.get_default_dtype()))
        with self.autocast():
            judgement = self.D(seen, y)
        return judged(images, y, judgement)

    def judge_exactly(self, images: Tensor, y: Tensor | None) -> Judged:
        """The same with gradients to the images, in full precision, without compilation: compiled graphs have no second
        derivative.
        """
        images = images.to(torch.get_default_dtype()).detach().requires_grad_()
        return judged(images, y, self.d.net(self.augment(images), y))

    def judge_reals(self, micro: MicroBatch) -> Judged:
        return self.judge(self.reals(micro), micro.y)

    def path(self, name: str, micro: MicroBatch, stats: Stats) -> Tensor:
        """A path penalty on half of a micro-batch, in full precision, through G without compilation."""
        half = max(1, micro.size // 2)
        rng.seed(self.config.seed, self.nimg, micro.first, name)
        paths = self.penalties.path[name](self.styled, micro.z[:half], None if micro.y is None else micro.y[:half])
        stats[f"penalty_{name}"] += paths.penalty.detach().mean()
        stats[f"mean_{name}"] += paths.length.detach().mean()
        return paths.penalty.mean()

    @property
    def styled(self) -> Styled:
        """G, if it has styles. Raises `ConfigError`."""
        if not isinstance(self.g.net, Styled):
            raise ConfigError(
                f"path_length needs a generator with styles, which {self.config.net.name} does not have: leave the "
                "penalty out, or set net=stylegan2."
            )
        return self.g.net

    def grow(self) -> Stats:
        """Bring both networks to their level at `nimg`; new layers restart the optimizers."""
        if self.growth is None:
            return {}
        if self.growth.reach(self.nimg):
            self.g.reset_optimizer()
            self.d.reset_optimizer()
        return {"level": torch.tensor(self.growth.level(self.nimg))}

    def backward(self, loss: Tensor, learner: Learner) -> None:
        (loss / learner.micro_batches).backward()  # type: ignore[no-untyped-call]

    def update(self, learner: Learner, stats: Stats, place: str, before: int, measure: bool) -> None:
        """Average statistics and gradients over micro-batches and processes, and step on the gradients."""
        self.retry.commit()
        for total in stats.values():
            total /= learner.micro_batches
        learner.reduce(self.world, stats)
        moves = learner.update(stats[f"loss_{place}"], before, self.nimg, measure)
        stats |= {f"{name}_{place}": move for name, move in moves.items()}

    def retry_smaller(self, learner: Learner, update: Callable[[], Stats]) -> Stats:
        """An update, repeated in smaller micro-batches if it runs out of memory."""
        nimg = self.nimg

        def undo() -> None:
            self.nimg, self.halved = nimg, True
            self.fakes.clear()

        return self.retry.retry_smaller(learner, update, undo)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def zeros(self, *names: str) -> Stats:
        return {name: torch.zeros((), device=self.device) for name in names}


def judged(images: Tensor, y: Tensor | None, judgement: Judgement) -> Judged:
    """Images and what D said of them, in full precision."""
    dtype = torch.get_default_dtype()
    features, class_logits = (part if part is None else part.to(dtype) for part in judgement[1:])
    return Judged(images, y, judgement.logits.to(dtype), features, class_logits)


def uses_bf16(precision: str, device: torch.device) -> bool:
    """`auto` means bf16 on GPUs that compute in it."""
    if precision == "auto":
        return device.type == "cuda" and computes_in_bf16(device)
    return precision == "bf16"
