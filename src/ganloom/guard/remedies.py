"""Settings to try next, by what went wrong. Each goes further than the one before, so that none is tried twice."""

from typing import Any

from ganloom.augment import ada
from ganloom.config import Config
from ganloom.core.names import keyword_options
from ganloom.guard.verdicts import MIN_UPDATE_RATIO
from ganloom.training.compatibility import teaches_differences

__all__ = ["other_settings"]

RATE_FACTOR, MIN_RATE = 0.25, 1e-7  # of learning rates
PENALTY_FACTOR = 2.0  # of the weights of penalties
P_STEP = 0.2  # added to the probability of an augmentation
MAX_P = 0.8  # beyond it, G learns to make augmented images (Karras et al. 2020, section 2.2)
TARGET_FACTOR = 0.75  # of the target of an adaptive augmentation


def other_settings(suspicion: str, config: Config, update_g: float, update_d: float) -> dict[str, Any]:
    """Values by dotted name; empty if no remedy is known. `update_g` and `update_d` are those of `Signals`."""
    changes: dict[str, Any] = {}
    match suspicion:
        case "divergence" | "collapse":
            changes = slower(config, "g") | slower(config, "d") | stronger(config)
        case "overpowering":
            changes = slower(config, "d") | stronger(config)
        case "overfitting" | "memorisation":
            changes = augmented(config)
        case "stalled":
            changes = evened(config, update_g, update_d)
    return changes


def slower(config: Config, place: str) -> dict[str, Any]:
    rate = getattr(config.optimizer, place).lr
    return {f"optimizer.{place}.lr": rate * RATE_FACTOR} if rate * RATE_FACTOR > MIN_RATE else {}


def stronger(config: Config) -> dict[str, Any]:
    """Larger weights of the penalties on D's slope; the weights of others are not a matter of degree."""
    of_slope = {name: each for name, each in config.penalties.items() if name in ("r1", "r2") and each.weight}
    return {f"penalties.{name}.weight": each.weight * PENALTY_FACTOR for name, each in of_slope.items() if each.weight}


def augmented(config: Config) -> dict[str, Any]:
    """More augmentation: D cannot memorise images that it never sees twice in the same form."""
    if config.augment is None or config.augment.name != "ada":
        pace = {"target": None, "p": P_STEP} if teaches_differences(config) else {"kimg": 100}
        return {"augment": {"name": "ada", **pace}}
    options = keyword_options("augment (ada)", ada.Augment, config.augment.options)
    if options["target"] is not None:
        return {"augment.target": options["target"] * TARGET_FACTOR}
    p = min(options["p"] + P_STEP, MAX_P)
    return {"augment.p": p} if p > options["p"] else {}


def evened(config: Config, update_g: float, update_d: float) -> dict[str, Any]:
    """The learning rate of the other network, for one that hardly changes."""
    g, d = config.optimizer.g.lr, config.optimizer.d.lr
    if update_d < MIN_UPDATE_RATIO * update_g and d < g:
        return {"optimizer.d.lr": g}
    if update_g < MIN_UPDATE_RATIO * update_d and g < d:
        return {"optimizer.g.lr": d}
    return {}
