"""No part of a command that may take long is silent: all arithmetic and all of the slow work happens in a named phase.

No clock is asked: arithmetic is counted, and a phase speaks at once where no second has to pass before its first line.
"""

import contextlib
import functools
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ganloom
from conftest import tiny_config
from ganloom.config import Config
from ganloom.core import phases
from ganloom.core.operations import OperationCounter
from ganloom.report.run import write_report

pytestmark = pytest.mark.slow

MAX_SHARE = 0.01  # of the arithmetic, outside any phase
SMALL = {"evaluate__n": 100, "guard__n": 64, "sample__count": 4, "train__length": "64 images"}


class Counted(OperationCounter):
    """Counts the operations by the name of the phase in which they were made."""

    def __init__(self) -> None:
        super().__init__()
        self.by_phase: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.total
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if (more := self.total - before) > 0:
            name = phases.WATCH.phases[-1].name if phases.WATCH.phases else ""
            self.by_phase[name] = self.by_phase.get(name, 0) + more
        return result


def config(**settings: Any) -> Config:
    return tiny_config(**{"evaluate__every": None, "guard__every": None, **SMALL, **settings})


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A run, and the arithmetic of its training by phase."""
    out = tmp_path_factory.mktemp("silence") / "run"
    with Counted() as counter:
        ganloom.train(out=out, device="cpu", settings=config().model_dump(mode="json"))
    return out, counter.by_phase


def test_nothing_is_computed_outside_a_phase_in_a_training(counted: tuple[Path, dict[str, int]]) -> None:
    _, by_phase = counted
    assert by_phase.get("", 0) <= MAX_SHARE * sum(by_phase.values())
    assert by_phase.keys() > {  # not the estimate of memory: PyTorch may know the shapes of its fake tensors
        "timing steps",
        "timing a score",
        "timing a check of the guard",
        "the first step",  # what the training is called until there is more to say
        "checking the training",
        "re-estimating statistics of the EMA generator",
        "scoring",
        "drawing samples",
    }


def test_nothing_is_computed_outside_a_phase_when_it_is_resumed(counted: tuple[Path, dict[str, int]]) -> None:
    run, _ = counted
    with Counted() as counter:
        ganloom.resume(run, length="96 images", device="cpu")
    assert counter.by_phase.get("", 0) <= MAX_SHARE * sum(counter.by_phase.values())


def test_nothing_is_computed_outside_a_phase_in_an_evaluation(counted: tuple[Path, dict[str, int]]) -> None:
    run, _ = counted
    with Counted() as counter:
        ganloom.evaluate(run, metrics="fd,prdc,memorisation", n=100, device="cpu")
    assert counter.by_phase.get("", 0) <= MAX_SHARE * sum(counter.by_phase.values())


# What else takes time: the disk, Pillow and numpy, and imports.
SLOW_WORK = (
    "ganloom.data.prepare._Job.run",
    "ganloom.training.checkpoint.save",
    "ganloom.training.checkpoint.load_newest",
    "ganloom.training.assembly.networks",
    "ganloom.models.modelfile.write",
    "ganloom.core.pictures.grid",
    "ganloom.metrics.frechet.measure",
    "ganloom.metrics.prdc.measure",
    "ganloom.metrics.memorisation.measure",
    "ganloom.metrics.extraction.Extraction.features",
    "ganloom.report.figures.draw",
    "ganloom.report.run.read",
    "ganloom.report.run.write_page",
    "ganloom.report.run.open_picture",
)


@contextlib.contextmanager
def witnessed(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[bool]]]:
    """Whether a phase was open at each call of the slow functions."""
    calls: dict[str, list[bool]] = {}

    def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(work)
        def call(*arguments: Any, **keywords: Any) -> Any:
            calls.setdefault(name, []).append(bool(phases.WATCH.phases))
            return work(*arguments, **keywords)

        return call

    for name in SLOW_WORK:
        place, _, attribute = name.rpartition(".")
        owner = pkgutil.resolve_name(place)
        original = getattr(owner, attribute)
        monkeypatch.setattr(owner, attribute, watched(name, original))
        for module in [each for each in sys.modules.values() if each.__name__.startswith("ganloom.")]:
            for other, value in vars(module).items():
                if value is original and module is not owner:
                    monkeypatch.setattr(module, other, watched(name, original))
    yield calls


def test_no_slow_work_is_done_outside_a_phase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare, train, evaluate, report."""
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))
    with witnessed(monkeypatch) as calls:
        ganloom.prepare("digits", tmp_path / "packed", size=16)
        settings = config(data__source=str(tmp_path / "packed"), data__size=[16, 16])
        run = ganloom.train(
            tmp_path / "packed", out=tmp_path / "run", device="cpu", settings=settings.model_dump(mode="json")
        )
        ganloom.evaluate(run.path, metrics="fd,prdc,memorisation", n=100, device="cpu")
        write_report(run.path, tmp_path / "report.html")
    assert calls.keys() == set(SLOW_WORK)  # all were called
    assert [name for name, named in calls.items() if not all(named)] == []


# Every phase speaks at once: as on a machine where each lasts long.
EAGER = """
import sys
from ganloom.core import phases
class Eager(phases.Watch):
    def leave(self, phase):
        phase.was_shown = False
        self._last_line_at = float("-inf")
        self.tick()
        super().leave(phase)
phases.WATCH = Eager(threaded=False)
from ganloom.cli import main
sys.argv = ["ganloom", *sys.argv[1:]]
main()
"""


def test_every_phase_says_its_name_in_a_pipe(tmp_path: Path) -> None:
    def lines(*arguments: str) -> str:
        environment = {**os.environ, "GANLOOM_CACHE": str(tmp_path / "cache")}
        return subprocess.run(
            [sys.executable, "-c", EAGER, *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    settings = [f"{key.replace('__', '.')}={value}" for key, value in SMALL.items()]
    flags = [part for setting in settings for part in ("--set", setting)]
    told = lines("train", "digits", "--out", "run", "--device", "cpu", *flags)
    wanted = ["loading PyTorch", "looking at the images", "preparing digits", "building the networks"]
    wanted += ["estimating peak memory", "timing steps", "timing a score", "timing a check of the guard"]
    wanted += ["features of digits", "drawing real images", "checking the training", "scoring", "saving"]
    wanted += ["re-estimating statistics", "drawing samples", "starting the trackers", "closing the trackers"]
    assert [name for name in wanted if f"\n{name}" not in f"\n{told}"] == []
    assert told.index("data  ") < told.index("building the networks")  # the header comes before anything is timed
    assert "\x1b" not in told
    told = lines("evaluate", "run", "--metrics", "fd,prdc", "--n", "100", "--device", "cpu")
    for name in ("loading the extractor", "opening run", "generating images of run", "features of", "measuring fd"):
        assert f"\n{name}" in f"\n{told}"
    told = lines("report", "run")
    assert all(f"\n{name}" in told for name in ("reading the run", "drawing the plots", "writing the report"))
    assert "\ngenerating images" in lines("sample", "run", "--device", "cpu")
    assert "preparing digits" in lines("prepare", "digits", "packed", "--size", "16")
    told = lines("inspect", "digits", "--device", "cpu")
    assert all(f"\n{name}" in told for name in ("looking at digits", "estimating peak memory", "timing steps"))
