"""The order of training: sample i is a function of (seed, i) alone.

Each epoch is a keyed bijection of the images, computed for the indices asked for and never stored: a Feistel network
over the next even power of two, walked until it lands inside (Black & Rogaway 2002, "Ciphers with arbitrary finite
domains"). So the order does not depend on the batch size or on the number of processes, a training continues anywhere
in O(1), and ten million images need no more memory than ten.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.core import rng
from ganloom.data.packed import PackedDataset

__all__ = ["Stream", "permute"]

ROUNDS = 6


@dataclass(frozen=True)
class Stream:
    """An endless sequence of training images."""

    dataset: PackedDataset
    seed: int
    with_labels: bool
    mirror: bool = False

    def images(
        self,
        start: int,
        count: int,
    ) -> Tensor:  # uint8 [count, C, H, W], channels last in memory
        """Images of samples `start` to `start + count`."""
        images = self.dataset.images(self._index(start, count))
        if self.mirror:
            coins = _mix(np.arange(start, start + count, dtype=np.uint64), rng.key(self.seed, "mirror"))
            flipped = (coins & np.uint64(1)).astype(bool)
            images[flipped] = images[flipped, :, ::-1]
        return torch.from_numpy(images).permute(0, 3, 1, 2)

    def labels(
        self,
        start: int,
        count: int,
    ) -> Tensor | None:  # int64 [count] or float [count, K]; None when training without labels
        """Labels of samples `start` to `start + count`."""
        if not self.with_labels:
            return None
        return torch.from_numpy(self.dataset.labels(self._index(start, count)))

    def _index(self, start: int, count: int) -> NDArray[np.int64]:
        size = self.dataset.count()
        samples = np.arange(start, start + count, dtype=np.int64)
        index = np.empty(count, np.int64)
        for epoch in range(start // size, (start + count - 1) // size + 1):
            chosen = samples // size == epoch
            index[chosen] = permute(samples[chosen] % size, size, rng.key(self.seed, epoch, "order"))
        return index


def permute(index: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Where a keyed bijection of range(size) sends each index."""
    if size == 1:
        return np.zeros_like(index)
    half = (int(size - 1).bit_length() + 1) // 2
    result = _feistel(index.astype(np.uint64), half, key)
    # The domain is at most four times the size, so a few walks bring every index inside.
    while (outside := result >= size).any():
        result[outside] = _feistel(result[outside], half, key)
    return result.astype(np.int64)


def _feistel(x: NDArray[np.uint64], half: int, key: int) -> NDArray[np.uint64]:
    mask = np.uint64((1 << half) - 1)
    shift = np.uint64(half)
    left, right = x >> shift, x & mask
    for round_ in range(ROUNDS):
        left, right = right, left ^ (_mix(right, rng.key(key, round_)) & mask)
    return (left << shift) | right


def _mix(x: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele et al. 2014): every bit of the result depends on every bit of x and key."""
    with np.errstate(over="ignore"):  # it is arithmetic modulo 2^64
        x = x + np.uint64(key) * np.uint64(2) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
