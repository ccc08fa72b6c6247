"""A Python file of the user becomes a module, and what it raises becomes a message."""

import dataclasses
import inspect
import pickle
import sys
from pathlib import Path

import pytest

from ganloom.core import code
from ganloom.core.errors import ConfigError, DataError
from ganloom.core.files import sha256
from ganloom.core.names import keyword_options


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_is_one_module_until_its_content_changes(tmp_path: Path) -> None:
    file = written(tmp_path / "mine.py", "value = object()\n")
    first = code.load_file(file)
    assert code.load_file(str(file)) is first
    written(file, "value = 3\n")
    assert code.load_file(file).value == 3
    written(file, "value = object()\n")
    assert code.load_file(file) is first


def test_equal_files_are_separate_modules(tmp_path: Path) -> None:
    a, b = (written(tmp_path / f"{name}.py", "values = []\n") for name in "ab")
    assert code.load_file(a).values is not code.load_file(b).values


def test_nothing_is_written_beside_the_file(tmp_path: Path) -> None:
    code.load_file(written(tmp_path / "mine.py", "x = 1\n"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_the_text_and_the_hash_are_those_of_the_bytes(tmp_path: Path) -> None:
    content = "\ufeff# ünïcode\r\nx = 'é'\r\n".encode()
    (tmp_path / "mine.py").write_bytes(content)
    read = code.read(tmp_path / "mine.py")
    assert (read.name, read.sha256, read.source.encode()) == ("mine.py", sha256(content), content)
    assert read.is_intact and not read.model_copy(update={"source": read.source + " "}).is_intact
    assert code.load_file(tmp_path / "mine.py").x == code.load_code(read).x == "é"


def test_code_without_its_file_does_what_the_file_does(tmp_path: Path) -> None:
    """Dataclasses with string annotations, pickle and inspect all look up the module by its name."""
    file = written(
        tmp_path / "some.dotted name.py",
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Point:\n    x: int\n\n    def twice(self):\n        return 2 * self.x\n",
    )
    from_file, read = code.load_file(file), code.read(file)
    file.unlink()
    module = code.load_code(read)
    assert module is not from_file and module is code.load_code(read)
    assert [field.name for field in dataclasses.fields(module.Point)] == ["x"]
    assert pickle.loads(pickle.dumps(module.Point(4))).twice() == 8
    assert "2 * self.x" in inspect.getsource(module.Point.twice)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef y(:\n", r"mine\.py, line 2: SyntaxError: invalid syntax"),
        ("import math\n\nx = 1 / 0\n", r"mine\.py, line 3: ZeroDivisionError: division by zero"),
        ("def f():\n    g()\n\ndef g():\n    raise KeyError('here')\n\nf()\n", r"mine\.py, line 5: KeyError: 'here'"),
        ("import json\njson.loads('{')\n", r"mine\.py, line 2: JSONDecodeError: Expecting property name"),
        ("import sys\nsys.exit('stop')\n", r"mine\.py, line 2: SystemExit: stop"),
        ("raise ValueError\n", r"mine\.py, line 1: ValueError$"),
        (
            "import beside_it\n",
            r"line 1: ModuleNotFoundError: No module named 'beside_it'\. .*no file that lies beside",
        ),
        ("x = '\0'\n", r"mine\.py.*null bytes"),
    ],
)
def test_what_a_file_raises_is_reported_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    before = set(sys.modules)
    with pytest.raises(ConfigError, match=message):
        code.load_file(written(tmp_path / "mine.py", text))
    assert not [name for name in set(sys.modules) - before if name.startswith("mine")], "a module that failed was kept"


def test_an_error_of_ganloom_raised_by_the_file_passes_through(tmp_path: Path) -> None:
    text = "from ganloom.core.errors import DataError\nraise DataError('put the disk in.')\n"
    with pytest.raises(DataError, match=r"^put the disk in\.$"):
        code.load_file(written(tmp_path / "mine.py", text))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes("x = 'é'".encode("latin-1"))
    (tmp_path / "folder.py").mkdir()
    for name, message in (("none.py", "there is no file .*none"), ("latin.py", "UTF-8"), ("folder.py", "cannot read")):
        with pytest.raises(ConfigError, match=message):
            code.load_file(tmp_path / name)


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "mine.py", "x = 1\n")
    assert code.load_file("~/mine.py").x == 1
    assert code.absolute("~/mine.py") == str(tmp_path / "mine.py")
    assert code.absolute("dcgan") == "dcgan"


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("./mine.py", ("./mine.py", "")),
        ("mine.py:photos", ("mine.py", "photos")),
        ("/a/mine.py:x:y=3", ("/a/mine.py", "x:y=3")),
        ("mine.py:other.py", ("mine.py", "other.py")),
        ("mine.py:", ("mine.py", "")),
        (r"C:\code\mine.py:arg", (r"C:\code\mine.py", "arg")),
        (r"C:\code\mine.py", (r"C:\code\mine.py", "")),
        ("/mnt:1/mine.py:arg", ("/mnt:1/mine.py", "arg")),
        ("hf:owner/name.py", None),
        ("dicom:scans.py:3", None),
        ("mine.pyc", None),
        ("photos", None),
        ("mine.npy", None),
    ],
)
def test_a_source_is_a_file_and_an_argument(spec: str, parts: tuple[str, str] | None) -> None:
    assert code.split(spec) == parts


@pytest.mark.parametrize(
    "definition",
    ["def f(a, b, *, c): ...", "def f(a, b, *, c=3, **more): ...", "class f:\n def __init__(self, a, b): ..."],
)
def test_a_callable_with_the_right_signature_is_accepted(tmp_path: Path, definition: str) -> None:
    module = code.load_file(written(tmp_path / "mine.py", definition))
    assert code.get_callable(module, "f", "a", "b") is module.f


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("def g(a, b): ...", r"mine\.py has no f: it should define f\(a, b, \*, OPTION=\.\.\.\)"),
        ("f = 3", r"mine\.py has no f"),
        ("def f(a): ...", r"f\(a\) has the wrong signature: write f\(a, b, \*, OPTION"),
        ("def f(a: int, b: int, c: int = 3) -> int: ...", r"f\(a, b, c=3\) has the wrong signature.*after the \*"),
        ("def f(a, c=3): ...", r"f\(a, c=3\) has the wrong signature"),
        ("def f(*a): ...", r"f\(\*a\) has the wrong signature"),
    ],
)
def test_a_wrong_signature_is_refused_with_the_right_one(tmp_path: Path, definition: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        code.get_callable(code.load_file(written(tmp_path / "mine.py", definition)), "f", "a", "b")


def test_options_are_checked_when_annotations_are_strings(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom pydantic import PositiveInt\n\n"
        "class Net:\n    def __init__(self, *, width: PositiveInt = 3) -> None: ...\n\n"
        "def lost(*, a: Nowhere = 3) -> None: ...\n\n"
        "class Odd: ...\n\ndef odd(*, a: Odd) -> None: ...\n"
    )
    module = code.load_file(written(tmp_path / "mine.py", text))
    assert keyword_options("net", module.Net, {"width": "5"}) == {"width": 5}
    with pytest.raises(ConfigError, match="option 'width' of net: must be above 0"):
        keyword_options("net", module.Net, {"width": 0})
    with pytest.raises(ConfigError, match="the annotations of it cannot be read: name 'Nowhere' is not defined"):
        keyword_options("it", module.lost, {})
    with pytest.raises(ConfigError, match="it has an option whose type cannot be checked"):
        keyword_options("it", module.odd, {})
