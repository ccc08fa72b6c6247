"""The order of the training images: sample i is a function of (seed, i) alone.

Each epoch is a keyed permutation of the images that is computed where needed and never stored: a Feistel network over
the next even power of two, applied until the result lies in range (Black & Rogaway 2002, "Ciphers with arbitrary finite
domains"). So the order does not depend on the batch size or the number of processes, a training resumes anywhere in
O(1), and ten million images need no more memory than ten.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.core import rng
from ganloom.core.device import to_device
from ganloom.data.dataset import Dataset

__all__ = ["Stream", "permute", "resident"]

ROUNDS = 6
BLOCK = 1024  # samples whose positions are computed together
MAX_RESIDENT_BYTES = 2**30  # of images that are kept on a GPU
MAX_RESIDENT_FRACTION = 0.1  # of its free memory


@dataclass(frozen=True)
class Stream:
    """An endless sequence of training images, read from `resident` if it is given, else from the dataset."""

    dataset: Dataset
    seed: int
    with_labels: bool
    mirror: bool = False
    resident: Tensor | None = None  # uint8 [images, H, W, C]

    def images(
        self,
        start: int,
        count: int,
    ) -> Tensor:  # uint8 [count, C, H, W], channels last in memory; on the device of `resident`, else the CPU
        """The images of samples `start` to `start + count`."""
        index = self._index(start, count)
        if self.resident is None:
            images = torch.from_numpy(self.dataset.images(index))
        else:
            images = self.resident[to_device(torch.from_numpy(index), self.resident.device)]
        if self.mirror:
            coins = _mix(np.arange(start, start + count, dtype=np.uint64), rng.key(self.seed, "mirror"))
            # Indices, not a mask: to count the ones in a mask, the CPU would wait for the GPU.
            flipped = to_device(torch.from_numpy(np.flatnonzero(coins & np.uint64(1))), images.device)
            images[flipped] = images[flipped].flip(2)
        return images.permute(0, 3, 1, 2)

    def labels(
        self,
        start: int,
        count: int,
    ) -> Tensor | None:  # int64 [count] or float [count, K]; None when training without labels
        """The labels of samples `start` to `start + count`."""
        if not self.with_labels:
            return None
        return torch.from_numpy(self.dataset.labels(self._index(start, count)))

    def _index(self, start: int, count: int) -> NDArray[np.int64]:
        size = self.dataset.count()
        blocks = range(start // BLOCK, (start + count - 1) // BLOCK + 1)
        index = np.concatenate([_block(block, size, self.seed) for block in blocks])
        first = start - blocks.start * BLOCK
        return index[first : first + count]


def resident(dataset: Dataset, device: torch.device) -> Tensor | None:
    """All training images as a tensor on the GPU, uint8 [images, H, W, C]; None on a CPU or without room for them.

    A training step then copies no images to the GPU. On a CPU, the memory-mapped dataset is as fast.
    """
    if device.type != "cuda":
        return None
    shape = dataset.shape
    size = dataset.count() * shape.channels * shape.height * shape.width
    if size > min(MAX_RESIDENT_BYTES, MAX_RESIDENT_FRACTION * torch.cuda.mem_get_info(device)[0]):
        return None
    return torch.from_numpy(dataset.images(np.arange(dataset.count()))).to(device)


@lru_cache(maxsize=8)
def _block(block: int, size: int, seed: int) -> NDArray[np.int64]:
    """Positions in the dataset of one block of samples. A thousand cost little more than one: calls dominate."""
    samples = np.arange(block * BLOCK, (block + 1) * BLOCK, dtype=np.int64)
    index = np.empty(BLOCK, np.int64)
    epochs = samples // size
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        index[chosen] = permute(samples[chosen] % size, size, rng.key(seed, int(epoch), "order"))
    return index


def permute(index: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Map each index by a keyed permutation of range(size)."""
    if size == 1:
        return np.zeros_like(index)
    half = (int(size - 1).bit_length() + 1) // 2
    result = _feistel(index.astype(np.uint64), half, key)
    # The domain is at most four times the size, so a few rounds bring every index into range.
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
    with np.errstate(over="ignore"):  # the arithmetic is modulo 2^64
        x = x + np.uint64(key) * np.uint64(2) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
