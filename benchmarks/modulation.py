"""StyleGAN2's modulated convolution, computed in two ways with the same result, in two memory layouts.

    python benchmarks/modulation.py [--seconds 1]

scaled      input maps scaled by the style, one convolution for the whole batch, outputs scaled: what ganloom does
fused       separate weights for each image, all in one grouped convolution
channels    of the map, the same before and after; `layout` is channels_last (as in training on CPUs and CUDA) or plain

Grouped convolutions need the plain layout here, so `fused` copies channels_last maps; the time includes that.
Times are median milliseconds, measured in turns; `ratio` is fused over scaled, above 1 if scaled is faster. `infer` is
the forward pass; `train` includes the backward pass to weights and styles. Runs on a GPU if there is one.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as the command line does; must be set before torch is imported

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import machine

SHAPES = ((64, 32), (128, 16), (256, 8), (512, 4), (64, 64), (512, 32))  # channels, pixels per side
BATCHES = (1, 16)
MIN_ROUNDS = 3


def scaled(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
    norm = torch.rsqrt(style.square() @ weight.square().sum(dim=(2, 3)).t() + 1e-8)
    return F.conv2d(x * style[:, :, None, None], weight, padding=1) * norm[:, :, None, None]


def fused(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    weights = weight * style[:, None, :, None, None]  # [N, after, before, 3, 3]
    weights = weights * torch.rsqrt(weights.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
    out = F.conv2d(x.reshape(1, n * channels, height, width), weights.flatten(0, 1), padding=1, groups=n)
    return out.reshape(n, -1, height, width)


def timed(ways: Mapping[str, Callable[[], Any]], seconds: float, device: torch.device) -> dict[str, float]:
    """Median milliseconds of each way, measured in turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for work in ways.values():
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(found["scaled"]) < MIN_ROUNDS:
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            found[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(each) for name, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="per row")
    parser.add_argument("--name", default="modulation", help="name of the file in benchmarks/results")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows: list[dict[str, Any]] = []
    print(f"{'layout':<14} mode   batch channels pixels   scaled    fused  ratio")
    for channels, pixels in SHAPES:
        for batch in BATCHES:
            for layout in ("channels_last", "plain"):
                order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
                x = torch.randn(batch, channels, pixels, pixels, device=device).to(memory_format=order)
                weight = torch.randn(channels, channels, 3, 3, device=device).to(memory_format=order).requires_grad_()
                style = torch.randn(batch, channels, device=device, requires_grad=True)
                exact = x.double(), weight.double(), style.double()
                torch.testing.assert_close(scaled(*exact), fused(*exact))  # the same result

                def infer(way: Callable[..., Tensor], given: tuple[Tensor, ...] = (x, weight, style)) -> None:
                    with torch.no_grad():
                        way(*given)

                def train(way: Callable[..., Tensor], given: tuple[Tensor, ...] = (x, weight, style)) -> None:
                    inputs = (given[0].detach().requires_grad_(), *given[1:])
                    torch.autograd.grad(way(*inputs).square().mean(), inputs)

                for mode, act in (("infer", infer), ("train", train)):
                    ways = {way.__name__: partial(act, way) for way in (scaled, fused)}
                    taken = timed(ways, arguments.seconds, device)
                    row = {"layout": layout, "mode": mode, "batch": batch, "channels": channels, "pixels": pixels}
                    rows.append({**row, **taken, "ratio": taken["fused"] / taken["scaled"]})
                    print(
                        f"{layout:<14} {mode:<6} {batch:>5} {channels:>8} {pixels:>6} {taken['scaled']:>8.3f} "
                        f"{taken['fused']:>8.3f} {rows[-1]['ratio']:>6.2f}",
                        flush=True,
                    )
    print(machine.write(arguments.name, rows))


if __name__ == "__main__":
    main()
