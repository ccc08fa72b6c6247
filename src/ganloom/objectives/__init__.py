"""Losses and penalties: one function each, with its formula and its source."""

from typing import Any

from ganloom.core.names import check_name, keyword_options
from ganloom.objectives import losses, penalties
from ganloom.objectives.contract import Judged, Loss, Penalty

__all__ = ["Judged", "Loss", "Penalty", "loss", "penalty"]


def loss(name: str, options: dict[str, Any]) -> Loss:
    """The loss of that name with those options. Raises `ConfigError` with the nearest known name."""
    check_name("loss", name, losses.__all__)
    function = getattr(losses, name)
    built: Loss = function(**keyword_options(f"loss '{name}'", function, options))
    return built


def penalty(name: str) -> Penalty:
    """The penalty of that name. Raises `ConfigError` with the nearest known name."""
    check_name("penalty", name, penalties.__all__)
    function: Penalty = getattr(penalties, name)
    return function
