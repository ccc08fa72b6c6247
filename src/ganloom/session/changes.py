"""Settings that change during a run: changes.json has the history, config.yaml the newest."""

import math
from functools import reduce
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from ganloom.config import Config, Edit
from ganloom.guard.guard import Verdict
from ganloom.guard.remedies import other_settings
from ganloom.nets.layers.equalized import MinibatchDeviation
from ganloom.runs import Change, RunFolder, checkpoints
from ganloom.training import checkpoint
from ganloom.training.step import AdversarialStep

__all__ = ["OUT_OF_MEMORY", "begins_healthy", "caught_up", "complete_rollback", "halve", "roll_back"]

OUT_OF_MEMORY = "out of memory"


def roll_back(run: RunFolder, verdict: Verdict, step: AdversarialStep, seconds: float, every: int) -> str | None:
    """Return the run to its newest checkpoint that is known to be healthy, with other settings from there on.

    Checkpoints are made every `every` images. Returns why this is not possible, if so; then nothing has changed. It is
    recorded before the checkpoints are removed: after a kill in between, `complete_rollback` removes the others.
    """
    config = run.config
    if sum(change.reason != OUT_OF_MEMORY for change in run.changes) >= config.guard.rollbacks:
        return f"guard.rollbacks={config.guard.rollbacks} are used up"
    after = other_settings(verdict.suspicion, config, verdict.signals)
    if not after:
        return "no other settings are known to help"
    to = checkpoint.rollback_target(run.checkpoints, step, every)
    evidence = {name: value if math.isfinite(value) else None for name, value in verdict.evidence.items()}
    facts = {"nimg": step.nimg, "to": to, "seconds": seconds, "pending": True}
    _write(run, config, after, {**facts, "reason": verdict.suspicion, "verdict": verdict.text, "evidence": evidence})
    complete_rollback(run)
    return None


def complete_rollback(run: RunFolder) -> None:
    """Remove the checkpoints that the last rollback rejected, unless that is done."""
    changes = run.changes
    if changes and changes[-1].pending:
        checkpoint.go_back(run.checkpoints, changes[-1].to)
        run.save_changes([*changes[:-1], changes[-1].model_copy(update={"pending": False})])


def halve(run: RunFolder, step: AdversarialStep, seconds: float) -> str:
    """Save the micro-batches that fitted into memory; returns a sentence."""
    after = {"train.micro_batch": step.d.micro_batch, "train.micro_batch_g": step.g.micro_batch}
    at = {"nimg": step.nimg, "to": step.nimg, "seconds": seconds}
    text = _write(run, run.config, after, {**at, "reason": OUT_OF_MEMORY})
    modules = [*step.g.net.modules(), *step.d.net.modules()]
    mixes = any(isinstance(module, _BatchNorm | MinibatchDeviation) for module in modules)
    same = "The batch and its real images stay the same"
    return f"out of memory: continuing with {text}. {same}" + (
        ", but this network uses statistics of the micro-batch, so it learns a little differently." if mixes else "."
    )


def begins_healthy(run: RunFolder, step: AdversarialStep) -> None:
    """A checkpoint that the run was rolled back to counts as healthy: the next rollback goes no further back."""
    if any(change.to == step.nimg and change.reason != OUT_OF_MEMORY for change in run.changes):
        step.health.well_at.fill_(step.nimg)


def caught_up(run: RunFolder, config: Config) -> Config:
    """With the last change of settings, if a kill came between its writes. A value that is neither the old nor the new
    one was edited by the user since, and stays.
    """
    changes = run.changes
    if not changes or (not changes[-1].pending and checkpoints.reached(run.checkpoints) > changes[-1].to):
        return config
    now, last = config.model_dump(mode="json"), changes[-1]
    return config.with_overrides({key: value for key, value in last.after.items() if _at(now, key) == last.before[key]})


def _write(run: RunFolder, config: Config, after: dict[str, Any], facts: dict[str, Any]) -> str:
    """Write the change, then the configuration; returns what changed, in words. `facts` are further fields of it."""
    now = config.model_dump(mode="json")
    before = {key: _at(now, key) for key in after}
    text = ", ".join(f"{key} {Edit(before[key], after[key]).arrow}" for key in after)
    run.save_changes([*run.changes, Change(**facts, text=text, before=before, after=after)])
    run.save_config(config.with_overrides(after))
    return text


def _at(values: Any, key: str) -> Any:
    """The value of a dotted key, or None."""
    return reduce(lambda below, name: below.get(name) if isinstance(below, dict) else None, key.split("."), values)
