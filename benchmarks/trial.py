"""One training of a recipe in a process of its own, and what a judge says of its model before and after."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

import ganloom
import machine
from ganloom.config import recipe_values
from ganloom.core.distributed import World
from ganloom.core.pictures import grid
from ganloom.data.packed import PackedDataset
from ganloom.models import modelfile
from ganloom.runs import Run, open_run
from ganloom.tracking.jsonl import read_log
from ganloom.training.assembly import assemble
from ganloom.training.checkpoint import Manifest

TRAIN = "import json, sys, ganloom; ganloom.train(**json.loads(sys.argv[1]))"
COLUMNS = 8  # of pictures in a sheet, where there are no classes


class Judge(Protocol):
    """Images of one dataset, and what can be said of generated ones."""

    name: str
    source: str  # where `ganloom.train` finds them
    size: int  # pixels a side
    channels: int
    folder: Path  # for runs
    dataset: PackedDataset

    def of_model(self, file: Path) -> tuple[dict[str, Any], torch.Tensor | None]:
        """Numbers of a model, and its pictures uint8 [N, C, H, W]; neither if they are no numbers."""
        ...


def open_results(name: str) -> tuple[dict[str, dict[str, Any]], Path]:
    """What results there are under this name, by dataset and row, and the folder for their pictures."""
    file, pictures = machine.RESULTS / f"{name}.json", machine.RESULTS / name
    pictures.mkdir(parents=True, exist_ok=True)
    return (json.loads(file.read_text())["results"] if file.exists() else {}), pictures


def run(
    name: str, recipe: str, changes: dict[str, Any], minutes: float, seed: int, judge: Judge, pictures: Path
) -> dict[str, Any]:
    """Train in a process of its own, then look at what came out. A sheet of it goes to the folder `pictures`."""
    out = judge.folder / f"{judge.name}-{name}"
    never = dict.fromkeys(("evaluate.every", "guard.every", "sample.every", "checkpoint.every"), "0 images")
    form = {"data.size": judge.size, "data.channels": judge.channels}
    given = {"seed": seed, "train.length": f"{minutes} minutes", **form, **never, "trackers.tensorboard": False}
    asked = {"data": judge.source, "recipe": recipe, "out": str(out), "device": "cpu", "settings": given | changes}
    command = [sys.executable, "-c", TRAIN, json.dumps(asked)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300 + 240 * minutes, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": "it did not end"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]}
    trained = open_run(out)
    after, made = judge.of_model(trained.model)
    before, _ = judge.of_model(untrained(trained, judge.dataset))
    manifest = Manifest.model_validate_json(next(trained.checkpoints.glob("*.json")).read_bytes())
    log, level = read_log(trained.log), getattr(ganloom.load(trained.model, device="cpu").G, "level", None)
    if made is not None:
        classes = len(trained.facts.class_names) if trained.config.data.labels else 0
        save_sheet(made, classes, pictures / f"{judge.name}-{name}.png")
    return {
        "commit": machine.describe()["commit"],
        "minutes": minutes,
        "seed": seed,
        "recipe": recipe,
        "settings": changes,
        "config": digest(recipe, changes),
        "images": manifest.nimg,
        "images_per_second": manifest.nimg / manifest.seconds,
        **after,
        "before": before,
        "level": None if level is None else float(level),
        "nan": made is None or any(value is None for row in log for value in row.values()),
    }


def is_of(row: dict[str, Any], recipe: str, changes: dict[str, Any], minutes: float, seed: int) -> bool:
    """Whether a row of the results is of this very training, the recipe as it is now."""
    return {"minutes": minutes, "seed": seed, "config": digest(recipe, changes)}.items() <= row.items()


def digest(recipe: str, changes: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([recipe_values(recipe), changes], sort_keys=True).encode()).hexdigest()[:12]


def save_sheet(made: torch.Tensor, classes: int, path: Path) -> None:
    columns = classes or COLUMNS
    sheet = Image.fromarray(grid(made[: COLUMNS * columns], columns).permute(1, 2, 0).numpy().squeeze())
    sheet = sheet.quantize() if made.shape[1] == 3 else sheet  # 256 colours: half of the bytes, and no eye sees it
    sheet.save(path, optimize=True)


def untrained(run: Run, dataset: PackedDataset) -> Path:
    """The model that the run began with."""
    config = run.config
    step = assemble(config, dataset, torch.device("cpu"), World(), total=1)
    step.ema.refresh(config.seed, config.net.latent, step.g.micro_batch, step.stream.labels)
    modelfile.write(path := run.path / "untrained.safetensors", step.ema.G, modelfile.read_header(run.model))
    return path
