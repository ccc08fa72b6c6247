"""What happens when: step, track, sample, save, stop."""

import contextlib
import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, get_args

import torch

from ganloom.config.sections import Action
from ganloom.core.lengths import crosses
from ganloom.guard.guard import Verdict
from ganloom.guard.signals import Signals, all_finite
from ganloom.session.recorder import Recorder
from ganloom.session.stopping import Stopped, StopSignals
from ganloom.training.step import AdversarialStep

__all__ = ["End", "Plan", "loop"]

ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True)
class Plan:
    """When a run ends and what happens on the way, in images; `seconds` for a length in minutes."""

    total: int  # with `seconds` an estimate, which schedules follow and nothing else
    seconds: float | None
    log: int
    sample: int
    evaluate: int
    checkpoint: int
    guard: int


class End(NamedTuple):
    """How a training ended, the same in every process but for what only the first one knows."""

    seconds: float  # of training
    stopped_by: signal.Signals | None = None
    action: Action | None = None  # what the guard, or early stopping, wants
    verdict: Verdict | None = None  # in the first process, unless it was early stopping


def loop(
    step: AdversarialStep,
    plan: Plan,
    recorder: Recorder | None,  # in the first process alone
    advanced: Callable[[int, float, float], None],  # hears of every step: images, seconds, images per second
    spent: float,  # seconds of training before this session
) -> End:
    """Train until the plan's end, or until a signal, the guard or, without one, weights that are none end it sooner."""
    began, began_at = time.monotonic(), step.nimg
    seconds = spent
    end: End | None = None
    evaluated_at = recorder.evaluated_at if recorder and plan.evaluate else began_at
    with StopSignals() as signals:
        if began_at and crosses(plan.evaluate, began_at - step.images_per_step, began_at):
            # A signal may have cut short the evaluation after which the training was saved.
            enough = evaluated(recorder if evaluated_at < began_at else None, step, plan, seconds, signals)
            if step.world.any(signals.received is not None, step.device):
                end = End(seconds, signals.received)
            elif enough:
                end = End(seconds, None, "stop")
            evaluated_at = began_at
        while end is None and not finished(step, plan, seconds):
            before, after = step.nimg, step.nimg + step.images_per_step
            last = plan.seconds is None and after >= plan.total
            logged = before == 0 or last or crosses(plan.log, before, after)
            saved = not last and crosses(plan.checkpoint, before, after)
            looked = plan.guard > 0 and (before == 0 or last or crosses(plan.guard, before, after))

            stats = step.advance(measure=logged or looked)

            elapsed = time.monotonic() - began
            seconds, speed = spent + elapsed, (step.nimg - began_at) / max(elapsed, 1e-9)  # Windows' clock ticks
            advanced(step.nimg, seconds, speed)
            # The guard would have seen it. The weights are the same in every process.
            if plan.guard == 0 and (logged or saved) and not all_finite([*step.g.weights, *step.d.weights]):
                end = End(seconds, None, "stop", diverged() if recorder else None)
                break
            if recorder and step.halved:
                recorder.halved(step, seconds)
            step.halved = False
            if recorder and logged:
                recorder.log(step, stats, seconds, speed)
            if looked:
                verdict = recorder.look(step, stats) if recorder else None
                if action := agreed(step, verdict.action if verdict else None):
                    stopped = step.world.any(signals.received is not None, step.device)
                    end = End(seconds, signals.received if stopped else None, action, verdict)
                    break
            if recorder and not last and crosses(plan.sample, before, after):
                recorder.samples(step)
            if not last and crosses(plan.evaluate, before, after):
                evaluated_at = step.nimg
                if evaluated(recorder, step, plan, seconds, signals):
                    end = End(seconds, None, "stop")
                    break
            if recorder and saved:
                recorder.save(step, seconds)
            if step.world.any(signals.received is not None, step.device):
                end = End(seconds, signals.received)
                break
        end = end or End(seconds)
        if finished(step, plan, seconds) and plan.evaluate:
            evaluated(recorder if step.nimg > evaluated_at else None, step, plan, seconds, signals)
            if step.world.any(signals.received is not None, step.device):
                end = end._replace(stopped_by=signals.received)
        if recorder and end.action != "rollback" and not (end.verdict and end.verdict.is_ruin):
            recorder.save(step, seconds)
            recorder.samples(step)
        step.world.barrier()
        return end


def evaluated(
    recorder: Recorder | None, step: AdversarialStep, plan: Plan, seconds: float, signals: StopSignals
) -> bool:
    """Scores; whether better ones are no longer to be hoped for. A signal cuts it short: whoever sends it may not wait.

    What was saved then is scored when the training goes on. Of several processes one measures, and all are told.
    """
    enough, cost = False, math.nan
    if recorder:
        recorder.refresh(step)
        with contextlib.suppress(Stopped):
            with signals.at_once():
                scores = recorder.measure(step)
            enough, cost = recorder.judge(step, scores, seconds)
    # Not of an evaluation at the end alone: made longer, the training is one that never had it.
    due = crosses(plan.evaluate, step.nimg - step.images_per_step, step.nimg)
    step.observe_score(cost if due else math.nan)
    return step.world.any(enough, step.device)


def diverged() -> Verdict:
    """What can be told without looking at pictures."""
    text = "its weights are no numbers any more. Lower rates help: --set optimizer.g.lr=... --set optimizer.d.lr=..."
    return Verdict("divergence", "stop", text, {}, Signals.unseen())


def agreed(step: AdversarialStep, action: Action | None) -> Action | None:
    """What the first process wants, in every process."""
    wanted = torch.tensor(ACTIONS.index(action) if action else -1, device=step.device)
    step.world.broadcast([wanted])
    return ACTIONS[int(wanted)] if wanted >= 0 else None


def finished(step: AdversarialStep, plan: Plan, seconds: float) -> bool:
    """Only a length in minutes asks the clock, and then every process must hear the first one's."""
    if plan.seconds is None:
        return step.nimg >= plan.total
    return step.world.any(step.world.is_first and seconds >= plan.seconds, step.device)
