"""What happens when: fetch and step, track, sample, save, stop."""

import signal
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ganloom.config import Config
from ganloom.core.pictures import grid, save_png
from ganloom.nets import modelfile
from ganloom.nets.generate import generate
from ganloom.runs import Run
from ganloom.tracking import Trackers
from ganloom.training import checkpoint
from ganloom.training.step import AdversarialStep, Stats
from ganloom.training.stopping import StopSignals

__all__ = ["Plan", "loop"]

MOST_COLUMNS = 16  # classes that a grid shows as columns


@dataclass(frozen=True)
class Plan:
    """When a run ends and what happens on the way, in images; `seconds` for a length in minutes."""

    total: int  # with `seconds` an estimate, which schedules follow and nothing else
    seconds: float | None
    log: int
    sample: int
    checkpoint: int


def loop(
    step: AdversarialStep,
    run: Run,
    config: Config,
    plan: Plan,
    header: modelfile.Header,
    trackers: Trackers,
    spent: float,
) -> signal.Signals | None:
    """Train until the plan's end, or until told to stop; returns the signal that stopped it, if one did.

    `spent` is the training time of earlier sessions in seconds. Every process runs this loop; the first writes.
    """
    first = step.world.is_first
    began, began_at = time.monotonic() - spent, step.nimg
    with StopSignals() as signals:
        while not finished(step, plan, time.monotonic() - began):
            nimg = step.nimg + step.images_per_step
            last = plan.seconds is None and nimg >= plan.total
            logged = last or began_at == step.nimg == 0 or crosses(plan.log, step.nimg, nimg)
            sampled = crosses(plan.sample, step.nimg, nimg)
            saved = crosses(plan.checkpoint, step.nimg, nimg)

            stats = step.advance(measure=logged)

            if logged and first:
                seconds = time.monotonic() - began
                trackers.scalars(step.nimg, row(step, stats, seconds, (step.nimg - began_at) / (seconds - spent)))
            if sampled and first:
                save_samples(step, run, config, header, trackers)
            if saved and first:
                save(step, run, config, header, time.monotonic() - began)
            if step.world.any(signals.received is not None, step.device):
                break
        if first:
            save(step, run, config, header, time.monotonic() - began)
            save_samples(step, run, config, header, trackers)
        step.world.barrier()
        return signals.received


def finished(step: AdversarialStep, plan: Plan, seconds: float) -> bool:
    """Only a length in minutes asks the clock, and then every process must hear the first one's."""
    if plan.seconds is None:
        return step.nimg >= plan.total
    return step.world.any(step.world.is_first and seconds >= plan.seconds, step.device)


def crosses(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]; 0 means never."""
    return every > 0 and after // every > before // every


def row(step: AdversarialStep, stats: Stats, seconds: float, images_per_second: float) -> dict[str, float]:
    """A line of the log. All but the last two columns are the same in every repetition."""
    return {
        "epoch": round(step.nimg / step.stream.dataset.count(), 4),
        **{name: float(value) for name, value in stats.items()},
        "lr_g": step.g.rate(step.nimg - step.images_per_step),
        "lr_d": step.d.rate(step.nimg - step.d.batch),
        "seconds": round(seconds, 3),
        "images_per_second": round(images_per_second, 2),
    }


def save(step: AdversarialStep, run: Run, config: Config, header: modelfile.Header, seconds: float) -> None:
    """The checkpoint, then the model it makes."""
    refresh(step, config)  # first: what a checkpoint holds must not depend on when pictures were last made
    checkpoint.save(run.checkpoints, step, seconds=seconds, keep=config.checkpoint.keep)
    training = {**header.training, "nimg": step.nimg}
    modelfile.write(run.model, step.ema.G, header.model_copy(update={"training": training}))


def save_samples(step: AdversarialStep, run: Run, config: Config, header: modelfile.Header, trackers: Trackers) -> None:
    """The same latents every time."""
    refresh(step, config)
    count = config.sample.count
    labels = sample_labels(step, header, count)
    pictures = torch.cat(list(generate(step.ema.G, config.net.latent, count, config.seed, labels)))
    picture = grid(pictures, columns=grid_columns(header))
    save_png(run.sample(step.nimg), picture)
    trackers.images(step.nimg, "samples", picture)


def save_reals(step: AdversarialStep, run: Run, config: Config) -> None:
    """The first images of the training, laid out as the samples are."""
    save_png(run.samples / "reals.png", grid(step.stream.images(0, config.sample.count)))


def refresh(step: AdversarialStep, config: Config) -> None:
    step.ema.refresh(config.seed, config.net.latent, step.g.micro_batch, step.stream.labels)


def sample_labels(step: AdversarialStep, header: modelfile.Header, count: int) -> Tensor | None:
    """One class a column; where images have several classes, those of the first training images."""
    labels = step.stream.labels(0, count)
    if labels is None or labels.is_floating_point():
        return labels
    return torch.arange(count) % len(header.class_names)


def grid_columns(header: modelfile.Header) -> int | None:
    return len(header.class_names) if header.labels and 1 < len(header.class_names) <= MOST_COLUMNS else None
