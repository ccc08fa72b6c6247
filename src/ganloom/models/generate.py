"""Generate uint8 images from a generator, batch by batch."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ganloom.core import rng
from ganloom.core.memory import Blocks
from ganloom.core.pictures import to_uint8
from ganloom.nets.contract import Styled

__all__ = ["generate", "generate_floats", "truncated"]


def generate(
    G: nn.Module,
    latent: int,  # size of z
    count: int,
    seed: int,
    y: Tensor | None,  # int64 [count] or float [count, K]; None without labels
    batch: int = 64,
    truncation: float | None = None,
) -> Iterator[Tensor]:  # uint8 [<= batch, C, H, W] on the CPU, `count` images in all
    """The first `count` images of a seed. G runs in evaluation mode and is then set back to the mode it was in."""
    for images in generate_floats(G, latent, count, seed, y, batch, truncation):
        yield to_uint8(images).cpu()


@torch.no_grad()
def generate_floats(
    G: nn.Module,
    latent: int,
    count: int,
    seed: int,
    y: Tensor | None,
    batch: int = 64,
    truncation: float | None = None,
) -> Iterator[Tensor]:  # float [<= batch, C, H, W] in [-1, 1], where G is
    """The same images as floats, as G returns them. When memory runs out, it halves the batch and continues."""
    device = next(G.parameters()).device
    dtype = next(G.parameters()).dtype
    training = G.training

    def made(rows: slice) -> Tensor:
        z = rng.latents(seed, rows.start, rows.stop - rows.start, latent)
        with rng.preserved():
            rng.seed(seed, rows.start, "generate")  # for networks that draw noise
            return _forward(G, z, None if y is None else y[rows].to(device), truncation, device, dtype)

    G.eval()
    try:
        yield from Blocks(batch).over(count, made)
    finally:
        G.train(training)


def _forward(
    G: nn.Module, z: Tensor, y: Tensor | None, truncation: float | None, device: torch.device, dtype: torch.dtype
) -> Tensor:
    if isinstance(G, Styled) and truncation is not None:
        return G.truncated(z.to(device, dtype), y, truncation)
    images: Tensor = G((z if truncation is None else truncated(z, truncation)).to(device, dtype), y)
    return images


def truncated(z: Tensor, limit: float) -> Tensor:
    """Map standard normal values to a normal truncated to [-limit, limit] (Brock et al. 2019, section 3.1).

    This gives less variety and more typical images. The map is monotonic, so the images of a seed stay similar.
    """
    inside = math.erf(limit / math.sqrt(2))
    return (math.sqrt(2) * torch.erfinv(torch.erf(z.double() / math.sqrt(2)) * inside)).to(z.dtype)
