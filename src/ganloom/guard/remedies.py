"""Settings to try next, by what went wrong. Each goes further than the one before, so that none is tried twice."""

from typing import Any

from ganloom.augment import ada
from ganloom.config import Config
from ganloom.core.names import keyword_options
from ganloom.guard.signals import Signals
from ganloom.guard.verdicts import CERTAIN, MIN_UPDATE_RATIO
from ganloom.training.compatibility import teaches_differences

__all__ = [
    "augmented",
    "evened",
    "huge",
    "is_blind_to_contrast",
    "other_settings",
    "outpaced",
    "saturated",
    "slower",
    "stronger",
]

RATE_FACTOR, MIN_RATE = 0.25, 1e-7  # of learning rates
HUGE_RATE = 0.01  # four times the highest rate of any recipe
USUAL_RATE = 2e-4  # DCGAN's
EXPLAINED = 0.1  # updates go with the rate: one above a tenth of the other's does not explain updates of a thousandth
PENALTY_FACTOR = 2.0  # of the weights of penalties
P_STEP = 0.2  # added to the probability of an augmentation
MAX_P = 0.8  # beyond it, G learns to make augmented images (Karras et al. 2020, section 2.2)
TARGET_FACTOR = 0.75  # of the target of an adaptive augmentation


def other_settings(suspicion: str, config: Config, now: Signals) -> dict[str, Any]:
    """Values by dotted name; empty if no remedy is known."""
    changes: dict[str, Any] = {}
    match suspicion:
        case "divergence" | "collapse":
            changes = slower(config, "g") | slower(config, "d") | stronger(config)
        case "overpowering":
            changes = slower(config, "d") | stronger(config)
        case "overfitting" | "memorisation":
            changes = augmented(config)
        case "stalled":
            changes = evened(config, now)
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


def evened(config: Config, now: Signals) -> dict[str, Any]:
    """Other learning rates for two networks of which one hardly changes; a saturated D gets a lower one."""
    g, d = config.optimizer.g.lr, config.optimizer.d.lr
    if rates := huge(config):
        return rates
    if saturated(config, now):
        return slower(config, "d") | stronger(config)
    if now.update_d < MIN_UPDATE_RATIO * now.update_g and d < g:
        return {"optimizer.d.lr": g}
    if now.update_g < MIN_UPDATE_RATIO * now.update_d and g < d:
        return {"optimizer.g.lr": d}
    return {}


def huge(config: Config) -> dict[str, float]:
    """Usual values for learning rates that are far too high: the other network's, or DCGAN's."""
    rates = {place: getattr(config.optimizer, place).lr for place in ("g", "d")}
    usual = next((rate for rate in rates.values() if MIN_RATE < rate < HUGE_RATE), USUAL_RATE)
    return {f"optimizer.{place}.lr": usual for place, rate in rates.items() if rate >= HUGE_RATE}


def saturated(config: Config, now: Signals) -> bool:
    """Whether one network hardly changes because D is certain: its loss is about 0, and gives neither a gradient.

    Then the learning rate of the network that stands still is not the reason, unless it is far below the other's.
    """
    stands_still = min(now.update_g, now.update_d) < MIN_UPDATE_RATIO * max(now.update_g, now.update_d)
    slow = "d" if now.update_d < now.update_g else "g"
    return stands_still and now.auc > CERTAIN and not outpaced(config, slow)


def is_blind_to_contrast(config: Config) -> bool:
    """Whether D's layers are DCGAN's without any bias, so that its normalisation takes out the images' contrast."""
    d = config.net.d
    of_dcgan = config.net.name == "dcgan" or (config.net.name == "progressive" and d.get("blocks") == "dcgan")
    return of_dcgan and d.get("norm", "batch") in ("batch", "layer") and not d.get("bias")


def outpaced(config: Config, place: str) -> bool:
    """Whether the learning rate of a network is far below that of the other one."""
    rates = {name: getattr(config.optimizer, name).lr for name in ("g", "d")}
    return bool(rates[place] < EXPLAINED * max(rates.values()))
