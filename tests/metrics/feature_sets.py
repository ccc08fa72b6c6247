"""Features without images: `Inputs` of a metric from arrays, and datasets of ten modes."""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Features, Images, ImageSet, Inputs

Array = NDArray[Any]
WIDTH = 24


def compare(real: Array, fake: Array, seed: int = 0) -> Inputs:
    """Of features [N, D]; logits are the features."""
    side = _side(real)
    return Inputs(side, _side(fake), side, None, None, _none, [], seed)


def _side(features: Array) -> ImageSet:
    features = features.astype(np.float32)
    images = Images(_none, np.arange(len(features)), None, "test", "test", "train")
    return ImageSet(images, lambda _: Features(features, features))


def _none(_: object) -> NoReturn:
    raise AssertionError("no metric of features looks at images")


def of_modes(count: int, modes: int, seed: int) -> NDArray[np.float32]:  # [count, WIDTH]
    """What a network with ReLU might say of a dataset with `modes` kinds of images, the first of the same ten."""
    centres = np.random.default_rng(99).normal(0, 1, (10, WIDTH))
    rng = np.random.default_rng(seed)
    scales = np.arange(1, WIDTH + 1) ** -0.5
    rows = (centres[rng.integers(modes, size=count)] + rng.normal(0, 0.5, (count, WIDTH))) * scales
    features: NDArray[np.float32] = np.maximum(rows + 2, 0).astype(np.float32)
    return features


def constant(count: int) -> NDArray[np.float32]:  # [count, WIDTH]
    """One image again and again."""
    return np.repeat(of_modes(1, 10, seed=5), count, axis=0)


def random_features(count: int, width: int, seed: int, shift: float = 0.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, (count, width)).astype(np.float32)
