"""The notebook of the documentation runs as it stands, and what it shows is saved in it."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs/notebooks/first-run.ipynb"


def shown(notebook: nbformat.NotebookNode) -> list[bool]:
    """Of each code cell, whether it shows a picture."""
    return [
        any("image/png" in output.get("data", {}) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.slow
def test_the_notebook_shows_the_pictures_that_are_saved_in_it(tmp_path: Path) -> None:
    saved = nbformat.read(NOTEBOOK, as_version=4)
    executed = NotebookClient(
        nbformat.from_dict({**saved, "cells": [cell.copy() for cell in saved.cells]}),
        timeout=1000,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    assert shown(executed) == shown(saved)
    assert sum(shown(saved)) >= 3
    assert (tmp_path / "runs/first/model.safetensors").exists()
