"""Settings that change on the way: changes.json tells the story, config.yaml has the newest."""

import math
from functools import reduce
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from ganloom.config import Config
from ganloom.guard.guard import Verdict
from ganloom.guard.remedies import other_settings
from ganloom.nets.layers.equalized import MinibatchDeviation
from ganloom.runs import Change, Run
from ganloom.training import checkpoint
from ganloom.training.step import AdversarialStep

__all__ = ["OUT_OF_MEMORY", "begins_healthy", "caught_up", "halve", "roll_back"]

OUT_OF_MEMORY = "out of memory"


def roll_back(run: Run, verdict: Verdict, step: AdversarialStep, seconds: float, every: int) -> str | None:
    """Make the run what it was at its newest checkpoint that is surely healthy, with other settings from there on.

    Checkpoints are made every so many images.
    Returns why not, if it cannot be; nothing was touched then. In the order of its writes a kill at any moment loses
    nothing: what is trained once more comes to the same verdict.
    """
    config = run.config
    if sum(change.reason != OUT_OF_MEMORY for change in run.changes) >= config.guard.rollbacks:
        return f"it has gone back as often as guard.rollbacks={config.guard.rollbacks} allows"
    after = other_settings(verdict.suspicion, config, verdict.signals.update_g, verdict.signals.update_d)
    if not after:
        return "there are no other settings that are known to help"
    to = checkpoint.go_back(run.checkpoints, step, every)
    evidence = {name: value if math.isfinite(value) else None for name, value in verdict.evidence.items()}
    why = {"reason": verdict.suspicion, "verdict": verdict.text, "evidence": evidence}
    _write(run, config, why, after, step.nimg, to, seconds)
    return None


def halve(run: Run, step: AdversarialStep, seconds: float) -> str:
    """Write down the micro-batches that have fitted into memory; returns a sentence."""
    after = {"train.micro_batch": step.d.micro_batch, "train.micro_batch_g": step.g.micro_batch}
    text = _write(run, run.config, {"reason": OUT_OF_MEMORY}, after, step.nimg, step.nimg, seconds)
    modules = [*step.g.net.modules(), *step.d.net.modules()]
    mixes = any(isinstance(module, _BatchNorm | MinibatchDeviation) for module in modules)
    same = "The batch is what it was, and so are its real images"
    return f"out of memory: on with {text}. {same}" + (
        "; but this network looks at all of a micro-batch at once, and so learns a little differently."
        if mixes
        else "."
    )


def begins_healthy(run: Run, step: AdversarialStep) -> None:
    """What was gone back to is what is gone back to again: it was saved before anybody could know that it was well."""
    if any(change.to == step.nimg and change.reason != OUT_OF_MEMORY for change in run.changes):
        step.health.well_at.fill_(step.nimg)


def caught_up(run: Run, config: Config) -> Config:
    """With the last change of settings, if a kill came between its two writes. What stands there by now as neither of
    them had it, a person has written since.
    """
    changes = run.changes
    if not changes or checkpoint.reached(run.checkpoints) > changes[-1].to:
        return config
    now, last = config.model_dump(mode="json"), changes[-1]
    return config.with_overrides({key: value for key, value in last.after.items() if _at(now, key) == last.before[key]})


def _write(
    run: Run, config: Config, why: dict[str, Any], after: dict[str, Any], nimg: int, to: int, seconds: float
) -> str:
    """The change, and then the configuration; returns what was changed, for people."""
    now = config.model_dump(mode="json")
    before = {key: _at(now, key) for key in after}
    text = ", ".join(f"{key} {before[key]} -> {after[key]}" for key in after)
    change = Change(**why, text=text, nimg=nimg, to=to, seconds=seconds, before=before, after=after)
    run.save_changes([*run.changes, change])
    run.save_config(config.with_overrides(after))
    return text


def _at(values: Any, key: str) -> Any:
    """What stands under a dotted key, or None."""
    return reduce(lambda below, name: below.get(name) if isinstance(below, dict) else None, key.split("."), values)
