"""Metrics: one file each, named as a person names them. contract.py says what a metric is."""

import importlib
import pkgutil
from typing import Protocol, cast

from ganloom.core.names import check_name
from ganloom.metrics.contract import Comparison, Estimate

__all__ = ["ALIASES", "DEFINED_BY_INCEPTION", "Metric", "find", "names"]

ALIASES = {"fd": "frechet", "fid": "frechet", "is": "inception_score"}
"""Names of the field that are not the file's."""

DEFINED_BY_INCEPTION = ("fid", "is")
"""Metrics that are what they are with that network alone."""


class Metric(Protocol):
    """A metric's module."""

    NEEDS: frozenset[str]
    LEAST: int
    GIVES: tuple[str, ...]

    def measure(self, comparison: Comparison) -> dict[str, Estimate]: ...


def names() -> list[str]:
    """What can be asked for: the files here that measure, and the aliases."""
    files = [info.name for info in pkgutil.iter_modules(__path__) if not info.ispkg]
    found = [name for name in files if hasattr(importlib.import_module(f"{__name__}.{name}"), "measure")]
    return sorted({name.replace("_", "-") for name in found if name not in ALIASES.values()} | set(ALIASES))


def find(name: str) -> Metric:
    """The metric of that name. Raises `ConfigError`."""
    check_name("metric", name, names())
    module = importlib.import_module(f"{__name__}.{ALIASES.get(name, name.replace('-', '_'))}")
    return cast("Metric", module)
