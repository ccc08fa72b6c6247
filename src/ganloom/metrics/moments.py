"""Count, mean and scatter of features, accumulated in batches of any size and merged across processes."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ganloom.core.errors import DataError

__all__ = ["BLOCK", "Moments", "checked"]

BLOCK = 4096  # rows converted to float64 at a time


@dataclass
class Moments:
    """The first two moments of the features of a set of images, in float64.

    How the images are split into batches and processes does not matter, except for rounding errors of about 1e-13.
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
        """The moments of a whole set. Raises `DataError` if a feature is not finite."""
        moments = cls.empty(features.shape[1])
        for start in range(0, len(features), BLOCK):
            moments.add(features[start : start + BLOCK])
        return moments

    def add(
        self,
        features: NDArray[np.floating[Any]],  # [N, D]
    ) -> None:
        """Add a batch. Raises `DataError` if a feature is not finite."""
        if len(features) == 0:
            return
        x = checked(features)
        mean = x.mean(axis=0)
        # One product adds the scatter of the batch and the shift between the means: see merge
        moved = self._shift(len(x), mean)
        rows = np.vstack([x - mean, moved])
        self.scatter += rows.T @ rows

    def merge(self, other: Self) -> None:
        """Add the images of other moments, such as those of another process."""
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
        """The unbiased estimate, with the divisor N - 1."""
        assert self.count > 1, "one image has no covariance"
        return self.scatter / (self.count - 1)


def checked(
    features: NDArray[np.floating[Any]],  # [N, D]: features or logits
) -> NDArray[np.float64]:  # [N, D]
    """The same in float64. Raises `DataError` if a value is not finite, so that no metric is computed from it."""
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise DataError(
            f"The extractor's output for {np.count_nonzero(~finite):,} of {len(features):,} images is not finite "
            f"(image {np.argmin(finite)} is the first). If they are generated, the model has diverged: use an earlier "
            f"checkpoint. If they are real, use another extractor."
        )
    return features.astype(np.float64)
