"""Where memory is short, metrics work in smaller blocks, and their numbers stay the same."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from feature_sets import random_features

from ganloom import metrics
from ganloom.core.memory import Blocks
from ganloom.metrics.contract import Estimate, Features, Images, ImageSet, Inputs

EXACT = {"prdc", "kid", "ndb", "memorisation", "ssim", "ms-ssim", "is"}  # the others add up block by block
MOST = 7  # rows for which memory suffices


def image_set(seed: int, count: int = 120) -> ImageSet:
    images = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 1), np.uint8)
    features = random_features(count, 12, seed=seed).astype(np.float32)
    return ImageSet(Images.generated(images), lambda _: Features(features, features))


def measured(name: str) -> dict[str, Estimate]:
    real, fake, held_out = (image_set(seed) for seed in range(3))
    return metrics.find(name).measure(Inputs(real, fake, real, held_out, None, torch.flatten, [], 0))


@pytest.mark.parametrize("name", [*sorted(EXACT), "fd", "vendi"])
def test_a_metric_does_not_depend_on_the_size_of_its_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, over, failures = measured(name), Blocks.over, []

    def short(self: Blocks, count: int, work: Callable[[slice], Any]) -> Iterator[Any]:
        def limited(rows: slice) -> Any:
            result = work(rows)  # first: an allocation may fail after some of the work
            if rows.stop - rows.start > MOST:
                failures.append(rows)
                raise MemoryError
            return result

        return over(self, count, limited)

    monkeypatch.setattr(Blocks, "over", short)
    found = measured(name)
    assert failures
    for key, estimate in expected.items():
        tolerance = 0 if name in EXACT else 1e-9
        assert found[key].value == pytest.approx(estimate.value, rel=tolerance, abs=0 if name in EXACT else 1e-9)
