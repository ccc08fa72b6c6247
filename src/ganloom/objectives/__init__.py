"""Losses and penalties: one function per loss or penalty, with its formula and its paper."""

from typing import Any

from ganloom.core.code import blame, get_callable, is_file, load_file
from ganloom.core.errors import ConfigError
from ganloom.core.names import check_name, keyword_options
from ganloom.objectives import losses, penalties
from ganloom.objectives.contract import Judge, Judged, Loss, Penalty, RelativisticLoss

__all__ = ["Judge", "Judged", "Loss", "Penalty", "RelativisticLoss", "loss", "penalty"]


def loss(name: str, options: dict[str, Any]) -> Loss | RelativisticLoss:
    """The built-in loss of that name, or the one in the file at that path, with these options.

    Raises `ConfigError` for an unknown name or option, with the nearest known one, and for an error in the file.
    """
    if is_file(name):
        return _custom_loss(name, options)
    check_name("loss", name, losses.__all__)
    function = getattr(losses, name)
    built: Loss | RelativisticLoss = function(**keyword_options(f"loss '{name}'", function, options))
    return built


def _custom_loss(path: str, options: dict[str, Any]) -> Loss | RelativisticLoss:
    module = load_file(path)
    function = get_callable(module, "loss")
    values = keyword_options(f"loss '{path}'", function, options)
    with blame(module):
        built = function(**values)
    if not isinstance(built, Loss | RelativisticLoss):
        raise ConfigError(
            f"{path}: loss() must return a Loss or a RelativisticLoss from ganloom.objectives, "
            f"not {type(built).__name__}."
        )
    return built


def penalty(name: str) -> Penalty:
    """The penalty of that name. Raises `ConfigError` with the nearest known name."""
    check_name("penalty", name, penalties.__all__)
    built: Penalty = getattr(penalties, name)()
    return built
