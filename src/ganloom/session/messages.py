"""What a session says: what was chosen, where it starts, what it made, why it stopped."""

import contextlib
from pathlib import Path

from ganloom.config import Config
from ganloom.core.device import device_name
from ganloom.core.errors import ModelError, RunError
from ganloom.core.terminal import log
from ganloom.guard.guard import Verdict
from ganloom.metrics.scores import metric_of
from ganloom.models import modelfile
from ganloom.runs import Facts, RunFolder
from ganloom.runs.status import State
from ganloom.session.context import Context
from ganloom.session.intervals import Intervals
from ganloom.training import checkpoint
from ganloom.training.step import AdversarialStep

__all__ = ["State", "announce", "out_of_memory", "report_files", "report_start", "why_stopped"]


def announce(config: Config, facts: Facts, out: Path, context: Context) -> None:
    """What was chosen, before anything else."""
    dataset = context.dataset
    intervals = Intervals.of(config, facts)
    classes = f" in {len(dataset.class_names)} classes" if dataset.class_names else ""
    used = "with labels" if config.data.labels else "labels not used" if dataset.class_names else "no labels"
    # The speed of a growing network is that at full size: small images are faster.
    estimate = "" if intervals.seconds is None else "about " if config.growth is None else "at least "
    scores = f"{', '.join(config.evaluate.metrics)} every {config.evaluate.every}"
    lines = {
        "data": f"{config.data.source}: {dataset.count():,} training images{classes} ({used})",
        "shape": str(dataset.shape),
        "recipe": f"{facts.recipe} ({config.net.name}, {config.loss.name}, batch {config.train.batch})",
        "length": f"{config.train.length}, {estimate}{intervals.total:,} images",
        "device": device_name(context.device),
        "scores": scores if intervals.evaluate else "none",
        "guard": f"checks every {config.guard.every}" if intervals.guard else "none",
        "run": str(out),
    }
    for name, text in lines.items():
        log.info(f"{name:<9} {text}")


def report_start(step: AdversarialStep, intervals: Intervals, folder: RunFolder) -> None:
    """Where the training starts from, and what the user should know about its length."""
    if step.nimg:
        log.info(f"resuming at {step.nimg:,} images")
    if intervals.seconds is None and step.nimg >= intervals.total:
        log.info(f"this run is complete; to make it longer: ganloom resume {folder.path} --length '...'")
    if step.growth is None:
        return
    log.info(f"growth    full resolution from {step.growth.final_resolution_at:,} images on")
    if step.growth.final_resolution_at > intervals.total:
        log.warning(
            f"the run ends at {intervals.total:,} images, before the full resolution: its images stay coarse. "
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
        log.info(f"best      {folder.best} ({best['nimg']:,} images; {', '.join(scores)})")


def why_stopped(folder: RunFolder, step: AdversarialStep, verdict: Verdict, *, guarded: bool) -> str:
    """What the guard found, and what is left of the training."""
    good = folder.best if folder.best.exists() else checkpoint.healthiest(folder.checkpoints, step)
    who = "the guard stopped the training" if guarded else "the training cannot continue"
    kept = f"The last good model is kept: {good}." if good else "There was no good model to keep."
    return f"{who} at {step.nimg:,} images. {verdict.text} {kept}"


def out_of_memory(error: RuntimeError, step: AdversarialStep) -> RunError:
    elsewhere = "" if step.device.type == "cpu" else ", or use --device cpu, which is slow"
    return RunError(
        f"out of memory at {step.nimg:,} images, and smaller micro-batches do not help ({str(error).splitlines()[0]}). "
        "Free some memory, or use smaller networks (net.g.width, net.d.width), optimizers that keep less "
        "(optimizer.g.name=rmsprop, optimizer.d.name=rmsprop), or fewer images for guard, scores and samples (guard.n, "
        f"evaluate.n, sample.count){elsewhere}. What was saved is intact."
    )
