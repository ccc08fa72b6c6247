"""The edge of the library: wrong types are refused in words, and errors name keywords."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import ganloom
from ganloom.cli import app
from ganloom.core.errors import ConfigError, DataError, GanloomError
from ganloom.core.public import public

WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: ganloom.train(["a", "b"]), r"data must be a string or a path, not list: \['a', 'b'\]"),  # type: ignore[arg-type]
    (lambda: ganloom.train("digits", out=3), "out must be a string or a path, not int: 3"),  # type: ignore[arg-type]
    (lambda: ganloom.train("digits", settings=["a"]), "settings must be a dict"),  # type: ignore[arg-type]
    (lambda: ganloom.plan(5), "data must be a string or a path, not int: 5"),  # type: ignore[arg-type]
    (lambda: ganloom.resume(None), "run must be a string or a path, not None"),  # type: ignore[arg-type]
    (lambda: ganloom.prepare({"a"}, "b"), "source must be a string or a path, not set"),  # type: ignore[arg-type]
    (lambda: ganloom.prepare("a", "b", workers="2"), "workers must be a whole number, not str: '2'"),  # type: ignore[arg-type]
    (lambda: ganloom.inspect(b"photos"), "source must be a string or a path, not bytes"),  # type: ignore[arg-type]
    (lambda: ganloom.evaluate("run", metrics=3), "metrics must be a string or a list of strings, not int"),  # type: ignore[arg-type]
    (lambda: ganloom.evaluate("run", n=True), "n must be a whole number, not bool"),
    (lambda: ganloom.evaluate("run", n=2.5), "n must be a whole number, not float: 2.5"),  # type: ignore[arg-type]
    (lambda: ganloom.compare("runs/a"), "targets must be a list of strings or paths, not str"),
    (lambda: ganloom.load(["run"]), "path must be a string or a path, not list"),  # type: ignore[arg-type]
    (lambda: ganloom.open_run(7), "path must be a string or a path, not int: 7"),  # type: ignore[arg-type]
    (lambda: ganloom.open_dataset(None), "path must be a string or a path, not None"),  # type: ignore[arg-type]
    (lambda: ganloom.unpack("a", "b", verbose=1), "verbose must be True or False, not int"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_an_argument_of_a_wrong_type_is_refused_with_what_it_must_be(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


def test_numbers_of_other_libraries_are_numbers() -> None:
    @public
    def take(count: int, share: float, names: Sequence[str], size: int | tuple[int, int] | None = None) -> Any:
        return count, share, names, size

    assert take(np.int64(3), np.float32(0.5), ("a",), (1, 2)) == (3, 0.5, ("a",), (1, 2))
    assert take(1, 2, ["a"]) == (1, 2, ["a"], None)
    for wrong in ({"count": 1.0}, {"share": "1"}, {"names": "ab"}, {"names": [1]}, {"size": (1, 2, 3)}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must be"):
            take(**{"count": 1, "share": 1, "names": ["a"], **wrong})
    with pytest.raises(TypeError, match="unexpected keyword"):  # as Python says it
        take(1, 2, ["a"], colour=3)


def test_errors_name_keywords_in_python_and_flags_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`freeze_d`.*name it with `start`") as python:
        ganloom.train("digits", freeze_d=1)
    assert "--" not in str(python.value)
    with pytest.raises(GanloomError, match=r"--freeze-d.*name it with --from"):
        CliRunner().invoke(app, ["train", "digits", "--freeze-d", "1"], catch_exceptions=False)


@pytest.mark.parametrize("verb", ["train", "prepare", "inspect", "evaluate", "load", "open_run", "resume", "unpack"])
def test_no_error_of_python_names_a_flag(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    arguments = ["empty", "out"] if verb in ("prepare", "unpack") else ["empty"]
    with pytest.raises(GanloomError) as raised:
        getattr(ganloom, verb)(*arguments)
    assert " --" not in str(raised.value)


def test_the_type_of_an_error_stays(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a packed dataset"):
        ganloom.open_dataset(tmp_path)
