"""The effect of settings: the default recipe with changes, compared after equal numbers of images.

    python benchmarks/settings.py --data FOLDER --set chest --kimg 24,48,96 [--change 'KEY=VALUE KEY=VALUE'] ...
        [--size 64] [--averages 0.005,300] [--n 2500] [--seed 0] [--threads 1] [--name settings]

FOLDER and sets are those of time_to_quality.py; as there, the default is trained without labels. The changes are
trained one after the other; '' stands for no change. At each number of images these are scored: the EMA generator
(column `own`), G itself, and G averaged with the half-lives in `--averages` (values below 1 are shares of the images
seen, others are images). The score is the Frechet distance of `--n` generated images from at most 5,000 training images
in loomnet-1's features. Results are added to those with the same name, set and size; sheets of the EMA generator are
saved beside them. Images per second include the cost of the additional averages.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
import yaml

import machine
from contenders import CPU, SETS, RecipeTraining, by_default
from ganloom.core import rng
from ganloom.core.pictures import grid, save_png
from ganloom.core.runtime import tune_process
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find
from ganloom.metrics import frechet
from ganloom.metrics.contract import Images
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors import loomnet
from ganloom.metrics.pairs import some
from ganloom.models.generate import generate
from ganloom.training.ema import Ema
from time_to_quality import SHEET

REALS = 5000
NEVER = 10**12  # images: so long that only the share of the images seen limits the half-life


def averages_of(training: RecipeTraining, half_lives: str) -> dict[str, Ema]:
    """The averages to score: the training's own, G itself, and those with other half-lives."""
    G, own = training.training.g.net, training.training.ema
    others = {each: float(each) for each in half_lives.split(",") if each}
    return {
        "own": own,
        "G": Ema(G, 0, 0.0),
        **{name: Ema(G, NEVER, each) if each < 1 else Ema(G, int(each), 0.0) for name, each in others.items()},
    }


def train(dataset: PackedDataset, change: str, arguments: argparse.Namespace, sheet: Path) -> list[dict[str, Any]]:
    """Train once and return the scores at each number of images."""
    kimg = [float(each) for each in arguments.kimg.split(",")]
    settings = {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in change.split())}
    derived = by_default(dataset, {"data.labels": False} | settings, f"{kimg[-1]:g} kimg")
    training = RecipeTraining(dataset, *derived, arguments.seed)
    step = training.training
    averages = averages_of(training, arguments.averages)
    additional = [each for each in averages.values() if each is not step.ema]
    judge = Extraction(loomnet.load(), CPU)
    rows = some(dataset.count(), min(REALS, dataset.count()), rng.key(0, "real"))
    real = judge.cached(Images(dataset.images, rows, None, "", dataset.description.content_hash, "train")).pooled
    looks, seconds = [], 0.0
    for each in kimg:
        began = time.monotonic()
        while training.nimg < 1000 * each:
            before = training.nimg
            training.step()
            for average in additional:
                average.update(training.nimg, training.nimg - before)
        seconds += time.monotonic() - began
        look: dict[str, Any] = {"kimg": each, "img/s": round(training.nimg / seconds)}
        for name, average in averages.items():
            average.refresh(step.config.seed, step.config.net.latent, step.g.micro_batch, step.stream.labels)
            generated = generate(average.G, step.config.net.latent, arguments.n, 0, step.stream.labels(0, arguments.n))
            pictures = torch.cat(list(generated))
            features = judge.features(Images.generated(pictures.permute(0, 2, 3, 1).numpy())).pooled
            look[name] = round(frechet.from_features(real, features), 1)
            if name == "own":
                save_png(sheet, grid(pictures[:SHEET]))
        looks.append(look)
        print("  ".join(f"{key} {value:g}" for key, value in look.items()), flush=True)
    return looks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", choices=SETS, required=True)
    parser.add_argument("--kimg", required=True)
    parser.add_argument("--change", action="append", help="can be given several times")
    parser.add_argument("--size", type=int)
    parser.add_argument("--averages", default="")
    parser.add_argument("--n", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="settings")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    tune_process()
    file, usual = SETS[arguments.set]
    size = arguments.size or usual
    dataset = prepare(find(str(arguments.data / file)), Preprocessing((size, size)))
    kept = machine.RESULTS / f"{arguments.name}.json"
    results = json.loads(kept.read_text())["results"] if kept.exists() else {}
    (machine.RESULTS / arguments.name).mkdir(parents=True, exist_ok=True)
    for change in arguments.change or [""]:
        print(f"\n{arguments.set} at {size}, seed {arguments.seed}: {change or 'the default'}", flush=True)
        of_set = results.setdefault(f"{arguments.set}-{size}", {})
        key = f"{change or 'default'}; seed {arguments.seed}"
        number = [*of_set].index(key) if key in of_set else len(of_set)
        sheet = machine.RESULTS / arguments.name / f"{arguments.set}-{size}-{number}.png"
        of_set[key] = {"looks": train(dataset, change, arguments, sheet)}
        machine.write(arguments.name, results, depth=2)


if __name__ == "__main__":
    main()
