"""What a user imports: every name is there, typed, and imports no torch before it is used."""

import ast
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import ganloom
from ganloom.cli import app
from ganloom.core.flags import FLAGS

SCRIPT = """
import ganloom
from typing import reveal_type

run = ganloom.train("digits", out="run", epochs=1, batch=16, lr_g=2e-4, size="32x32", settings={"seed": 1})
model = run.model()
reveal_type(run)
reveal_type(model)
reveal_type(model.sample(4, seed=1))
reveal_type(model.images(2))
reveal_type(run.model("best"))
reveal_type(model.grid(4, class_name=["a", 3], columns=2))
reveal_type(run.history())
reveal_type(run.scores())
reveal_type(run.samples())
reveal_type(run.status)
reveal_type(run.status.state)
reveal_type(run.config)
reveal_type(run.path)
reveal_type(ganloom.resume(run, length="2 epochs"))
reveal_type(ganloom.open_run("run"))
reveal_type(ganloom.plan("digits", batch=8))
dataset = ganloom.prepare("photos", "packed", size=64)
reveal_type(dataset)
reveal_type(dataset.shape)
reveal_type(len(dataset))
reveal_type(dataset[0])
reveal_type(dataset.view("val"))
reveal_type(ganloom.open_dataset("packed"))
reveal_type(ganloom.unpack("packed", "pngs"))
reveal_type(ganloom.inspect("photos"))
reveal_type(ganloom.load("run"))
scores = ganloom.evaluate("run", n=100)
reveal_type(scores)
reveal_type(scores[0])
reveal_type(scores["fd"])
reveal_type(scores.to_rows())
reveal_type(ganloom.compare(["a", "b"]))
reveal_type(ganloom.tune_process())


def watch(event: ganloom.TrainingEvent) -> None:
    reveal_type(event.values)
    if event.kind == "scores":
        event.stop("good enough")


ganloom.train("digits", callback=watch)
ganloom.trian("digits")  # type: ignore[attr-defined]  # must be an error, or mypy calls the comment unused
ganloom.train("digits", bacth=8)  # type: ignore[call-arg]
"""


def test_every_public_name_exists_and_is_what_type_checkers_see() -> None:
    """The table that names are found by, and the imports that type checkers read, are the same list."""
    tree = ast.parse(Path(ganloom.__file__).read_text())
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typed = {
        alias.asname: f"{node.module}".removeprefix("ganloom.")
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == ganloom._MODULES
    assert set(ganloom.__all__) == {*typed, "__version__"}
    for name in ganloom.__all__:
        assert getattr(ganloom, name) is not None


def test_importing_ganloom_does_not_import_torch() -> None:
    """Nor does looking at images and preparing them."""
    script = (
        "import sys, ganloom; ganloom.GanloomError, ganloom.prepare, ganloom.inspect; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_public_callables_have_docstrings_and_examples() -> None:
    functions = [name for name in ganloom.__all__ if inspect.isfunction(getattr(ganloom, name))]
    assert len(functions) > 10
    lacking = [name for name in functions if not (inspect.getdoc(getattr(ganloom, name)) or "").strip()]
    assert lacking == []


def test_flags_of_the_command_line_are_keywords_of_train_and_plan() -> None:
    """From one table: a flag that only one of them had would show here."""
    train = next(command for command in app.registered_commands if command.callback.__name__ == "train")
    typed = set(inspect.signature(train.callback).parameters)
    for function in (ganloom.train, ganloom.plan):
        assert set(FLAGS) <= set(inspect.signature(function).parameters)
    assert set(FLAGS) <= typed
    only_typed = typed - set(inspect.signature(ganloom.train).parameters)
    assert only_typed == {"set", "processes", "explain"}  # settings, torchrun and plan in Python


def returned(hint: Any) -> Iterator[type]:
    """The classes of ganloom in an annotation."""
    for inner in typing.get_args(hint):
        yield from returned(inner)
    kind = typing.get_origin(hint) or hint
    if isinstance(kind, type) and kind.__module__.startswith("ganloom"):
        yield kind


def test_what_public_functions_and_methods_return_is_exported() -> None:
    """So that a typed user can name it in annotations."""
    within = {"Tensor": torch.Tensor, "SplitView": ganloom.SplitView}
    found = {}
    for name in ganloom.__all__:
        thing = getattr(ganloom, name)
        members = {name: thing} if inspect.isfunction(thing) else vars(thing) if inspect.isclass(thing) else {}
        for member, function in members.items():
            function = function.fget if isinstance(function, property) else function
            if inspect.isfunction(function) and not member.startswith("_"):
                hints = typing.get_type_hints(inspect.unwrap(function), localns=within)
                found.update({kind.__name__: f"{name}.{member}" for kind in returned(hints.get("return"))})
    assert {"Run", "Sizes", "Facts", "Change", "SplitView"} <= set(found)
    assert {kind: where for kind, where in found.items() if kind not in ganloom.__all__} == {
        "Code": "RunFolder.custom_code"  # for ganloom itself
    }


@pytest.mark.slow
def test_a_users_script_is_typed(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Mypy --strict accepts it, and knows every type: nothing is Any."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    kept = getattr(pytestconfig, "cache", None)  # a second time is quicker
    cache = kept.mkdir("mypy") if kept else tmp_path / "cache"
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    lines = [line for line in done.stdout.splitlines() if "Revealed type is" in line]
    assert done.returncode == 0, done.stdout
    assert len(lines) == SCRIPT.count("reveal_type(")
    assert [line for line in lines if "Any" in line] == []


def test_no_module_but_the_command_line_ends_the_process() -> None:
    """`raise SystemExit` and `sys.exit` belong to cli: a library never ends its caller's process."""
    root = Path(ganloom.__file__).parent
    ends = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if path.parent.name != "cli"
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Raise) and "SystemExit" in ast.unparse(node))
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.exit", "os._exit", "exit", "quit"))
    ]
    assert ends == []
