"""SSIM against its closed forms, and against the formula written out pixel by pixel."""

import numpy as np
import pytest
import torch
from comparing import comparison, digits, images_of, shapes

from ganloom.metrics.pairs import BATCH_VALUES, batches, nearest, over_pairs, random_pairs, some
from ganloom.metrics.ssim import measure, nearest_ssim, ssim

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def slow_ssim(a: np.ndarray, b: np.ndarray, window: int) -> float:  # [H, W] each
    """Wang et al. 2004, equations 13 to 16, one position after the other."""
    offsets = np.arange(window) - window // 2
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for top in range(a.shape[0] - window + 1):
        for left in range(a.shape[1] - window + 1):
            x, y = (image[top : top + window, left : left + window].astype(np.float64) for image in (a, b))
            mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
            var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
            cov = (weights * (x - mean_x) * (y - mean_y)).sum()
            numerator = (2 * mean_x * mean_y + C1) * (2 * cov + C2)
            values.append(numerator / ((mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2)))
    return float(np.mean(values))


@pytest.mark.parametrize(("height", "width", "window"), [(16, 13, 11), (11, 11, 11), (8, 8, 7), (9, 9, 9)])
def test_ssim_is_the_formula_at_every_position(height: int, width: int, window: int) -> None:
    a = noise(2, 3, height, width)
    b = (a.float() * 0.7 + noise(2, 3, height, width, seed=1) * 0.3).to(torch.uint8)
    found = ssim(a, b)
    for image, value in enumerate(found):
        expected = np.mean([slow_ssim(a[image, c].numpy(), b[image, c].numpy(), window) for c in range(3)])
        assert value.item() == pytest.approx(expected, abs=1e-12)
    assert torch.allclose(ssim(b, a), found, atol=1e-14, rtol=0)  # symmetric


def test_ssim_of_equal_images_is_one() -> None:
    assert torch.allclose(ssim(noise(4, 1, 28, 28), noise(4, 1, 28, 28)), torch.ones(4).double(), atol=1e-12)


@pytest.mark.parametrize(("a", "b"), [(0, 255), (100, 150), (0, 0), (3, 4)])
def test_ssim_of_constant_images_is_their_luminance_alone(a: int, b: int) -> None:
    x, y = torch.full((1, 3, 20, 20), a), torch.full((1, 3, 20, 20), b)
    assert ssim(x, y).item() == pytest.approx((2 * a * b + C1) / (a * a + b * b + C1), abs=1e-9)


def test_a_shift_of_brightness_leaves_the_structure() -> None:
    a = noise(1, 1, 11, 11).clamp(0, 200).double()  # one position of the window
    grid = torch.exp(-((torch.arange(11).double() - 5) ** 2) / 4.5)
    weights = torch.outer(grid, grid) / grid.sum() ** 2
    mean = (weights * a[0, 0]).sum()
    expected = (2 * mean * (mean + 50) + C1) / (mean**2 + (mean + 50) ** 2 + C1)
    assert ssim(a, a + 50).item() == pytest.approx(expected.item(), abs=1e-12)


def test_inverted_images_have_negative_ssim() -> None:
    a = noise(1, 1, 32, 32)
    assert ssim(a, 255 - a).item() < -0.5


def test_the_nearest_training_image_is_found_whatever_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = digits()
    training, copies = images_of(images[:600]), images_of(images[np.arange(40) * 7])
    values = nearest_ssim(copies, np.arange(40), training)
    assert np.allclose(values, 1)
    new = images_of(images[1000:1040])
    before = nearest_ssim(new, np.arange(40), training)
    assert before.max() < 0.999
    monkeypatch.setattr("ganloom.metrics.pairs.BATCH_VALUES", 70 * 32 * 32)
    assert np.allclose(nearest_ssim(new, np.arange(40), training), before, atol=1e-12)


def test_copies_are_nearer_than_held_out_images_and_those_are_as_near_as_new_ones() -> None:
    images, _ = digits()
    real, held_out, new = images[:900], images[900:1300], images[1300:]
    good = measure(comparison(real, new, held_out=held_out))
    copied = measure(comparison(real, real[:400] // 8 * 8, held_out=held_out))
    near, usual = good["ssim_nearest"], good["ssim_nearest_held_out"]
    assert near.value == pytest.approx(usual.value, abs=0.02)
    assert copied["ssim_nearest"].low is not None and copied["ssim_nearest"].low > usual.value + 0.02
    assert copied["ssim_nearest_held_out"] == usual
    assert abs(good["ssim"].value - copied["ssim"].value) < 0.05  # random pairs know nothing of it


def test_without_held_out_images_there_is_nothing_to_compare_with() -> None:
    images, _ = shapes(300)
    assert set(measure(comparison(images[:200], images[200:]))) == {"ssim", "ssim_nearest"}


def test_the_seed_chooses_the_pairs() -> None:
    images, _ = shapes(300)
    first, again, other = (measure(comparison(images[:200], images[200:], seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first["ssim"] != other["ssim"] and first["ssim_nearest"] == other["ssim_nearest"]


def test_nearest_is_the_brute_force_answer() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, points = torch.randn(50, 6, generator=generator) + 1000, torch.randn(333, 6, generator=generator) + 1000
    expected = torch.cdist(queries.double(), points.double()).argsort(1)
    for block in (1, 2, 100, 400):
        assert np.array_equal(nearest(queries, points.split(block), 3), expected[:, :3].numpy())
    assert nearest(queries, points[:2].split(1), 5).shape == (50, 2)


def test_pairs_are_of_different_images_and_cover_all() -> None:
    one, other = random_pairs(7, 2000, seed=0)
    assert (one != other).all() and {*one, *other} == set(range(7))
    counts = np.unique(one * 7 + other, return_counts=True)[1]
    assert len(counts) == 42 and counts.min() > 20  # all ordered pairs, about equally often
    assert random_pairs(2, 5, seed=0)[0].tolist() != random_pairs(2, 5, seed=3)[0].tolist()


def test_some_are_all_or_a_choice_in_order() -> None:
    assert some(5, 9, seed=0).tolist() == [0, 1, 2, 3, 4]
    chosen = some(1000, 10, seed=0)
    assert len(set(chosen)) == 10 and (np.diff(chosen) > 0).all()
    assert not np.array_equal(chosen, some(1000, 10, seed=1))


def test_images_are_read_in_bounded_batches() -> None:
    colours = np.arange(15, dtype=np.uint8).reshape(5, 1, 1, 3)
    large = images_of(np.broadcast_to(colours, (5, 512, 1024, 3)))
    sizes = [batch.shape for batch in batches(large)]
    assert sizes == [(1, 3, 512, 1024)] * 5 and BATCH_VALUES >= 512 * 1024 * 3
    rows = np.array([4, 0])
    assert torch.equal(torch.cat(list(batches(large, rows)))[:, :, 0, 0], torch.tensor(colours[rows, 0, 0]))
    distances = over_pairs(lambda a, b: (a.float() - b).mean((1, 2, 3)), large, rows, large, rows[::-1])
    assert distances.tolist() == [12, -12]
