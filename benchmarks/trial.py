"""Train a recipe in a separate process and judge its model before and after."""

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
from ganloom.runs import RunFolder, open_folder
from ganloom.runs.checkpoints import Manifest
from ganloom.tracking.jsonl import read_log
from ganloom.training.assembly import assemble

TRAIN = "import json, sys, ganloom; ganloom.train(**json.loads(sys.argv[1]))"
COLUMNS = 8  # of images on a sheet, if there are no classes


class Judge(Protocol):
    """Judges generated images of one dataset."""

    name: str
    source: str  # where `ganloom.train` finds them
    size: int  # pixels per side
    channels: int
    folder: Path  # for runs
    dataset: PackedDataset

    def of_model(self, file: Path) -> tuple[dict[str, Any], torch.Tensor | None]:
        """The numbers and the images, uint8 [N, C, H, W], of a model; neither if its images contain NaN or infinity."""
        ...


def open_results(name: str) -> tuple[dict[str, dict[str, Any]], Path]:
    """The existing results of this name, by dataset and row, and the folder for their images."""
    file, pictures = machine.RESULTS / f"{name}.json", machine.RESULTS / name
    pictures.mkdir(parents=True, exist_ok=True)
    return (json.loads(file.read_text())["results"] if file.exists() else {}), pictures


def run(
    name: str, recipe: str, changes: dict[str, Any], minutes: float, seed: int, judge: Judge, pictures: Path
) -> dict[str, Any]:
    """Train in a separate process and judge the model. A sheet of its images is saved in the folder `pictures`."""
    out = judge.folder / f"{judge.name}-{name}"
    never = dict.fromkeys(("evaluate.every", "guard.every", "sample.every", "checkpoint.every"), "0 images")
    image = {"data.size": judge.size, "data.channels": judge.channels}
    given = {"seed": seed, "train.length": f"{minutes} minutes", **image, **never, "trackers.tensorboard": False}
    asked = {"data": judge.source, "recipe": recipe, "out": str(out), "device": "cpu", "settings": given | changes}
    command = [sys.executable, "-c", TRAIN, json.dumps(asked)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300 + 240 * minutes, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": "it did not finish in time"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"it ended with exit code {done.returncode}"])[-1]}
    trained = open_folder(out)
    after, made = judge.of_model(trained.model)
    before, _ = judge.of_model(untrained(trained, judge.dataset))
    manifest = Manifest.model_validate_json(next(trained.checkpoints.glob("*.json")).read_bytes())
    log, level = read_log(trained.log), getattr(ganloom.load(trained.model, device="cpu").G, "level", None)
    if made is not None:
        classes = len(trained.facts.class_names) if trained.config.data.labels else 0
        save_sheet(made, classes, pictures / f"{judge.name}-{name}.png")
    return {
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
    """Whether a row of the results comes from exactly this training, with the current version of the recipe."""
    return {"minutes": minutes, "seed": seed, "config": digest(recipe, changes)}.items() <= row.items()


def digest(recipe: str, changes: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([recipe_values(recipe), changes], sort_keys=True).encode()).hexdigest()[:12]


def save_sheet(made: torch.Tensor, classes: int, path: Path) -> None:
    columns = classes or COLUMNS
    sheet = Image.fromarray(grid(made[: COLUMNS * columns], columns).permute(1, 2, 0).numpy().squeeze())
    sheet = sheet.quantize() if made.shape[1] == 3 else sheet  # 256 colours: half the bytes, no visible difference
    sheet.save(path, optimize=True)


def untrained(run: RunFolder, dataset: PackedDataset) -> Path:
    """The untrained model of a run."""
    config = run.config
    step = assemble(config, dataset, torch.device("cpu"), World(), total=1)
    step.ema.refresh(config.seed, config.net.latent, step.g.micro_batch, step.stream.labels)
    modelfile.write(path := run.path / "untrained.safetensors", step.ema.G, modelfile.read_header(run.model))
    return path
