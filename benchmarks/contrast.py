"""Does a discriminator that sees contrast help? The default with and without `net.d.bias`, at equal images.

    python benchmarks/contrast.py --data FOLDER [--sets emoji,blood,chest,cifar10,fashion,pneumonia,digits] [--kimg 24]
        [--seeds 1] [--only "bias;blind"] [--labels] [--again]

FOLDER holds cifar10.npz, fashion_mnist.npz, pneumoniamnist.npz and the folders chest_xray, blood_smears and emoji.
Each training is what `ganloom train` derives for the images, with ten scores on the way.

fd          Fréchet distance of 2,000 generated images of the EMA generator (loomnet-1), after each tenth
contrast    guard_contrast and guard_saturation at those times: of G itself, relative to the training images
texture     of the last EMA generator: energy at the highest frequencies, relative to that of real images
Each training's last sample grid is saved in a folder beside the results.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import ganloom
import machine
from trial import TRAIN, open_results

SETS = {
    "cifar10": ("cifar10.npz", {}),
    "fashion": ("fashion_mnist.npz", {"data.size": 32}),
    "pneumonia": ("pneumoniamnist.npz", {}),
    "digits": ("digits", {"data.size": 32}),
    "chest": ("chest_xray", {"data.size": 64}),
    "blood": ("blood_smears", {}),
    "emoji": ("emoji", {"data.size": 64}),
}
VARIANTS: dict[str, dict[str, Any]] = {"blind": {"net.d.bias": False}, "bias": {"net.d.bias": True}}
TONE = ("brightness", "contrast", "saturation")
POINTS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--kimg", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default=";".join(VARIANTS))
    parser.add_argument("--labels", action="store_true", help="with labels, however few images a class has")
    parser.add_argument("--name", default="contrast")
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    for seed in range(arguments.seeds):
        for name in arguments.sets.split(","):
            for variant in arguments.only.split(";"):
                key = f"{name}, {variant}, {arguments.kimg} kimg{', labels' if arguments.labels else ''}, seed {seed}"
                results, pictures = open_results(arguments.name)  # read anew: two may run side by side
                if key not in results or arguments.again:
                    row = trained(
                        arguments, name, variant, seed, pictures / f"{key.replace(', ', '-').replace(' ', '-')}.png"
                    )
                    results, _ = open_results(arguments.name)
                    results[key] = row | machine.origin()
                    file = machine.RESULTS / f"{arguments.name}.json"
                    file.write_text(json.dumps({"results": dict(sorted(results.items()))}, indent=1) + "\n")
                print(line(key, results[key]), flush=True)


def trained(arguments: argparse.Namespace, name: str, variant: str, seed: int, picture: Path) -> dict[str, Any]:
    source, image = SETS[name]
    every = f"{1000 * arguments.kimg // POINTS} images"
    given = VARIANTS[variant] | image | {"seed": seed, "trackers.tensorboard": False, "sample.every": "0 images"}
    given |= {"evaluate.every": every, "guard.every": every, "log.every": every, "checkpoint.every": "0 images"}
    given |= {"data.labels": True} if arguments.labels else {}
    with tempfile.TemporaryDirectory() as folder:
        found = arguments.data / source
        asked: dict[str, Any] = {
            "data": str(found) if found.exists() else source,
            "out": f"{folder}/run",
            "device": "cpu",
        }
        asked |= {"length": f"{arguments.kimg} kimg", "settings": given}
        done = subprocess.run([sys.executable, "-c", TRAIN, json.dumps(asked)], capture_output=True, text=True)
        if done.returncode:
            return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}
        run = ganloom.open_run(f"{folder}/run")
        history, last = run.history(), ganloom.evaluate(run.path, metrics="tone,texture", n=2000)
        picture.write_bytes(max((run.path / "samples").glob("0*.png")).read_bytes())
        score = next(column for column in history if column.startswith("fd[") and column.endswith("@2000"))
        columns = {"nimg": "nimg", "fd": score} | {part: f"guard_{part}" for part in TONE}
        curves = {short: [value for value in history[full] if value is not None] for short, full in columns.items()}
        return {"settings": given, "seconds": run.status.seconds, **curves, "last": last.to_dict()}


def line(key: str, row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{key}: failed: {row['failed']}"
    curve = " ".join(f"{value:.4g}" for value in row["fd"])
    last = " ".join(f"{name} {value:.2f}" for name, value in row["last"].items())
    return f"{key:40} fd {curve}   {last}"


if __name__ == "__main__":
    main()
