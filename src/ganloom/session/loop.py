"""What happens when: step, log, sample, evaluate, save, stop."""

import contextlib
import math
import signal
import time
from typing import NamedTuple, get_args

import torch

from ganloom.config.sections import Action
from ganloom.core.lengths import crosses
from ganloom.guard.advice import advice
from ganloom.guard.guard import Verdict
from ganloom.guard.signals import Signals, all_finite
from ganloom.session.intervals import Intervals
from ganloom.session.recorder import Recorder
from ganloom.session.stopping import Stopped, StopSignals
from ganloom.training.step import AdversarialStep

__all__ = ["End", "train_until_end"]

ACTIONS: tuple[Action, ...] = get_args(Action)
NO_STOP, ASKED = -1, 0  # besides the numbers of signals, which are positive


class End(NamedTuple):
    """How a training ended; the same in every process, except for what only the first one knows."""

    seconds: float  # of training
    stopped_by: signal.Signals | None = None
    asked: str | None = None  # why the callback asked for a stop; known to the first process
    action: Action | None = None  # what the guard, or early stopping, wants
    verdict: Verdict | None = None  # of the guard; None for early stopping. Known to the first process


def train_until_end(
    step: AdversarialStep,
    intervals: Intervals,
    recorder: Recorder | None,  # in the first process alone
    spent: float,  # seconds of training in earlier sessions
) -> End:
    """Train up to the run's length, or until a signal, the callback, the guard or early stopping ends it sooner.

    Without a guard, weights that are NaN or infinite end it too.
    """
    began, began_at = time.monotonic(), step.nimg
    seconds = spent
    end: End | None = None
    evaluated_at = recorder.evaluated_at if recorder and intervals.evaluate else began_at
    with StopSignals() as signals:
        if began_at and crosses(intervals.evaluate, began_at - step.images_per_step, began_at):
            # A signal may have cut short the evaluation after which the training was saved.
            enough = evaluate(recorder if evaluated_at < began_at else None, step, intervals, seconds, signals)
            end = stop_wanted(step, recorder, seconds, signals)
            if end is None and enough:
                end = End(seconds, action="stop")
            evaluated_at = began_at
        while end is None and not is_finished(step, intervals, seconds):
            before, after = step.nimg, step.nimg + step.images_per_step
            last = intervals.seconds is None and after >= intervals.total
            logs = before == 0 or last or crosses(intervals.log, before, after)
            saves = not last and crosses(intervals.checkpoint, before, after)
            looks = intervals.guard > 0 and (before == 0 or last or crosses(intervals.guard, before, after))

            stats = step.advance(measure=logs or looks)

            elapsed = time.monotonic() - began
            seconds, speed = spent + elapsed, (step.nimg - began_at) / max(elapsed, 1e-9)  # Windows' clock is coarse
            if recorder:
                recorder.advanced(step, seconds, speed)
            # The guard would have seen it. The weights are the same in every process.
            if intervals.guard == 0 and (logs or saves) and not all_finite([*step.g.weights, *step.d.weights]):
                end = End(seconds, action="stop", verdict=diverged(step) if recorder else None)
                break
            if recorder and step.halved:
                recorder.halved(step, seconds)
            step.halved = False
            if recorder and logs:
                recorder.log(step, stats, seconds, speed)
            if looks:
                verdict = recorder.look(step, stats) if recorder else None
                if action := agreed(step, verdict.action if verdict else None):
                    end = End(seconds, stopped_by=received(step, signals), action=action, verdict=verdict)
                    break
            if recorder and not last and crosses(intervals.sample, before, after):
                recorder.samples(step)
            if not last and crosses(intervals.evaluate, before, after):
                evaluated_at = step.nimg
                if evaluate(recorder, step, intervals, seconds, signals):
                    end = End(seconds, action="stop")
                    break
            if recorder and saves:
                recorder.save(step, seconds)
            if end := stop_wanted(step, recorder, seconds, signals):
                break
        end = end or End(seconds)
        if is_finished(step, intervals, seconds) and intervals.evaluate:
            evaluate(recorder if step.nimg > evaluated_at else None, step, intervals, seconds, signals)
            end = end._replace(stopped_by=received(step, signals))
        if recorder and end.action != "rollback" and not (end.verdict and end.verdict.is_ruin):
            recorder.save(step, seconds)
            recorder.samples(step)
        step.world.barrier()
        return end


def evaluate(
    recorder: Recorder | None, step: AdversarialStep, intervals: Intervals, seconds: float, signals: StopSignals
) -> bool:
    """Score the EMA generator; returns whether early stopping wants to end the training.

    A signal cuts it short, as its sender may not wait: the training is saved, and scored when it is resumed. Of several
    processes one measures, and all learn the result.
    """
    enough, cost = False, math.nan
    if recorder:
        recorder.refresh(step)
        with contextlib.suppress(Stopped):
            with signals.interrupting():
                scores = recorder.measure(step)
            enough, cost = recorder.judge(step, scores, seconds)
    # Schedules do not see the evaluation at the end of a run: a run that is made longer would not have had it.
    due = crosses(intervals.evaluate, step.nimg - step.images_per_step, step.nimg)
    step.observe_score(cost if due else math.nan)
    return step.world.any(enough, step.device)


def stop_wanted(step: AdversarialStep, recorder: Recorder | None, seconds: float, signals: StopSignals) -> End | None:
    """The end, in every process, if one of them has received a signal or the callback wants to stop."""
    asked = recorder.notify.stop_reason if recorder else None
    number = signals.received or (NO_STOP if asked is None else ASKED)
    number = step.world.largest(int(number), step.device)
    if number == NO_STOP:
        return None
    return End(seconds, stopped_by=signal.Signals(number) if number > ASKED else None, asked=asked)


def received(step: AdversarialStep, signals: StopSignals) -> signal.Signals | None:
    """The signal that a process has received: known to all, though only one of them may have got it."""
    number = step.world.largest(int(signals.received or 0), step.device)
    return signal.Signals(number) if number else None


def diverged(step: AdversarialStep) -> Verdict:
    """The verdict that needs no look at images."""
    signals = Signals.unseen()
    text = f"divergence: the weights contain NaN or infinity. {advice('divergence', step.config, signals)}"
    return Verdict("divergence", "stop", text, {}, signals)


def agreed(step: AdversarialStep, action: Action | None) -> Action | None:
    """What the first process wants, in every process."""
    wanted = torch.tensor(ACTIONS.index(action) if action else -1, device=step.device)
    step.world.broadcast([wanted])
    return ACTIONS[int(wanted)] if wanted >= 0 else None


def is_finished(step: AdversarialStep, intervals: Intervals, seconds: float) -> bool:
    """Only a length in time asks the clock, and then every process gets the answer of the first one's."""
    if intervals.seconds is None:
        return step.nimg >= intervals.total
    return step.world.any(step.world.is_first and seconds >= intervals.seconds, step.device)
