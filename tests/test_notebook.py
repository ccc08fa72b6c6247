"""The notebook of the documentation runs as it stands, and its pictures are saved in it."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "docs/notebooks"


def executor() -> ModuleType:
    spec = importlib.util.spec_from_file_location("execute", NOTEBOOKS / "execute.py")
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


def first_run() -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads((NOTEBOOKS / "first-run.ipynb").read_text(encoding="utf-8"))
    return notebook


def kinds(notebook: dict[str, Any]) -> list[list[str]]:
    """The forms of the outputs of each code cell, such as image/png; stdout for what it prints."""
    return [
        [form for output in cell["outputs"] for form in output.get("data", {"stdout": ""})]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_shows_what_is_saved_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved = first_run()
    executed = executor().execute(saved)
    assert kinds(executed) == kinds(saved)
    assert sum("image/png" in forms for forms in kinds(executed)) >= 4
    assert (tmp_path / "runs/first/model.safetensors").exists()
