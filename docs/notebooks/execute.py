"""Run the cells of a notebook and save what they show, without Jupyter.

    python docs/notebooks/execute.py docs/notebooks/first-run.ipynb

Runs and caches go to a temporary folder. As in Jupyter, a cell shows what it prints, the value of its last expression,
what it passes to `display`, and open matplotlib figures.
"""

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot as plt

Output = dict[str, Any]


def shown(value: Any) -> Output:
    """One output of a cell, with every form that the value has."""
    forms: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
    if callable(getattr(value, "_repr_html_", None)):
        forms["text/html"] = value._repr_html_().splitlines(keepends=True)
    if callable(getattr(value, "_repr_png_", None)):
        forms["image/png"] = base64.b64encode(value._repr_png_()).decode()
    return {"output_type": "display_data", "metadata": {}, "data": forms}


def figures() -> list[Output]:
    """Open figures, which are closed."""
    found = []
    for number in plt.get_fignums():
        plt.figure(number).savefig(buffer := io.BytesIO(), format="png", dpi=80, bbox_inches="tight")
        data = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": ["<Figure>"]}
        found.append({"output_type": "display_data", "metadata": {}, "data": data})
    plt.close("all")
    return found


def run_cell(source: str, names: dict[str, Any]) -> list[Output]:
    """The outputs of a code cell. What it raises ends the execution, as a traceback."""
    outputs: list[Output] = []
    names["display"] = lambda *values: outputs.extend(shown(value) for value in values)
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "cell", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None
    if printed.getvalue():
        outputs.insert(
            0, {"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(keepends=True)}
        )
    if value is not None:
        outputs.append(shown(value))
    return outputs + figures()


def execute(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with the outputs of its code cells, which are run in their order in the current folder."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            cell = cell | {"outputs": run_cell("".join(cell["source"]), names), "execution_count": count}
        cells.append(cell)
    return notebook | {"cells": cells}


def main() -> None:
    path = Path(sys.argv[1]).resolve()
    notebook = json.loads(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["GANLOOM_CACHE"] = f"{folder}/cache"
        executed = execute(notebook)
    path.write_text(json.dumps(executed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
