"""What `train --explain` says about time and memory."""

from pathlib import Path
from typing import Any

import pytest
import torch

import ganloom
from conftest import tiny_config
from ganloom.api import costs as room
from ganloom.api.costs import costs
from ganloom.data.sources import Source, find

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def measured_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 images a second, for every step that is timed."""
    monkeypatch.setattr(room, "images_per_minute", lambda step: 60_000.0)
    monkeypatch.setattr(room, "SIZES", (16, 32))


@pytest.fixture
def digits_source() -> Source:
    return find("digits")


def rows(source: Source, **settings: Any) -> dict[str, tuple[str, str]]:
    return {what: (value, why) for what, value, why in costs(tiny_config(**settings), source, CPU)}


def minutes(value: str) -> float:
    amounts = {"second": 1 / 60, "minute": 1, "hour": 60, "day": 1440}
    words = value.split()
    return sum(float(n) * amounts[unit.removesuffix("s")] for n, unit in zip(words[::2], words[1::2], strict=True))


@pytest.mark.slow
def test_time_and_memory_are_said_and_what_other_sizes_cost(digits_source: Source) -> None:
    found = rows(digits_source, data__size=32, train__length="600 kimg")
    assert found.keys() == {"time", "memory", "at 16x16"}
    value, why = found["time"]
    assert value == "10 minutes" and why.startswith("600 kimg at 1,000 images/s, measured on cpu")
    value, why = found["memory"]
    assert value.endswith("iB") and why.startswith("for micro-batches of 32")
    assert "--size 16 chooses it" in found["at 16x16"][1] and "iB" in found["at 16x16"][1]


@pytest.mark.slow
def test_larger_images_take_longer_and_more_memory(digits_source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SLOW_STEP", 0.0)  # only the smallest size is timed
    found = {size: rows(digits_source, data__size=size, train__length="600 kimg") for size in (16, 64)}
    assert "measured" in found[16]["time"][1] and "estimated" in found[64]["time"][1]
    assert minutes(found[64]["time"][0]) > 2 * minutes(found[16]["time"][0])
    assert minutes(found[16]["at 32x32"][0]) > minutes(found[16]["time"][0])


def test_a_length_in_time_says_how_many_images(digits_source: Source) -> None:
    value, why = rows(digits_source, data__size=32, train__length="2 hours")["time"]
    assert value == "2 hours" and why.startswith("7,200,000 images at")


def test_an_unknown_number_of_images_still_has_a_price(digits_source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits_source, "count", None)
    value, why = rows(digits_source, data__size=32, train__length="3 epochs")["time"]
    assert value == "1 s per kimg" and "unknown number" in why


def test_growing_networks_have_a_bound(digits_source: Source) -> None:
    growth = {"name": "progressive", "g": {"width": 8}, "d": {"width": 8}}
    settings = {"net": growth, "growth": {"hold": "1 kimg", "fade": "1 kimg"}, "penalties": {}, "data__size": 32}
    assert rows(digits_source, **settings)["time"][0].startswith("at most ")


def test_sizes_that_the_network_does_not_take_are_left_out(
    digits_source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SIZES", (4, 16))
    assert rows(digits_source, data__size=32).keys() == {"time", "memory", "at 16x16"}


def test_explain_of_a_named_recipe_has_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = ganloom.plan("digits", recipe="mlp-28", device="cpu", costs=True)
    assert {what for what, _, _ in plan.reasons} >= {"recipe", "time", "memory", "at 16x16", "at 32x32"}
