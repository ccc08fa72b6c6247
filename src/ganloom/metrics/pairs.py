"""What metrics of images share: random pairs, nearest neighbours, downscaling, batches of bounded size."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ganloom.core.memory import Blocks
from ganloom.metrics.contract import Images

__all__ = ["batches", "nearest", "over_pairs", "random_pairs", "shrunk", "some"]

BATCH_VALUES = 2**21  # pixels times channels of a batch; a metric keeps a few float64 copies of it


def some(count: int, most: int, seed: int) -> NDArray[np.int64]:  # [min(count, most)]
    """A random choice of at most `most` indices below `count`, in rising order."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def random_pairs(
    count: int,  # images
    n: int,  # pairs
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # [n] and [n]
    """Indices of random pairs of two different images; a pair may occur twice."""
    rng = np.random.default_rng(seed)
    first = rng.integers(count, size=n)
    return first, (first + rng.integers(1, count, size=n)) % count


def batches(
    images: Images,
    rows: NDArray[np.int64] | None = None,  # all of them
) -> Iterator[Tensor]:  # uint8 [<= batch, C, H, W]
    """The images in order, in batches of a bounded number of pixels."""
    chosen = np.arange(len(images)) if rows is None else rows
    yield from _blocks(images).over(len(chosen), lambda block: _tensor(images, chosen[block]))


def over_pairs(
    distance: Callable[[Tensor, Tensor], Tensor],  # two uint8 [N, C, H, W] -> [N]
    one: Images,
    one_rows: NDArray[np.int64],  # [P]
    other: Images,
    other_rows: NDArray[np.int64],  # [P]
) -> NDArray[np.float64]:  # [P]
    """`distance` of each pair, in batches of a bounded number of pixels."""

    def distances(block: slice) -> NDArray[np.float64]:
        return distance(_tensor(one, one_rows[block]), _tensor(other, other_rows[block])).cpu().double().numpy()

    return np.concatenate(list(_blocks(one).over(len(one_rows), distances)))


def nearest(
    queries: Tensor,  # [Q, D]
    blocks: Iterable[Tensor],  # of [B, D], the points in order
    k: int = 1,
) -> NDArray[np.int64]:  # [Q, k], nearest first
    """Indices of the k nearest points by Euclidean distance in float64; one block of points is in memory at a time."""
    queries = queries.double()
    centre = queries.mean(0)  # the expanded square loses the fewest digits near the origin
    queries = queries - centre
    best = torch.empty(len(queries), 0, dtype=torch.float64)
    index = torch.empty(len(queries), 0, dtype=torch.int64)
    start = 0
    for block in blocks:
        points = block.double() - centre
        # |q - p|^2 = |q|^2 + |p|^2 - 2 q.p; |q|^2 does not change the order
        squares = torch.addmm(points.square().sum(1), queries, points.T, alpha=-2)
        columns = torch.arange(start, start + len(points)).expand(len(queries), -1)
        best, chosen = torch.cat([best, squares], 1).topk(min(k, best.shape[1] + len(points)), largest=False)
        index = torch.cat([index, columns], 1).gather(1, chosen)
        start += len(points)
    return index.numpy()


def shrunk(
    images: Tensor,  # uint8 [N, C, H, W]
    longest: int,
    shortest: int = 1,
) -> Tensor:  # float32 [N, C, h, w] in [0, 255]
    """Downscaled by area averaging, keeping the ratio, to sides of at most `longest`, at least `shortest` pixels."""
    scale = min(1.0, longest / max(images.shape[2:]))
    height, width = (max(shortest, round(side * scale)) for side in images.shape[2:])
    return F.adaptive_avg_pool2d(images.float(), (height, width))


def _blocks(images: Images) -> Blocks:
    return Blocks(max(1, BATCH_VALUES // images[:1].size))


def _tensor(images: Images, rows: NDArray[np.int64]) -> Tensor:  # uint8 [N, C, H, W]
    return torch.tensor(images[rows]).permute(0, 3, 1, 2)
