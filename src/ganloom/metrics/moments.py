"""Count, mean and scatter of features, accumulated in batches of any size and merged across processes."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ganloom.core.errors import DataError
from ganloom.core.memory import Blocks

__all__ = ["BLOCK", "Moments", "check_finite", "checked"]

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
        for part in Blocks(BLOCK).over(len(features), lambda rows: moments._part(features[rows])):
            moments._take(part)
        return moments

    def add(
        self,
        features: NDArray[np.floating[Any]],  # [N, D]
    ) -> None:
        """Add a batch. Raises `DataError` if a feature is not finite."""
        if len(features):
            self._take(self._part(features))

    def _part(self, features: NDArray[np.floating[Any]]) -> "_Part":
        """What a batch adds."""
        x = checked(features)
        mean = x.mean(axis=0)
        # One product adds the scatter of the batch and the shift between the means: see merge
        rows = np.vstack([x - mean, self._moved(len(x), mean)])
        return _Part(len(x), mean, rows.T @ rows)

    def merge(self, other: Self) -> None:
        """Add the images of other moments, such as those of another process."""
        if other.count:
            moved = self._moved(other.count, other.mean)
            self._take(_Part(other.count, other.mean, other.scatter + np.outer(moved, moved)))

    # Chan, Golub & LeVeque 1983: M2 = M2a + M2b + delta delta' na nb / (na + nb), mean = a + delta nb / (na + nb)
    def _moved(self, count: int, mean: NDArray[np.float64]) -> NDArray[np.float64]:  # [D]
        moved: NDArray[np.float64] = (mean - self.mean) * math.sqrt(self.count * count / (self.count + count))
        return moved

    def _take(self, part: "_Part") -> None:
        self.count += part.images
        self.mean = self.mean + (part.mean - self.mean) * (part.images / self.count)
        self.scatter += part.added

    @property
    def covariance(self) -> NDArray[np.float64]:  # [D, D]
        """The unbiased estimate, with the divisor N - 1."""
        assert self.count > 1, "one image has no covariance"
        return self.scatter / (self.count - 1)


class _Part(NamedTuple):
    """What some images add to moments."""

    images: int
    mean: NDArray[np.float64]  # [D]
    added: NDArray[np.float64]  # [D, D], to the scatter


def checked(
    features: NDArray[np.floating[Any]],  # [N, D]: features or logits
) -> NDArray[np.float64]:  # [N, D]
    """A copy in float64. Raises `DataError` if a value is not finite, so that no metric is computed from it."""
    check_finite(features)
    return features.astype(np.float64)


def check_finite(
    features: NDArray[np.floating[Any]],  # [N, D]: features or logits
) -> None:
    """Raises `DataError` if a value is not finite."""
    parts = Blocks(BLOCK).over(len(features), lambda rows: np.isfinite(features[rows]).all(axis=1))
    finite = np.concatenate([np.empty(0, np.bool_), *parts])
    if not finite.all():
        raise DataError(
            f"The extractor's output for {np.count_nonzero(~finite):,} of {len(features):,} images is not finite "
            f"(image {np.argmin(finite)} is the first). If they are generated, the model has diverged: use an earlier "
            f"checkpoint. If they are real, use another extractor."
        )
