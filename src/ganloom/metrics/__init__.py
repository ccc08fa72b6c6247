"""Metrics, one file each. A file has the name of its metric; contract.py describes what it holds."""

import importlib
import pkgutil
from typing import Protocol, cast

from ganloom.core.names import check_name
from ganloom.metrics.contract import Estimate, Inputs

__all__ = ["ALIASES", "DEFINED_BY_INCEPTION", "Metric", "find", "names"]

ALIASES = {"fd": "frechet", "fid": "frechet", "is": "inception_score"}
"""Established names that differ from the file's."""

DEFINED_BY_INCEPTION = ("fid", "is")
"""Metrics that are only defined for the features of the inception network."""


class Metric(Protocol):
    """The module of a metric."""

    NEEDS: frozenset[str]
    MIN_IMAGES: int
    NUMBERS: tuple[str, ...]

    def measure(self, inputs: Inputs) -> dict[str, Estimate]: ...


def names() -> list[str]:
    """Every name that `find` accepts: modules with a function `measure`, and aliases."""
    files = [info.name for info in pkgutil.iter_modules(__path__) if not info.ispkg]
    found = [name for name in files if hasattr(importlib.import_module(f"{__name__}.{name}"), "measure")]
    return sorted({name.replace("_", "-") for name in found if name not in ALIASES.values()} | set(ALIASES))


def find(name: str) -> Metric:
    """The metric of that name. Raises `ConfigError` for an unknown one."""
    check_name("metric", name, names())
    module = importlib.import_module(f"{__name__}.{ALIASES.get(name, name.replace('-', '_'))}")
    return cast("Metric", module)
