"""Count, mean and scatter of features: streamed in batches of any size, merged over processes."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ganloom.core.errors import DataError

__all__ = ["BLOCK", "Moments", "checked"]

BLOCK = 4096  # rows that are held in float64 at a time


@dataclass
class Moments:
    """The first two moments of a set of images' features, in float64.

    The batches, their sizes and the processes that saw them do not matter: the rounding that they leave is about 1e-13.
    """

    count: int
    mean: NDArray[np.float64]  # [D]
    scatter: NDArray[np.float64]  # [D, D]: the sum over images of (x - mean)(x - mean)'

    @classmethod
    def empty(cls, width: int) -> Self:
        return cls(0, np.zeros(width), np.zeros((width, width)))

    @classmethod
    def of(
        cls,
        features: NDArray[np.floating[Any]],  # [N, D]
    ) -> Self:
        """Of all features at once. Raises `DataError` if any is not finite."""
        moments = cls.empty(features.shape[1])
        for start in range(0, len(features), BLOCK):
            moments.add(features[start : start + BLOCK])
        return moments

    def add(
        self,
        features: NDArray[np.floating[Any]],  # [N, D]
    ) -> None:
        """Take in a batch. Raises `DataError` if any feature is not finite."""
        if len(features) == 0:
            return
        x = checked(features)
        mean = x.mean(axis=0)
        # The batch's own scatter, and what it adds by lying elsewhere, as one product: see merge
        moved = self._shift(len(x), mean)
        rows = np.vstack([x - mean, moved])
        self.scatter += rows.T @ rows

    def merge(self, other: Self) -> None:
        """Take in the images of another, such as another process's."""
        if other.count == 0:
            return
        moved = self._shift(other.count, other.mean)
        self.scatter += other.scatter + np.outer(moved, moved)

    def _shift(self, count: int, mean: NDArray[np.float64]) -> NDArray[np.float64]:  # [D]
        # Chan, Golub & LeVeque 1983: M2 = M2a + M2b + delta delta' na nb / (na + nb), mean = a + delta nb / (na + nb)
        before, delta = self.count, mean - self.mean
        self.count += count
        self.mean = self.mean + delta * (count / self.count)
        moved: NDArray[np.float64] = delta * math.sqrt(before * count / self.count)
        return moved

    @property
    def covariance(self) -> NDArray[np.float64]:  # [D, D]
        """Over N - 1."""
        assert self.count > 1, "one image has no covariance"
        return self.scatter / (self.count - 1)


def checked(
    features: NDArray[np.floating[Any]],  # [N, D]: features or logits
) -> NDArray[np.float64]:  # [N, D]
    """In float64. Raises `DataError` if any is not finite, so that no number comes of them."""
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise DataError(
            f"What the extractor says of {np.count_nonzero(~finite):,} of {len(features):,} images is not finite "
            f"(image {np.argmin(finite)} is the first). If they are generated, the model has diverged: take an earlier "
            f"checkpoint. If they are real, take another extractor."
        )
    return features.astype(np.float64)
