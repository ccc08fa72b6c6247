"""What happens when: step, track, sample, save, stop."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from ganloom.training.recorder import Recorder
from ganloom.training.step import AdversarialStep
from ganloom.training.stopping import StopSignals

__all__ = ["Plan", "loop"]


@dataclass(frozen=True)
class Plan:
    """When a run ends and what happens on the way, in images; `seconds` for a length in minutes."""

    total: int  # with `seconds` an estimate, which schedules follow and nothing else
    seconds: float | None
    log: int
    sample: int
    evaluate: int
    checkpoint: int


def loop(
    step: AdversarialStep,
    plan: Plan,
    recorder: Recorder | None,  # in the first process alone
    advanced: Callable[[int, float, float], None],  # hears of every step: images, seconds, images per second
    spent: float,  # seconds of training before this session
) -> signal.Signals | None:
    """Train until the plan's end, or until told to stop; returns the signal that stopped it, if one did."""
    began, began_at = time.monotonic(), step.nimg
    seconds, evaluated_at = spent, began_at
    with StopSignals() as signals:
        while not finished(step, plan, seconds):
            before, after = step.nimg, step.nimg + step.images_per_step
            last = plan.seconds is None and after >= plan.total
            logged = before == 0 or last or crosses(plan.log, before, after)

            stats = step.advance(measure=logged)

            elapsed = time.monotonic() - began
            seconds, speed = spent + elapsed, (step.nimg - began_at) / elapsed
            advanced(step.nimg, seconds, speed)
            if recorder and logged:
                recorder.log(step, stats, seconds, speed)
            if recorder and not last and crosses(plan.sample, before, after):
                recorder.samples(step)
            if recorder and not last and crosses(plan.evaluate, before, after):
                recorder.evaluate(step, seconds)
                evaluated_at = step.nimg
            if recorder and not last and crosses(plan.checkpoint, before, after):
                recorder.save(step, seconds)
            if step.world.any(signals.received is not None, step.device):
                break
        if finished(step, plan, seconds) and recorder and plan.evaluate and step.nimg > evaluated_at:
            recorder.evaluate(step, seconds)
        if recorder:
            recorder.save(step, seconds)
            recorder.samples(step)
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
