"""Trains a few steps in float64, by settings of each name, in as many processes as the environment says."""

import contextlib
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from conftest import tiny_config
from ganloom.core.distributed import connect
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find
from ganloom.training.assembly import assemble, resolve
from ganloom.training.state import pack_state
from ganloom.training.step import AdversarialStep

BATCHES = {
    "train.batch": 12,
    "train.micro_batch": 4,  # three micro-batches: two processes cannot share them evenly
    "train.batch_g": 16,
}
R1_OFF = {"penalties.r1.weight": 0}
TWO = {"train.batch": 8, "train.batch_g": 8}  # micro-batches: a third process has nothing to do
SETTINGS: dict[str, dict[str, Any]] = {
    "r1": {
        **BATCHES,
        "net.d": {"width": 8, "head": "pool", "norm": "layer"},
        "train.d_updates": 2,
        "penalties.r1.interval": 2,
        "optimizer.d.clip": 0.5,
        "optimizer.d.schedule": {"name": "plateau", "interval": "24 images", "patience": 0},
    },
    "batch norm": {**BATCHES, **R1_OFF, "net.d.norm": "batch", "loss": "relativistic_average"},
    "spectral norm": {
        **BATCHES,
        **R1_OFF,
        "net": "resnet",
        "net.g": {"width": 8, "spectral": True, "attention": 16},
        "net.d": {"width": 8, "attention": 16},
        "loss": "hinge",
        "optimizer.g.lr": 1e-3,
        "optimizer.d.lr": 4e-3,
    },
    # Six steps: level 0, a fade, level 1 and the next fade. Layers come into use, and out of it.
    "growing": {
        **BATCHES,
        **R1_OFF,
        "net": "progressive",
        "growth": {"hold": "12 images", "fade": "24 images"},
        "loss": "wasserstein",
        "penalties.wgan_gp": {"weight": 10},
        "penalties.drift": {"weight": 1e-3},
        "optimizer.g.name": "adamw",
        "optimizer.g.weight_decay": 0.1,
        "optimizer.d.name": "rmsprop",
    },
    "styles": {
        **BATCHES,
        **R1_OFF,
        "net": {"name": "stylegan2", "latent": 8, "g": {"width": 8, "mapping": 2}, "d": {"width": 8, "mapping": 2}},
        "augment": {"name": "ada", "target": 0.1, "kimg": 1},
        "burn_in": {"share": 0.05, "lr": 4, "beta2": 0.9, "penalties": 10, "half_life": 0},
        "penalties.path_length": {"weight": 2, "interval": 2},
    },
    "out of memory": {**BATCHES, **R1_OFF, "net.d.norm": "spectral", "augment": {"name": "ada", "kimg": 1}},
    "classifier": {
        **BATCHES,
        **R1_OFF,
        "augment": "diffaugment",
        "net.d.labels": "classifier",
        "penalties.auxiliary_classifier": {"weight": 1, "interval": 2},
        "penalties.feature_matching": {"weight": 1},
    },
}
SETTINGS |= {f"{name}, two micro-batches": {**SETTINGS[name], **TWO} for name in ("r1", "growing")}


def fail_once(step: AdversarialStep) -> None:
    """Let this process run out of memory in the second step of G."""
    judge, generator_step = step.judge, step.generator_step
    steps = itertools.count()

    def lacking(images: torch.Tensor, y: torch.Tensor | None) -> Any:
        step.judge = judge  # type: ignore[method-assign]
        raise torch.OutOfMemoryError("CUDA out of memory")

    def patched(*, measure: bool = False) -> Any:
        if next(steps) == 1:
            step.judge = lacking  # type: ignore[method-assign]
        return generator_step(measure=measure)

    step.generator_step = patched  # type: ignore[method-assign]


def main(out: str, names: list[str]) -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    device = torch.device("cpu")
    world = connect(device)
    dataset = prepare(find("digits"), Preprocessing((32, 32), None))
    for name in names:
        config = resolve(tiny_config(**SETTINGS[name]), dataset.shape, world.size)
        step = assemble(config, dataset, device, world, total=1000)
        results: dict[str, torch.Tensor] = {}
        if name == "out of memory" and world.rank == world.size - 1:
            fail_once(step)
        for index in range(6):
            results |= {f"stats/{index}/{name}": value for name, value in step.advance(measure=True).items()}
        step.ema.refresh(0, config.net.latent, 16, step.stream.labels)
        results |= dict(pack_state(step))
        tensors = {name: value.contiguous() for name, value in results.items()}
        save_file(tensors, f"{out}.{name}.{world.rank}.safetensors")
    assert threads_of_gloo() or world.size == 1 or sys.platform != "linux"
    world.close()
    deadline = time.monotonic() + 120  # one that has ended may be listed a moment longer
    while left := threads_of_gloo():
        assert time.monotonic() < deadline, f"{left} may abort this process as it ends"


def threads_of_gloo() -> list[str]:
    """On Linux; Python does not list them."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it has just ended
            names.append(path.read_text().strip())
    return [name for name in names if "gloo" in name]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
