"""Other settings to try again with, by what went wrong. Each goes further than the one before: none is tried twice."""

from typing import Any

from ganloom.augment import ada
from ganloom.config import Config
from ganloom.core.names import keyword_options
from ganloom.guard.verdicts import STILL
from ganloom.training.compatibility import teaches_differences

__all__ = ["other_settings"]

SLOWER, SLOWEST = 0.25, 1e-7  # times the learning rates
STRONGER = 2.0  # times the weights of penalties
MORE = 0.2  # of the probability of an augmentation
MOST = 0.8  # of it: beyond, G learns to make augmented images (Karras et al. 2020, section 2.2)
LESS = 0.75  # times the target of one that adapts


def other_settings(suspicion: str, config: Config, update_g: float, update_d: float) -> dict[str, Any]:
    """By their dotted names; none where nothing is known that helps. The updates are as `Signals` has them."""
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
    return {f"optimizer.{place}.lr": rate * SLOWER} if rate * SLOWER > SLOWEST else {}


def stronger(config: Config) -> dict[str, Any]:
    """Of penalties on D's slope; others have a weight that is right or wrong."""
    of_slope = {name: each for name, each in config.penalties.items() if name in ("r1", "r2") and each.weight}
    return {f"penalties.{name}.weight": each.weight * STRONGER for name, each in of_slope.items() if each.weight}


def augmented(config: Config) -> dict[str, Any]:
    """What D cannot see twice in the same way it cannot learn by heart."""
    if config.augment is None or config.augment.name != "ada":
        pace = {"target": None, "p": MORE} if teaches_differences(config) else {"kimg": 100}
        return {"augment": {"name": "ada", **pace}}
    options = keyword_options("augment (ada)", ada.Augment, config.augment.options)
    if options["target"] is not None:
        return {"augment.target": options["target"] * LESS}
    p = min(options["p"] + MORE, MOST)
    return {"augment.p": p} if p > options["p"] else {}


def evened(config: Config, update_g: float, update_d: float) -> dict[str, Any]:
    """The rate of a network that hardly moves becomes that of the other."""
    g, d = config.optimizer.g.lr, config.optimizer.d.lr
    if update_d < STILL * update_g and d < g:
        return {"optimizer.d.lr": g}
    if update_g < STILL * update_d and g < d:
        return {"optimizer.g.lr": d}
    return {}
