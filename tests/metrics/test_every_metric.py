"""What is true of every metric there is, and of every one to come."""

import importlib
import pkgutil

import pytest

from ganloom import metrics
from ganloom.cli.scores import METRICS
from ganloom.core.errors import ConfigError
from ganloom.metrics.contract import NEEDED
from ganloom.metrics.meanings import MEANINGS


@pytest.mark.parametrize("name", metrics.names())
def test_a_metric_declares_its_needs_and_its_numbers(name: str) -> None:
    metric = metrics.find(name)
    assert set(NEEDED) >= metric.NEEDS
    assert metric.MIN_IMAGES >= 1
    assert metric.NUMBERS and set(metric.NUMBERS) <= set(MEANINGS)


def test_every_file_that_measures_can_be_asked_for() -> None:
    files = {info.name for info in pkgutil.iter_modules(metrics.__path__)}
    modules = {name for name in files if hasattr(importlib.import_module(f"ganloom.metrics.{name}"), "measure")}
    assert {metrics.find(name).__name__.rpartition(".")[2] for name in metrics.names()} == modules


def test_no_two_metrics_give_numbers_of_one_name() -> None:
    modules = {metrics.find(name).__name__: metrics.find(name) for name in metrics.names()}
    given = [key for metric in modules.values() for key in metric.NUMBERS]
    assert len(given) == len(set(given))


def test_the_help_names_them_all() -> None:
    assert sorted(METRICS.rstrip(".").split(", ")) == metrics.names()


def test_an_unknown_one_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'memorisation'"):
        metrics.find("memorization")
