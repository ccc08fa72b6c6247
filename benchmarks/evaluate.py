"""Speed of evaluation: `python benchmarks/evaluate.py`. Contenders take turns; ratios are medians over the rounds.

- Inception features: ours against torch-fidelity's, with the same random weights, 32x32 images, batch 32.
- Frechet distance between two Gaussians with d = 2048: ours against scipy.linalg.sqrtm.
- loomnet-1: images per second at 32x32.
- Scores during training: their share of the time of the digits recipe, at the interval that it chooses at its start.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch import nn

import ganloom
import machine
from ganloom.metrics.extractors import inception, loomnet
from ganloom.metrics.frechet import frechet_distance
from ganloom.metrics.moments import Moments
from ganloom.session import loop

sys.path.append(str(Path(__file__).parent.parent / "tests" / "metrics"))
import oracle

BATCH = 32  # images per batch of Inception
IMAGES = 64  # images per round of Inception
D = 2048


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(rounds: int, **contenders: Callable[[], object]) -> dict[str, list[float]]:
    """Seconds of each contender, round by round, after one warm-up round."""
    for work in contenders.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            seconds[name].append(timed(work))
    return seconds


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return {"median": round(statistics.median(each), 2), "min": round(min(each), 2), "max": round(max(each), 2)}


@torch.inference_mode()
def inception_features(rounds: int, folder: Path) -> dict[str, Any]:
    oracle.torch_fidelity()
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = inception.build().to_empty(device="cpu")
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    torch.save(network.state_dict(), folder / "random.pth")
    theirs = FeatureExtractorInceptionV3(
        "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(folder / "random.pth")
    ).eval()
    ours = inception.Inception(network.state_dict())
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8)
    seconds = in_turns(
        rounds,
        theirs=lambda: [theirs(batch) for batch in images.split(BATCH)],
        ours=lambda: [ours(batch) for batch in images.split(BATCH)],
    )
    rate = {name: round(IMAGES / statistics.median(each), 2) for name, each in seconds.items()}
    return {"images_per_second": rate, "speed_up": ratio(seconds["theirs"], seconds["ours"])}


def frechet(rounds: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    factors = [random.standard_normal((D, 2 * D)) / np.sqrt(2 * D) for _ in range(2)]
    S1, S2 = (factor @ factor.T for factor in factors)
    # Of two images, so that the scatter matrix equals the covariance.
    a, b = (Moments(2, np.zeros(D), S) for S in (S1, S2))
    values: dict[str, float] = {}

    def ours() -> None:
        values["ours"] = frechet_distance(a, b)

    def theirs() -> None:
        values["sqrtm"] = float(np.trace(S1 + S2 - 2 * scipy.linalg.sqrtm(S1 @ S2).real))

    seconds = in_turns(rounds, theirs=theirs, ours=ours)
    each = {name: round(statistics.median(values), 2) for name, values in seconds.items()}
    return {"seconds": each, "speed_up": ratio(seconds["theirs"], seconds["ours"]), "values": values}


@torch.inference_mode()
def loomnet_features(rounds: int) -> dict[str, Any]:
    encoder = loomnet.load()
    images = torch.randint(0, 256, (4096, 3, 32, 32), dtype=torch.uint8)
    seconds = in_turns(rounds, ours=lambda: [encoder(batch) for batch in images.split(64)])["ours"]
    return {"images_per_second": round(len(images) / statistics.median(seconds))}


def share_of_training(folder: Path) -> dict[str, Any]:
    """The share of evaluations in the time of the training; neither includes the first timing."""
    spent: list[float] = []
    evaluate = loop.evaluate

    def watched(*arguments: Any) -> bool:
        began, enough = time.perf_counter(), evaluate(*arguments)
        spent.append(time.perf_counter() - began)
        return enough

    loop.evaluate = watched  # type: ignore[assignment]
    began = time.perf_counter()
    run = ganloom.train(out=folder / "run", settings={"train.length": "180 kimg"})
    whole = time.perf_counter() - began
    loop.evaluate = evaluate
    return {
        "every": str(run.config.evaluate.every),
        "evaluations": len(spent),
        "seconds_each": round(statistics.mean(spent), 2),
        "share": round(sum(spent) / whole, 4),
        "seconds": round(whole, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        results = {}
        for name, measure in {
            "loomnet-1 features, 32x32": lambda: loomnet_features(rounds),
            "inception features": lambda: inception_features(rounds, folder),
            "frechet distance, d = 2048": lambda: frechet(min(rounds, 3)),
            "scores while training": lambda: share_of_training(folder),
        }.items():
            results[name] = measure()
            print(f"{name:<28} {results[name]}", flush=True)
    print(machine.write("evaluate", results))


if __name__ == "__main__":
    main()
