"""The doors of the house: who may import whom."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ganloom

ROOT = Path(ganloom.__file__).parent
# A room may import rooms of lower levels, and itself. Two rooms of one level do not know each other.
LEVELS = [
    {"core"},
    {"config", "recipes"},
    {"data", "nets", "objectives", "augment"},
    {"models", "metrics", "tracking", "runs"},
    {"training", "synthesis", "export"},
    {"guard"},
    {"session"},
    {"planning", "evaluation", "report", "doctor"},
    {"api"},
    {"serving", "tuning"},
    {"studio"},
    {"cli"},
    {"__main__"},
]
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
MODULES = sorted(
    ".".join(("ganloom", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
)
# Outside the extras, everything imports with these alone.
MINIMAL = {"torch", "numpy", "PIL", "pydantic", "pydantic_core", "yaml", "typer", "rich", "safetensors", "filelock"}
# Imported inside the one function that needs them: the extras, and what takes long to import.
LAZY = {
    "sklearn",
    "wandb",
    "pooch",
    "requests",
    "pydicom",
    "lmdb",
    "datasets",
    "matplotlib",
    "onnxruntime",
    "pyarrow",
    "scipy",
}


def path_of(module: str) -> Path:
    base = ROOT.joinpath(*module.split(".")[1:])
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def imports(module: str) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path_of(module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""  # the package itself: its version and its lazy names


def broken_doors(module: str, imported: list[str]) -> list[str]:
    mine = room_of(module)
    broken = []
    for other in imported:
        theirs = room_of(other)
        if not other.startswith("ganloom") or theirs in ("", mine):
            continue
        if LEVEL_OF[theirs] >= LEVEL_OF[mine]:
            broken.append(f"{module} imports {other}")
    return broken


def test_every_import_goes_through_a_door() -> None:
    broken = [line for module in MODULES if module != "ganloom" for line in broken_doors(module, [*imports(module)])]
    assert broken == []


def test_a_forbidden_import_is_seen() -> None:
    assert broken_doors("ganloom.nets.dcgan", ["ganloom.data.stream"])
    assert broken_doors("ganloom.core.rng", ["ganloom.config"])
    assert not broken_doors("ganloom.session.loop", ["ganloom.data.stream", "torch", "ganloom.training.step"])


def imported_at_top(module: str) -> set[str]:
    """The packages that a module needs to be imported at all."""
    return {
        name.split(".")[0]
        for node in ast.parse(path_of(module).read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    }


def test_modules_need_only_the_minimal_install() -> None:
    allowed = MINIMAL | {"ganloom"} | set(sys.stdlib_module_names)
    assert {module: more for module in MODULES if (more := imported_at_top(module) - allowed)} == {}


@pytest.mark.slow
def test_every_module_imports_without_the_lazy_packages() -> None:
    """In one new process where they do not exist."""
    modules = [module for module in MODULES if module != "ganloom.__main__"]
    script = (
        "import sys, importlib\n"
        f"sys.modules |= dict.fromkeys({sorted(LAZY)})\n"  # makes their imports fail as if they were not installed
        f"for module in {modules!r}: importlib.import_module(module)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_public_names_exist() -> None:
    modules = [importlib.import_module(module) for module in MODULES if module != "ganloom.__main__"]
    public = [(module, name) for module in modules for name in getattr(module, "__all__", [])]
    assert len(public) > 100
    assert [f"{module.__name__}.{name}" for module, name in public if not hasattr(module, name)] == []


def test_every_room_has_a_level() -> None:
    rooms = {info.name for info in pkgutil.iter_modules([str(ROOT)])}
    assert rooms <= set(LEVEL_OF)


def test_help_does_not_import_torch() -> None:
    script = (
        "import sys\n"
        "from ganloom.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_no_file_has_outgrown_one_sitting() -> None:
    long = {path.name: count for path in ROOT.rglob("*.py") if (count := len(path.read_text().splitlines())) > 400}
    assert long == {}


def test_no_function_of_training_or_session_takes_more_than_six_parameters() -> None:
    """Apart from `self`, and from what overrides a method of torch."""
    many = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for room in ("training", "session", "guard")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name != "_load_from_state_dict"
        if sum(each.arg != "self" for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)) > 6
    ]
    assert many == []


def test_the_first_sentence_of_each_room_says_its_one_job() -> None:
    rooms = list(ROOT.glob("*/__init__.py"))
    lacking = [path.parent.name for path in rooms if not ast.get_docstring(ast.parse(path.read_text()))]
    assert rooms and lacking == []
