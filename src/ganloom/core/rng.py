"""Keyed randomness: a draw is a function of its key, never of what was drawn before it."""

import hashlib

import torch
from torch import Tensor

__all__ = ["key", "latents", "seed"]


def key(*parts: int | str) -> int:
    """A 63-bit number from a tuple such as (seed, nimg, micro-batch, purpose); equal on every platform."""
    text = "\x1f".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def seed(*parts: int | str) -> None:
    """Seed PyTorch's generators, on every device, so that what is drawn next depends on this key alone."""
    torch.manual_seed(key(*parts))


def latents(
    seed: int,
    start: int,
    count: int,
    size: int,
) -> Tensor:  # [count, size]
    """Standard normal latents number `start` to `start + count` of a seed, on the CPU.

    Each row has a key of its own, so picture 5 of seed 0 is the same whatever the batch, the count or the device.
    """
    generator = torch.Generator()
    rows = []
    for index in range(start, start + count):
        generator.manual_seed(key(seed, index, "latent"))
        rows.append(torch.randn(size, generator=generator))
    return torch.stack(rows) if rows else torch.empty(0, size)
