"""Memorisation: copies are caught, new images are not accused."""

import numpy as np
import pytest
import torch
from comparing import comparison, digits, shifted
from numpy.typing import NDArray

from ganloom.core.errors import DataError
from ganloom.core.pictures import GAP
from ganloom.metrics.contract import Estimate
from ganloom.metrics.memorisation import WORST, data_copying, held_out_only, measure, memorised, neighbours

IMAGES, _ = digits()
TRAINING, HELD_OUT, NEW = IMAGES[:897], IMAGES[897:1347], IMAGES[1347:]


def spectrum(
    images: torch.Tensor,  # [N, C, H, W]
) -> torch.Tensor:  # float32 [N, D]
    """How much of each frequency: what a shift leaves as it is where the edge is empty, as a digit's is."""
    return torch.fft.rfft2(images.float(), norm="ortho").abs().flatten(1)


def scores(fake: NDArray[np.uint8], held_out: NDArray[np.uint8] = HELD_OUT) -> dict[str, Estimate]:
    return measure(comparison(TRAINING, fake, held_out=held_out, extract=spectrum))


def test_new_real_images_are_not_accused() -> None:
    found = scores(NEW)
    assert abs(found["memorisation_z"].value) < 3
    assert found["memorised"].low is not None and found["memorised"].low < 0.01
    assert found["memorisation_ratio"].value == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("right", [0, 1])
def test_copies_are_caught_even_when_moved_by_a_pixel(right: int) -> None:
    copies = shifted(TRAINING[:450], right) if right else TRAINING[:450]
    found = scores(copies)
    assert found["memorisation_z"].value < -15
    assert found["memorised"].value > 0.5
    assert found["memorisation_ratio"].value < 0.6


def test_one_copy_in_twenty_is_caught_by_the_share() -> None:
    mixed = np.concatenate([NEW[:427], shifted(TRAINING[:23])])
    found = scores(mixed)
    assert found["memorised"].low is not None and found["memorised"].low > 0.015
    assert abs(found["memorisation_z"].value) < 3  # the whole is no nearer than it should be


def test_images_far_from_all_are_called_far() -> None:
    assert scores(255 - NEW)["memorisation_z"].value > 15


def test_held_out_images_that_are_training_images_are_left_out() -> None:
    with_duplicates = np.concatenate([HELD_OUT, TRAINING[:200]])
    for fake in (NEW, TRAINING[:450]):
        clean, found = scores(fake), scores(fake, with_duplicates)
        assert found == clean
    slightly = np.array([0.0, 1e-6, 0.5, 3.0])
    assert held_out_only(slightly, np.random.default_rng(0).standard_normal((50, 3), np.float32)).tolist() == [0.5, 3.0]


def test_memorisation_is_refused_if_every_held_out_image_was_trained_on() -> None:
    with pytest.raises(DataError, match="hold out other images"):
        scores(NEW, TRAINING[:300])


def test_the_share_of_new_images_is_the_promised_one() -> None:
    rng = np.random.default_rng(0)
    shares = [memorised(rng.random(200), rng.random(199)).mean() for _ in range(500)]
    assert np.mean(shares) == pytest.approx(0.01, abs=0.001)  # k = 2 of 199: 2 / 200
    few = [memorised(rng.random(200), rng.random(49)).mean() for _ in range(500)]
    assert np.mean(few) == pytest.approx(1 / 50, abs=0.003)


def test_the_statistic_is_standard_normal_for_equal_distributions() -> None:
    rng = np.random.default_rng(0)
    for draw in (rng.random, lambda n: rng.integers(4, size=n).astype(float)):  # the second is full of ties
        z = [data_copying(draw(80), draw(120)) for _ in range(2000)]
        assert np.mean(z) == pytest.approx(0, abs=0.07)
        assert np.std(z) == pytest.approx(1, abs=0.05)


def test_the_statistic_is_that_of_counting_pairs() -> None:
    fake, held_out = np.array([1.0, 2.0, 2.0, 5.0]), np.array([2.0, 3.0, 4.0])
    u = sum((f > h) + 0.5 * (f == h) for f in fake for h in held_out)
    assert u == 4
    ties = 3**3 - 3
    variance = 4 * 3 / 12 * (8 - ties / (7 * 6))
    assert data_copying(fake, held_out) == pytest.approx((u - 6) / variance**0.5)
    assert data_copying(held_out, fake) == pytest.approx(-(u - 6) / variance**0.5)
    assert data_copying(np.ones(5), np.ones(7)) == 0


def test_neighbours_are_exact_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((70, 5)) * 1e-3 + 100).astype(np.float32)  # far from the origin
    training = np.concatenate([(rng.standard_normal((300, 5)) * 1e-3 + 100).astype(np.float32), features[7:9]])
    all_distances = np.linalg.norm(features[:, None].astype(np.float64) - training[None], axis=2)
    for queries, points in ((1024, 4096), (9, 31)):
        monkeypatch.setattr("ganloom.metrics.memorisation.QUERIES", queries)
        monkeypatch.setattr("ganloom.metrics.memorisation.POINTS", points)
        found = neighbours(features, training)
        assert np.array_equal(found.distance, all_distances.min(axis=1))
        assert np.array_equal(found.nearest, all_distances.argmin(axis=1))
    assert found.distance[7:9].tolist() == [0, 0]


def test_features_that_are_not_finite_are_refused() -> None:
    broken = np.full((60, 3), np.nan, np.float32)
    with pytest.raises(DataError, match="not finite"):
        neighbours(broken, np.zeros((60, 3), np.float32))


def test_the_picture_shows_the_worst_pairs_side_by_side() -> None:
    fake = np.concatenate([NEW, TRAINING[100:103]])
    found = comparison(TRAINING, fake, held_out=HELD_OUT)
    measure(found)
    picture = found.pictures["memorisation"]
    side = 32 + GAP
    assert picture.dtype == torch.uint8 and picture.shape == (1, GAP + 4 * side, GAP + 8 * side)
    places = [(GAP + i // 8 * side, GAP + i % 8 * side) for i in range(2 * WORST)]
    shown = [picture[:, top : top + 32, left : left + 32] for top, left in places]
    originals = [torch.tensor(image).permute(2, 0, 1) for image in TRAINING[100:103]]
    for pair, original in enumerate(originals):  # the copies are the nearest of all
        assert torch.equal(shown[2 * pair], original) and torch.equal(shown[2 * pair + 1], original)
    assert not torch.equal(shown[-2], shown[-1])
