"""From looks to verdicts: a fault that is suspected in enough looks in a row becomes a verdict."""

from collections.abc import Mapping
from typing import NamedTuple

from ganloom.config import Config
from ganloom.config import Guard as Settings
from ganloom.config.sections import Action
from ganloom.guard.advice import advice
from ganloom.guard.signals import Probe, Signals
from ganloom.guard.verdicts import RULES, remember
from ganloom.training.health import SUSPICIONS, Past
from ganloom.training.step import AdversarialStep, Stats

__all__ = ["Guard", "Verdict"]


class Verdict(NamedTuple):
    """What is wrong, and what is to be done about it."""

    suspicion: str
    action: Action
    text: str
    evidence: Mapping[str, float]
    signals: Signals

    @property
    def is_ruin(self) -> bool:
        """Whether earlier checkpoints are better than the present state."""
        return self.suspicion in ("divergence", "collapse")


class Guard:
    """Looks at a training. Of several processes only the first has one."""

    def __init__(self, settings: Settings, probe: Probe) -> None:
        self.settings, self.probe = settings, probe

    def look(self, step: AdversarialStep, stats: Stats) -> tuple[Signals, list[Verdict]]:
        """Measure a training right after a measured step with `stats`; returns the signals and new verdicts."""
        health = step.health
        now = self.probe.measure(step, stats, health.take_mean_sign())
        past = Past(**health.past.values())
        verdicts = []
        for suspicion in SUSPICIONS:
            rule, seen = RULES[suspicion], health.counts[suspicion]
            before, patience = int(seen), self.settings.patience
            count = before + 1 if rule.suspects(now, past) else 0
            if count and not now.finite:
                count = max(count, patience)  # NaN or infinity needs no second look
            seen.fill_(count)
            if before < patience <= count:  # once for as long as it lasts
                verdicts.append(self.verdict(suspicion, step.config, now, past))
        health.past.assign(remember(past, now)._asdict())
        rolls_back = (name for name in SUSPICIONS if getattr(self.settings, name) == "rollback")
        if not any(health.counts[name] for name in rolls_back):  # a mere warning does not move the target of a rollback
            health.well_at.fill_(step.nimg)
        return now, verdicts

    def verdict(self, suspicion: str, config: Config, now: Signals, past: Past) -> Verdict:
        rule, action = RULES[suspicion], getattr(self.settings, suspicion)
        evidence = dict(rule.evidence(now, past))
        nan = "losses, gradients, weights or images contain NaN or infinity."
        text = f"{rule.title}: {rule.says(now, past) if now.finite else nan} {advice(suspicion, config, now)}"
        return Verdict(suspicion, action, text, evidence, now)
