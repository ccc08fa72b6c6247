"""The adversarial step: two functions that read like the paper."""

from collections.abc import Callable, Iterator, Mapping
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
from ganloom.core.memory import is_out_of_memory
from ganloom.core.pictures import to_float
from ganloom.data.stream import Stream
from ganloom.nets.contract import Judgement, Styled
from ganloom.objectives import Judged, RelativisticLoss
from ganloom.training.buffers import snapshot
from ganloom.training.ema import Ema
from ganloom.training.growth import Growth
from ganloom.training.health import Health
from ganloom.training.lazy import LastPenalties
from ganloom.training.learner import Learner
from ganloom.training.schedules import BurnIn

__all__ = ["AdversarialStep", "Stats"]

Stats = dict[str, Tensor]  # scalars, averaged over the micro-batches of an update
PATH_MEMORY = 0.01  # how much of the mean path length is new each time (Karras et al. 2020, appendix B)


class MicroBatch(NamedTuple):
    """What one forward pass sees."""

    first: int  # its first sample in the stream
    size: int
    z: Tensor  # [size, latent]
    y: Tensor | None  # int64 [size] or float [size, K]


class OutOfMemoryElsewhere(torch.OutOfMemoryError):
    """In another process of this training."""


class AdversarialStep:
    """G and D, all that teaches them, and the image count `nimg`. Every process holds the same.

    The micro-batch is the unit of the mathematics: batch statistics see one micro-batch, its randomness is keyed by its
    place in the update, gradients are averaged over an update's micro-batches, and processes only share them out.
    """

    def __init__(
        self,
        config: Config,
        g: Learner,
        d: Learner,
        ema: Ema,
        augment: nn.Module,
        growth: Growth | None,
        burn_in: BurnIn,
        health: Health,
        stream: Stream,
        world: World,
        device: torch.device,
    ) -> None:
        self.config, self.stream, self.world, self.device = config, stream, world, device
        self.g, self.d, self.ema, self.augment, self.growth = g, d, ema, augment, growth
        self.burn_in, self.health = burn_in, health
        self.adaptive = augment if isinstance(augment, Adaptive) else None
        self.loss = objectives.loss(config.loss.name, config.loss.options)
        self.weights = {name: each.weight for name, each in config.penalties.items() if each.weight}
        penalties = {name: objectives.penalty(name) for name in self.weights}
        self.penalties_d = {name: penalty.d for name, penalty in penalties.items() if penalty.d is not None}
        self.penalties_g = {name: penalty.g for name, penalty in penalties.items() if penalty.g is not None}
        self.penalties_path = {name: penalty.path for name, penalty in penalties.items() if penalty.path is not None}
        self.differentiating = {name for name, penalty in penalties.items() if penalty.differentiates}
        self.bf16 = uses_bf16(config.train.precision, device)
        self.G: nn.Module = torch.compile(g.net) if config.train.compile else g.net  # type: ignore[assignment]
        self.D: nn.Module = torch.compile(d.net) if config.train.compile else d.net  # type: ignore[assignment]
        self.buffers = [buffer for module in (g.net, d.net, augment) for buffer in module.buffers()]
        self.nimg = 0
        self.images_per_step = config.images_per_step
        self.keeps_fakes = self.can_keep_fakes()
        self.kept: list[Tensor] = []
        self.last_penalties = LastPenalties(
            (
                *(f"penalty_{name}" for name in (*self.penalties_d, *self.penalties_path)),
                *(f"penalty_{name}_g" for name in self.penalties_g),
            ),
            device,
        )
        self.moving = False  # whether an update has come to where weights change
        self.halved = False  # whether micro-batches have become smaller than `config` has them

    @property
    def least(self) -> int:
        """Images that a micro-batch must have: of one alone BatchNorm over a vector can take no statistics."""
        modules = (*self.g.net.modules(), *self.d.net.modules())  # both networks see the micro-batches of either
        return 2 if any(isinstance(module, nn.BatchNorm1d) for module in modules) else 1

    def can_keep_fakes(self) -> bool:
        """Where G's step would make the very images again that D's has just judged, it takes those, if one micro-batch
        of them (with all that its gradient needs) is all there is to keep: the same numbers, one pass of G less.
        """
        alone = all(len(self.world.share(learner.micro_batches)) <= 1 for learner in (self.g, self.d))
        return alone and self.d.micro_batch == self.g.micro_batch

    def advance(self, *, measure: bool) -> Stats:
        """D's updates, then G's; with `measure`, say how far they went, and ask D of G's images once more after G's."""
        stats = self.grow()
        if self.adaptive is not None:
            self.adaptive.reach(self.burn_in.augment(self.nimg))
        for remaining in reversed(range(self.config.train.d_updates)):
            last = remaining == 0
            stats |= self.fitted(self.d, partial(self.discriminator_step, keep=last, measure=measure and last))
        stats |= self.fitted(self.g, partial(self.generator_step, measure=measure))
        self.last_penalties.hear(stats)
        if measure:  # rows of the log may never fall on an update in which a lazy penalty is due
            stats = {name: value.clone() for name, value in self.last_penalties.named_buffers()} | stats
            stats |= self.measure_generator()
        if self.adaptive is not None:
            stats["augment_p"] = self.adaptive.p.clone()
        return stats

    def hear(self, cost: float) -> None:
        """Tell the schedules what the first process has measured; of NaN nothing is told."""
        told = torch.tensor(cost, device=self.device)
        self.world.broadcast([told])
        if torch.isfinite(told):
            for learner in (self.g, self.d):
                learner.schedule.hear(float(told))

    def discriminator_step(self, *, keep: bool = False, measure: bool = False) -> Stats:
        """Teach D to tell real images from generated ones; `keep` those for G's step, if it can take them."""
        keep = keep and self.keeps_fakes
        due = self.due(self.penalties_d, self.nimg, self.d.batch)
        exactly = not self.differentiating.isdisjoint(due)
        stats = self.zeros("loss_d", "d_real", "d_sign", *(f"penalty_{name}" for name in due))
        for micro in self.micro_batches(self.d, self.nimg):
            with torch.set_grad_enabled(keep), self.autocast():
                fake = self.G(micro.z, micro.y)
            self.kept = [fake] if keep else []
            judge = self.judge_exactly if exactly else self.judge
            real, made = judge(self.reals(micro), micro.y), judge(fake.detach(), micro.y)
            loss = self.loss.d(real.logits, made.logits).mean()
            stats["loss_d"] += loss.detach()
            stats["d_real"] += real.logits.detach().sigmoid().mean()
            stats["d_sign"] += real.logits.detach().sign().mean()
            for name, weight in due.items():
                penalty = self.penalties_d[name](real, made, self.judge_exactly).mean()
                stats[f"penalty_{name}"] += penalty.detach()
                loss = loss + weight * penalty
            self.backward(loss, self.d)
        before, self.nimg = self.nimg, self.nimg + self.d.batch
        self.update(self.d, stats, "d", before, measure)
        self.health.hear(stats["d_sign"])
        if self.adaptive is not None:
            self.adaptive.adapt(stats["d_sign"], self.d.batch)
        return stats

    def generator_step(self, *, measure: bool = False) -> Stats:
        """Teach G to make images that D takes for real."""
        before = self.nimg - self.images_per_step
        due = self.due(self.penalties_g, before, self.images_per_step)
        stats = self.zeros("loss_g", "d_fake_before", *(f"penalty_{name}_g" for name in due))
        due_paths = self.due(self.penalties_path, before, self.images_per_step)
        stats |= self.zeros(*(f"{kind}_{name}" for name in due_paths for kind in ("penalty", "mean")))
        self.d.listen(False)  # D is only asked
        for micro in self.micro_batches(self.g, self.nimg - self.d.batch):
            with self.autocast():
                fake = self.kept.pop() if self.kept else self.G(micro.z, micro.y)
            rng.seed(self.config.seed, self.nimg, micro.first, "judge")  # whether or not G has drawn just now
            made, real = self.judge(fake, micro.y), cache(partial(self.judge_reals, micro))
            if isinstance(self.loss, RelativisticLoss):
                loss = self.loss.g(real().logits, made.logits).mean()
            else:
                loss = self.loss.g(made.logits).mean()
            stats["loss_g"] += loss.detach()
            stats["d_fake_before"] += made.logits.detach().sigmoid().mean()
            for name, weight in due.items():
                penalty = self.penalties_g[name](made, real).mean()
                stats[f"penalty_{name}_g"] += penalty.detach()
                loss = loss + weight * penalty
            self.backward(loss, self.g)
            for name, weight in due_paths.items():
                self.backward(weight * self.path(name, micro, stats), self.g)
        self.d.listen(True)
        self.update(self.g, stats, "g", before, measure)
        for name in due_paths:
            self.styled.path_length.lerp_(stats.pop(f"mean_{name}"), PATH_MEMORY)
        self.ema.update(self.nimg, self.images_per_step, self.burn_in.half_life(self.nimg))
        return stats

    @torch.no_grad()
    def measure_generator(self) -> Stats:
        """D of what G makes, after its update, of the same latents."""
        stats = self.zeros("d_fake_after")
        for micro in self.micro_batches(self.g, self.nimg - self.d.batch):
            with self.autocast():
                fake = self.G(micro.z, micro.y)
            rng.seed(self.config.seed, self.nimg, micro.first, "judge")  # the augmentation of the judgement before
            stats["d_fake_after"] += self.judge(fake, micro.y).logits.sigmoid().mean()
        self.world.sum_in_place(list(stats.values()))
        return {"d_fake_after": stats["d_fake_after"] / self.g.micro_batches}

    def fitted(self, learner: Learner, update: Callable[[], Stats]) -> Stats:
        """An update; where memory does not suffice, the same samples once more in micro-batches of half the size."""
        while True:
            nimg, restore = self.nimg, snapshot(self.buffers)
            self.moving = False
            try:
                return update()
            except RuntimeError as error:
                # Once weights have moved, the same update would be another one.
                if not is_out_of_memory(error) or self.moving or learner.half < self.least:
                    raise
                elsewhere = isinstance(error, OutOfMemoryElsewhere)
            # Out of `except`, whose traceback holds the maps of the pass that failed.
            if not elsewhere:  # the others ask in `update`
                self.world.any(True, self.device)
            self.nimg, self.kept = nimg, []
            restore()
            self.d.listen(True)
            for each in (self.g, self.d):
                each.optimizer.zero_grad(set_to_none=True)
            learner.micro_batch = learner.half
            self.halved = True
            self.keeps_fakes = self.can_keep_fakes()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    # What the two steps are made of.

    def micro_batches(self, learner: Learner, start: int) -> Iterator[MicroBatch]:
        """This process's micro-batches of an update that begins at sample `start`, each with its randomness keyed.

        G's update begins where D's last one did: it answers for the same latents and labels.
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
        """What D says, under the augmentation, which is in full precision: places in an image want more than bf16."""
        seen = self.augment(images.to(torch.get_default_dtype()))
        with self.autocast():
            judgement = self.D(seen, y)
        return judged(images, y, judgement)

    def judge_exactly(self, images: Tensor, y: Tensor | None) -> Judged:
        """With gradients to the images, in full precision, on D as it is written: a compiled D has one derivative."""
        images = images.to(torch.get_default_dtype()).detach().requires_grad_()
        return judged(images, y, self.d.net(self.augment(images), y))

    def path(self, name: str, micro: MicroBatch, stats: Stats) -> Tensor:
        """A penalty on half of a micro-batch, in full precision, through G as it is written."""
        half = max(1, micro.size // 2)
        rng.seed(self.config.seed, self.nimg, micro.first, name)
        paths = self.penalties_path[name](self.styled, micro.z[:half], None if micro.y is None else micro.y[:half])
        stats[f"penalty_{name}"] += paths.penalty.detach().mean()
        stats[f"mean_{name}"] += paths.length.detach().mean()
        return paths.penalty.mean()

    @property
    def styled(self) -> Styled:
        """G, where it has styles. Raises `ConfigError`."""
        if not isinstance(self.g.net, Styled):
            raise ConfigError(
                f"{self.config.net.name} has no styles, and so no paths from them: leave the penalty out, or set "
                "net=stylegan2."
            )
        return self.g.net

    def judge_reals(self, micro: MicroBatch) -> Judged:
        return self.judge(self.reals(micro), micro.y)

    def due(self, penalties: Mapping[str, object], before: int, images: int) -> dict[str, float]:
        """Weights of the penalties of the update that follows `before` images, `images` after the last one.

        One that is due every k updates counts k times.
        """
        settings, factor, update = self.config.penalties, self.burn_in.penalties(before), before // images
        return {
            name: self.weights[name] * settings[name].interval * factor
            for name in penalties
            if update % settings[name].interval == 0
        }

    def grow(self) -> Stats:
        """Bring both networks to the level of `nimg`; where new layers begin, the optimizers begin anew with them."""
        if self.growth is None:
            return {}
        if self.growth.reach(self.nimg):
            self.g.forget()
            self.d.forget()
        return {"level": torch.tensor(self.growth.level(self.nimg))}

    def backward(self, loss: Tensor, learner: Learner) -> None:
        (loss / learner.micro_batches).backward()  # type: ignore[no-untyped-call]

    def update(self, learner: Learner, stats: Stats, place: str, before: int, measure: bool) -> None:
        if self.world.any(False, self.device):  # before anything is added up: nobody may wait for one that failed
            raise OutOfMemoryElsewhere("another process is out of memory")
        self.moving = True
        for total in stats.values():
            total /= learner.micro_batches
        moves = learner.update(self.world, stats, f"loss_{place}", before, self.nimg, measure)
        stats |= {f"{name}_{place}": move for name, move in moves.items()}

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
