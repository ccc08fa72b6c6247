"""What needs no torch to be refused is refused before torch is imported, which takes many seconds on a slow disk."""

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import tiny_config
from ganloom.runs import Facts, create_folder

SCRIPT = """
import json, sys
from typer.testing import CliRunner
from ganloom.cli import app

for words, expected in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, words)
    assert expected in str(result.exception), (words, expected, result.exception)
    assert "torch" not in sys.modules, words
print("all refused")
"""


def test_wrong_paths_names_and_values_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    facts = {"id": "a", "created": "", "dataset": "digits", "content_hash": "", "images": 1, "shape": (1, 8, 8)}
    more = {"class_names": [], "recipe": "digits", "ganloom": "", "torch": "", "device": "", "threads": 1}
    run = create_folder(tmp_path / "run", tiny_config(), Facts(**facts, **more, images_per_minute=None)).path  # type: ignore[arg-type]
    nowhere = str(tmp_path / "nowhere")
    cases = [
        (["train", nowhere], "there is nothing at"),
        (["train", "digit"], "Did you mean 'digits'"),
        (["train", "--device", "gpu"], "unknown device 'gpu'. Did you mean 'cuda'?"),
        (["train", "--recipe", "dcgan-23"], "dcgan-32"),
        (["train", "--recipe", nowhere + ".yaml"], "cannot read the recipe"),
        (["train", "--recipe", "digits", "--set", "trian.batch=3"], "unknown key 'trian'"),
        (["train", "--recipe", "digits", "--batch", "-3"], "train.batch"),
        (["train", "--set", "data.sise=3"], "Did you mean 'data.size'"),
        (["train", "--out", str(run)], "there is a run at"),
        (["train", "--length", "1 kimg", "--epochs", "3"], "set the same thing"),
        (["resume", nowhere], "there is no run at"),
        (["resume", str(run), "--device", "cpus"], "Did you mean 'cpu'"),
        (["resume", str(run), "--length", "ten"], "train.length"),
        (["resume", str(run), "--set", "ema.halflife=3"], "ema.half_life"),
        (["inspect", nowhere], "there is nothing at"),
        (["prepare", nowhere, str(tmp_path / "out")], "there is nothing at"),
        (["sample", nowhere], "there is no model file at"),
        (["sample", str(run)], "has no model yet"),
        (["evaluate", nowhere], "there is nothing at"),
        (["evaluate", str(run), nowhere], "there is nothing at"),
        (["report", nowhere], "there is no run at"),
        (["unpack", nowhere, str(tmp_path / "out")], "is not a packed dataset"),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(cases)], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "all refused", done.stderr[-1500:]
