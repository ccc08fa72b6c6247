"""What the tests share: a cache of their own, the built-in dataset, and a training small enough for a test."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as the command line does, before torch is imported

import torch

from ganloom.config import Config, merge, recipe_values
from ganloom.core import phases
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find
from ganloom.session.memory import peak_memory
from ganloom.training.step import AdversarialStep

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

TINY = {
    "net.g": {"width": 8},
    "net.d": {"width": 8},
    "train.length": "960 images",
    "train.batch": 32,
    "ema.half_life": "200 images",
    "log.every": "100 images",
    "sample.every": "200 images",
    "checkpoint.every": "150 images",
    "sample.count": 20,
    "evaluate.every": "0 images",
    "guard.every": "0 images",
    "trackers.tensorboard": False,
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws does not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture
def nobody() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Packed datasets of the tests; the user's cache is never touched."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("GANLOOM_CACHE")
    os.environ["GANLOOM_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["GANLOOM_CACHE"]
    else:
        os.environ["GANLOOM_CACHE"] = before


@pytest.fixture(autouse=True, scope="session")
def memory_is_estimated_once() -> Iterator[None]:
    """The peak memory of a step follows from its networks and settings. The estimate takes a second; hundreds train.

    With custom networks and losses it is made each time: the same file name may hold another network.
    """
    known: dict[tuple[object, ...], int] = {}

    def estimate_once(step: AdversarialStep, micro_batch: int, micro_batch_g: int) -> int:
        config = step.config
        if config.own_files:
            return peak_memory(step, micro_batch, micro_batch_g)
        weights = [weight.shape for learner in (step.g, step.d) for weight in learner.net.parameters()]
        settings = config.model_dump_json(include={"net", "loss", "penalties", "optimizer", "augment", "burn_in"})
        how = config.train.model_dump_json(exclude={"length"})
        key = settings, how, *weights, step.device, micro_batch, micro_batch_g
        if key not in known:
            known[key] = peak_memory(step, micro_batch, micro_batch_g)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        for room in ("ganloom.session.memory", "ganloom.api.proposal"):
            patch.setattr(f"{room}.peak_memory", estimate_once)
        yield


@pytest.fixture(autouse=True, scope="session")
def nothing_is_said_of_time() -> Iterator[None]:
    """What takes long on a busy machine says so in the log, which tests read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phases, "WATCH", phases.Watch(threaded=False))
        yield


@pytest.fixture
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `GANLOOM_DATA`, and a cache of its own."""
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GANLOOM_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture(scope="session")
def digits(own_cache: Path) -> PackedDataset:
    """As anyone gets them: 77 of the 1,797 are held out."""
    return prepare(find("digits"), Preprocessing((32, 32)))


def tiny_config(**settings: Any) -> Config:
    """The digits recipe made small, with R1 and so no norm in D; keywords are dotted keys with __ for the dot."""
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    penalty = {"net": {"d": {"norm": "none"}}, "penalties": {"r1": {"weight": 0.1, "interval": 4}}}
    return Config.build(merge(recipe_values("digits"), penalty), {**TINY, **dotted})


def tiny_flags(**settings: Any) -> list[str]:
    """The same as command-line flags."""
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    flags = {
        "net.g.width": 8,
        "net.d.width": 8,
        **{key: TINY[key] for key in TINY if not key.startswith("net.")},
        **dotted,
    }
    return [part for key, value in flags.items() if value is not None for part in ("--set", f"{key}={value}")]
