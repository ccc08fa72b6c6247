"""The examples in the docstrings of public functions run as written, in an empty folder."""

import doctest
import inspect
import shutil
from pathlib import Path

import pytest

import ganloom
from conftest import TINY

NAMES = [name for name in ganloom.__all__ if callable(getattr(ganloom, name))]


def examples(name: str) -> list[doctest.DocTest]:
    """Of a function, or of a class and its methods."""
    thing = getattr(ganloom, name)
    finder = doctest.DocTestFinder(exclude_empty=True, recurse=inspect.isclass(thing))
    return [test for test in finder.find(thing, name, globs={}) if test.examples]


def test_public_functions_have_examples() -> None:
    lacking = [name for name in NAMES if inspect.isfunction(getattr(ganloom, name)) and not examples(name)]
    assert lacking == []


@pytest.fixture(scope="module")
def photos(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run that examples use."""
    out = tmp_path_factory.mktemp("examples") / "photos"
    return ganloom.train(out=out, device="cpu", settings={**TINY, "train.length": "320 images"}).path


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if examples(name)])
def test_examples_run(name: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in ("photos", "other"):
        shutil.copytree(photos, tmp_path / "runs" / run)
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in examples(name):
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)
