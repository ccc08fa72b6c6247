"""Trains a few steps in float64 in as many processes as the environment says, and writes what came out."""

import sys

import torch
from safetensors.torch import save_file

from conftest import tiny_config
from ganloom.core.distributed import connect
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find
from ganloom.training.assembly import assemble, resolve

SETTINGS = {
    "net.d": {"width": 8, "head": "pool"},
    "train.batch": 24,
    "train.micro_batch": 8,  # three micro-batches: two processes cannot share them evenly
    "train.batch_g": 32,
    "train.d_updates": 2,
    "penalties.r1.interval": 2,
    "optimizer.d.clip": 0.5,
    "optimizer.d.schedule": {"name": "plateau", "interval": "48 images", "patience": 0},
}


def main(out: str) -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    device = torch.device("cpu")
    world = connect(device)
    dataset = prepare(find("digits"), Preprocessing((32, 32), None))
    config = resolve(tiny_config(**SETTINGS), world.size)
    step = assemble(config, dataset, device, world, total=1000)
    results: dict[str, torch.Tensor] = {}
    for index in range(6):
        results |= {f"stats/{index}/{name}": value for name, value in step.advance(measure=True).items()}
    step.ema.refresh(0, config.net.latent, 16, step.stream.labels)
    for place, network in (("G", step.g.net), ("D", step.d.net), ("ema", step.ema.G), ("plateau", step.d.schedule)):
        results |= {f"{place}/{name}": value for name, value in network.state_dict().items()}
    save_file({name: value.contiguous() for name, value in results.items()}, f"{out}.{world.rank}.safetensors")
    world.close()


if __name__ == "__main__":
    main(sys.argv[1])
