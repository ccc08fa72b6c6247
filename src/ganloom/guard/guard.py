"""From looks to verdicts: what was suspected often enough in a row is said, and acted upon."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch

from ganloom.config import Guard as Settings
from ganloom.config.sections import Action
from ganloom.guard.signals import Eye, Signals
from ganloom.guard.verdicts import RULES, Past
from ganloom.training.health import SUSPICIONS
from ganloom.training.step import AdversarialStep, Stats

__all__ = ["Guard", "Verdict"]


class Verdict(NamedTuple):
    """What is wrong."""

    suspicion: str
    action: Action
    text: str
    evidence: Mapping[str, float]
    signals: Signals

    @property
    def is_ruin(self) -> bool:
        """Whether what was saved before is better than what there is now."""
        return self.suspicion in ("divergence", "collapse")


class Guard:
    """Of several processes only the first has one."""

    def __init__(self, settings: Settings, eye: Eye) -> None:
        self.settings, self.eye = settings, eye

    def look(self, step: AdversarialStep, stats: Stats) -> tuple[Signals, list[Verdict]]:
        """After a measured step with `stats`: what is seen now, and what has just been seen often enough."""
        health = step.health
        signs, updates = health.signs.tolist()
        health.signs.zero_()
        now = self.eye.look(step, stats, signs / updates if updates else math.nan)
        past = Past(*health.past.tolist())
        verdicts = []
        for place, suspicion in enumerate(SUSPICIONS):
            rule = RULES[suspicion]
            before, patience = int(health.counts[place]), self.settings.patience
            count = before + 1 if rule.suspects(now, past) else 0
            if count and not now.finite:
                count = max(count, patience)  # nobody has to see twice that numbers are none
            health.counts[place] = count
            if before < patience <= count:  # once for as long as it lasts
                verdicts.append(self.verdict(suspicion, now, past))
        health.past.copy_(torch.tensor(past.after(now), dtype=torch.float64))
        goes_back = [getattr(self.settings, suspicion) == "rollback" for suspicion in SUSPICIONS]
        if not health.counts[goes_back].any():  # what is only told is no reason to go back further
            health.well_at.fill_(step.nimg)
        return now, verdicts

    def verdict(self, suspicion: str, now: Signals, past: Past) -> Verdict:
        rule, action = RULES[suspicion], getattr(self.settings, suspicion)
        evidence = dict(rule.evidence(now, past))
        says = rule.says if now.finite else "losses, gradients, weights or images are no longer finite numbers."
        return Verdict(suspicion, action, f"{rule.title}: {says.format(**evidence)} {rule.remedy}", evidence, now)
