"""What a session says: what was chosen, how long it takes, where it starts, what it made, why it stopped."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from ganloom.config import Config
from ganloom.core.device import cpu_instructions, device_name
from ganloom.core.errors import ModelError, RunError
from ganloom.core.lengths import Length
from ganloom.core.terminal import log
from ganloom.core.words import counted, lasting, speed_of
from ganloom.guard.guard import Verdict
from ganloom.metrics.scores import metric_of
from ganloom.models import modelfile
from ganloom.runs import Facts, RunFolder, checkpoints
from ganloom.session.context import Context
from ganloom.session.intervals import Intervals
from ganloom.synthesis.best import lead_of_best
from ganloom.training import checkpoint
from ganloom.training.step import AdversarialStep

__all__ = [
    "announce",
    "out_of_memory",
    "report_files",
    "report_inexact",
    "report_interrupt",
    "report_intervals",
    "report_speed",
    "report_start",
    "reported_if_interrupted",
    "why_stopped",
]

DAY = 24 * 60  # minutes


def announce(config: Config, recipe: str, out: Path, context: Context) -> None:
    """What was chosen, before anything that takes time. `config` is resolved."""
    dataset, length = context.dataset, config.train.length
    classes = f" in {counted(len(dataset.class_names), 'class')}" if dataset.class_names else ""
    used = "with labels" if config.data.labels else "labels not used" if dataset.class_names else "no labels"
    in_all = "" if length.is_time else f", {counted(_total(config, dataset.count()), 'image')}"
    lines = {
        "data": f"{config.data.source}: {counted(dataset.count(), 'training image')}{classes} ({used})",
        "shape": str(dataset.shape),
        "recipe": f"{recipe} ({config.net.name}, {config.loss.name}, batch {config.train.batch})",
        "length": str(length) + ("" if length.unit == "images" else in_all),
        "device": device_name(context.device),
        "run": str(out),
        "next": "estimate memory, time some steps, then train"
        if None in _open(config)
        else "estimate memory, then train",
    }
    for name, text in lines.items():
        _say(name, text)


def report_speed(config: Config, images: int, images_per_minute: float) -> None:
    """How long a training on so many `images` takes at this speed, or how many it sees; a warning if it is long."""
    # The speed of a growing network is that at full size: small images are faster.
    per_second, length = speed_of(images_per_minute), config.train.length
    if length.is_time:
        estimate = "about" if config.growth is None else "at least"
        seen = counted(round(length.minutes * images_per_minute), "image")
        _say("speed", f"{per_second}: {estimate} {seen} in {length}")
        minutes = length.minutes
    else:
        minutes = _total(config, images) / images_per_minute
        estimate = "about" if config.growth is None else "at most"
        _say("speed", f"{per_second}: {estimate} {lasting(minutes)} for {length}")
    if minutes > DAY and not length.is_time:
        log.warning(
            f"{length} take {estimate} {lasting(minutes)} on this device. Ctrl-C saves at any time, and ganloom resume "
            "continues; --length '2 hours' ends it sooner, and --recipe names others: see ganloom recipes."
        )


def report_intervals(config: Config) -> None:
    """What happens during the training; known only when it has been timed."""
    scores, guard = _open(config)
    _say("scores", f"{', '.join(config.evaluate.metrics)} every {scores}" if scores and scores.amount else "none")
    _say("guard", f"checks every {guard}" if guard and guard.amount else "none")


def _say(name: str, text: str) -> None:
    log.info(f"{name:<9} {text}")


def _total(config: Config, images: int) -> int:
    """Images of the whole training, of a length that is no time."""
    return config.train.length.images(epoch=images, step=config.images_per_step)


def _open(config: Config) -> tuple[Length | None, Length | None]:
    """The intervals that are timed where they are null."""
    return config.evaluate.every, config.guard.every


@contextlib.contextmanager
def reported_if_interrupted(folder: RunFolder) -> Iterator[None]:
    """Around what comes before the first step."""
    try:
        yield
    except KeyboardInterrupt:
        report_interrupt(folder)
        raise


def report_interrupt(folder: RunFolder) -> None:
    """What is kept where Ctrl-C ends a training at once: before its first step, or while it saves."""
    again = f"ganloom resume {folder.path}"
    reached = checkpoints.reached(folder.checkpoints)
    if reached:
        kept = f"the checkpoint at {counted(reached, 'image')} is kept, what came after it is lost"
        log.info(f"stopped at once: {kept}; continue with: {again}")
    elif folder.status_file.exists():
        log.info(f"stopped before anything was saved: nothing is trained; start with the same settings: {again}")
    else:
        log.info(
            "stopped before the first step: nothing was trained, and no run folder was created. The prepared images "
            "are kept, so the same command starts sooner."
        )


def report_start(step: AdversarialStep, intervals: Intervals, folder: RunFolder) -> None:
    """Where the training starts from, and what the user should know about its length."""
    if step.nimg:
        log.info(f"resuming at {counted(step.nimg, 'image')}")
    if intervals.seconds is None and step.nimg >= intervals.total:
        log.info(f"this run is complete; to make it longer: ganloom resume {folder.path} --length '...'")
    if step.growth is None:
        return
    log.info(f"growth    full resolution from {step.growth.final_resolution_at:,} images on")
    if step.growth.final_resolution_at > intervals.total:
        log.warning(
            f"the run ends at {counted(intervals.total, 'image')}, before the full resolution: its images stay coarse. "
            "Make it longer (--length), or growth.hold and growth.fade shorter."
        )


def report_files(folder: RunFolder, best_metric: str) -> None:
    """Where the newest samples, the model and the best model are."""
    for name, made in (("samples", folder.newest_sample()), ("model", folder.model)):
        if made is not None and made.exists():  # a training that diverged at once has made neither
            log.info(f"{name:<9} {made}")
    with contextlib.suppress(ModelError):  # no best yet, or a damaged one, which the next best replaces
        best = modelfile.read_header(folder.best).training
        scores = [f"{name} {value:.4g}" for name, value in best["best"].items() if metric_of(name) == best_metric]
        log.info(f"best      {folder.best} ({counted(best['nimg'], 'image')}; {', '.join(scores)})")
    if lead := lead_of_best(folder):
        log.info(f"note: {lead.text}")


def report_inexact(facts: Facts, device: torch.device) -> None:
    """Say so if the run started with something else that decides about the last bits of a number."""
    pairs = [
        (f"torch {facts.torch}", f"torch {torch.__version__}"),
        (_hardware(facts.device), _hardware(device_name(device))),
    ]
    if device.type == "cpu":
        pairs.append((counted(facts.threads, "thread"), counted(torch.get_num_threads(), "thread")))
        if facts.instructions is not None:  # runs of older versions do not say
            pairs.append((f"{facts.instructions} instructions", f"{cpu_instructions()} instructions"))
    if changed := [pair for pair in pairs if pair[0] != pair[1]]:
        then, here = (", ".join(texts) for texts in zip(*changed, strict=True))
        log.info(f"note: the run started with {then}; with {here} it will resume, but not bit-exactly.")


def _hardware(name: str) -> str:
    """Of a `device_name`, neither the threads of a CPU nor the number of a GPU."""
    return "cpu" if name.startswith("cpu") else re.sub(r":\d+", "", name)


def why_stopped(folder: RunFolder, step: AdversarialStep, verdict: Verdict, *, guarded: bool) -> str:
    """What the guard found, and what is left of the training."""
    good = folder.best if folder.best.exists() else checkpoint.healthiest(folder.checkpoints, step)
    who = "the guard stopped the training" if guarded else "the training cannot continue"
    kept = f"The last good model is kept: {good}." if good else "There was no good model to keep."
    return f"{who} at {counted(step.nimg, 'image')}. {verdict.text} {kept}"


def out_of_memory(error: Exception, step: AdversarialStep) -> RunError:
    (reason, *_) = str(error).splitlines() or [type(error).__name__]
    elsewhere = "" if step.device.type == "cpu" else ", or use --device cpu, which is slow"
    return RunError(
        f"out of memory at {counted(step.nimg, 'image')}, and smaller micro-batches do not help ({reason}). "
        "What was saved is intact. Free some memory, or resume with optimizers that keep less (--set "
        "optimizer.g.name=rmsprop --set optimizer.d.name=rmsprop), or fewer images for guard, scores and samples "
        f"(guard.n, evaluate.n, sample.count){elsewhere}. Smaller networks (net.g.width, net.d.width) need a new run."
    )
