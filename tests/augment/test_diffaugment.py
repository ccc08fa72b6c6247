"""DiffAugment: each operation against its formula, on images from which the formula can be recovered."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from ganloom import augment
from ganloom.augment.diffaugment import color, cutout, translation
from ganloom.core import rng
from ganloom.core.errors import ConfigError

OPERATIONS = ("color", "translation", "cutout")
POLICIES = [subset for count in (1, 2, 3) for subset in itertools.combinations(OPERATIONS, count)]
SIDES = [(32, 32), (33, 47), (7, 20), (9, 8)]


def diffaugment(channels: int, *policy: str) -> nn.Module:
    return augment.build("diffaugment", channels, {"policy": policy} if policy else {})


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(autouse=True)
def seeded() -> None:
    rng.seed(0, "augment")


# Colour.


def test_brightness_adds_one_number_of_at_most_half_to_every_pixel_of_an_image() -> None:
    """A constant grey image has neither saturation nor contrast: only brightness changes it."""
    shift = color(torch.full((2000, 3, 2, 3), 0.25, dtype=torch.float64)) - 0.25
    torch.testing.assert_close(shift, shift[:, :1, :1, :1].expand_as(shift))
    per_image = shift[:, 0, 0, 0]
    assert per_image.abs().max() <= 0.5
    assert per_image.min() < -0.49 and per_image.max() > 0.49
    assert per_image.mean().abs() < 0.03


def test_contrast_keeps_the_mean_and_scales_the_distance_from_it() -> None:
    """On grey pixels in three channels, which have no saturation."""
    grey = noise(1, 1, 6, 7).expand(4000, 3, 6, 7)
    changed = color(grey)
    mean, mean_after = grey.mean((1, 2, 3), keepdim=True), changed.mean((1, 2, 3), keepdim=True)
    assert (mean_after - mean).abs().max() <= 0.5  # brightness alone
    factor = (changed - mean_after) / (grey - mean)
    torch.testing.assert_close(factor, factor[:, :1, :1, :1].expand_as(factor))
    per_image = factor[:, 0, 0, 0]
    assert 0.5 <= per_image.min() < 0.51 and 1.49 < per_image.max() <= 1.5


def test_saturation_keeps_the_mean_of_each_pixel_and_scales_the_distance_from_it() -> None:
    """Every pixel has the same mean as the image, so contrast only scales the distance from it."""
    colours = noise(1, 3, 6, 7)
    colours = (colours - colours.mean(1, keepdim=True)).expand(8000, 3, 6, 7)
    changed = color(colours)
    mean = changed.mean(1, keepdim=True)
    torch.testing.assert_close(mean, mean[..., :1, :1].expand_as(mean))
    factor = (changed - mean) / colours
    torch.testing.assert_close(factor, factor[:, :1, :1, :1].expand_as(factor))
    per_image = factor[:, 0, 0, 0]  # saturation in [0, 2] times contrast in [.5, 1.5]
    assert 0 <= per_image.min() < 0.01 and 2.7 < per_image.max() <= 3
    assert per_image.mean() == pytest.approx(1, abs=0.03)
    assert per_image.var() == pytest.approx((1 / 3 + 1) * (1 / 12 + 1) - 1, abs=0.03)  # of a product of two uniforms


def test_saturation_contrast_and_brightness_are_one_formula() -> None:
    """The result is linear in the pixel minus its mean, the pixel's mean minus the image's, and a constant."""
    images = noise(50, 3, 8, 8)
    pixel, image = images.mean(1, keepdim=True), images.mean((1, 2, 3), keepdim=True)
    for before, colour, grey, mean_before, after in zip(
        images, images - pixel, pixel - image, image, color(images), strict=True
    ):
        terms = torch.stack([colour, grey.expand_as(before), torch.ones_like(before)], -1).reshape(-1, 3)
        solution = torch.linalg.lstsq(terms, after.reshape(-1, 1)).solution.flatten()
        torch.testing.assert_close(terms @ solution, after.flatten())
        saturated, contrast, mean = solution.tolist()
        assert 0.5 <= contrast <= 1.5 and 0 <= saturated <= 2 * contrast and abs(mean - float(mean_before)) <= 0.5


def test_each_grey_image_changes_by_one_affine_map() -> None:
    images = noise(100, 1, 8, 9)
    for before, after in zip(images, diffaugment(1, "color")(images), strict=True):
        slope = (
            (after - after.mean()).flatten() @ (before - before.mean()).flatten() / (before - before.mean()).norm() ** 2
        )
        torch.testing.assert_close(after, after.mean() + slope * (before - before.mean()))
        assert 0.5 <= slope <= 1.5 and abs(after.mean() - before.mean()) <= 0.5


def test_colour_does_not_change_alpha() -> None:
    images = noise(8, 4, 9, 10)
    changed = diffaugment(4, "color")(images)
    assert torch.equal(changed[:, 3], images[:, 3])
    rng.seed(0, "augment")
    assert torch.equal(changed[:, :3], diffaugment(3, "color")(images[:, :3]))


# Translation.


@pytest.mark.parametrize("side", SIDES, ids=str)
def test_translation_moves_by_every_whole_number_of_pixels_up_to_an_eighth_of_the_side_rounded(
    side: tuple[int, int],
) -> None:
    height, width = side
    images = torch.zeros(4000, 2, height, width)
    row, column = height // 2, width // 2
    images[:, 0, row, column], images[:, 1, row, column] = 1, 2
    moved = translation(images)
    assert torch.equal(moved[:, 1], 2 * moved[:, 0])  # channels stay together
    where = moved[:, 0].nonzero()
    assert len(where) == len(images)  # one bright pixel per image, none lost
    seen = {(int(y) - row, int(x) - column) for _, y, x in where}
    down, right = (int(each / 8 + 0.5) for each in side)
    assert seen == set(itertools.product(range(-down, down + 1), range(-right, right + 1)))


@pytest.mark.parametrize("side", SIDES, ids=str)
def test_translation_pads_with_zeros_and_changes_nothing_else(side: tuple[int, int]) -> None:
    height, width = side
    images = noise(40, 3, height, width)
    down, right = (int(each / 8 + 0.5) for each in side)
    padded = nn.functional.pad(images, (right, right, down, down))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [N, C, 2 down + 1, 2 right + 1, H, W]: every shift
    same = (windows == translation(images)[:, :, None, None]).flatten(4).all(4).all(1)
    assert (same.flatten(1).sum(1) == 1).all()


# Cutout.


@pytest.mark.parametrize("side", SIDES, ids=str)
def test_cutout_zeroes_one_block_of_half_the_sides_and_nothing_else(side: tuple[int, int]) -> None:
    height, width = side
    images = torch.ones(3000, 2, height, width) + torch.arange(2.0)[:, None, None]
    cut = cutout(images)
    hole = (cut == 0).all(1)  # [N, H, W]
    assert torch.equal(cut, images * ~hole[:, None])
    rows, columns = hole.any(2), hole.any(1)
    assert torch.equal(hole, rows[:, :, None] & columns[:, None, :])  # a rectangle of contiguous intervals
    for stretch, length in ((rows, height // 2), (columns, width // 2)):
        starts = (stretch & ~torch.cat([torch.zeros(len(stretch), 1, dtype=torch.bool), stretch[:, :-1]], 1)).sum(1)
        assert (starts == 1).all()
        seen = stretch.sum(1)
        assert set(seen.tolist()) == set(range(length - length // 2, length + 1))  # up to half of it outside
        assert stretch.any(0).all() and not stretch.all(0).any()  # every position is cut sometimes, none always
        assert torch.equal(stretch[seen < length].any(1), (stretch[:, 0] | stretch[:, -1])[seen < length])
    assert hole.flatten(1).sum(1).max() <= height * width / 4


def test_cutout_treats_both_ends_alike() -> None:
    rows = (cutout(torch.ones(20_000, 1, 16, 16)) == 0).any(3)[:, 0].double().mean(0)  # how often each row is cut
    torch.testing.assert_close(rows, rows.flip(0), atol=0.015, rtol=0)


# All of them.


@pytest.mark.parametrize("policy", POLICIES, ids="-".join)
def test_each_image_is_drawn_independently(policy: tuple[str, ...]) -> None:
    images = noise(1, 3, 32, 32).expand(8, 3, 32, 32)
    changed = diffaugment(3, *policy)(images)
    assert len({tuple(image.flatten().tolist()) for image in changed}) == len(images)


@pytest.mark.parametrize("policy", POLICIES, ids="-".join)
def test_the_same_seed_gives_the_same_images(policy: tuple[str, ...]) -> None:
    images, module = noise(8, 3, 32, 32), diffaugment(3, *policy)
    results = []
    for seed in (1, 1, 2):
        rng.seed(seed)
        results.append(module(images))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[1], results[2])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_policy_applies_exactly_what_it_names(operation: str) -> None:
    images = noise(8, 3, 32, 32)
    by_policy = diffaugment(3, operation)(images)
    rng.seed(0, "augment")
    assert torch.equal(by_policy, {"color": color, "translation": translation, "cutout": cutout}[operation](images))


def test_the_default_is_the_full_policy_in_the_order_of_the_paper() -> None:
    images = noise(8, 3, 32, 32)
    by_default = diffaugment(3)(images)
    rng.seed(0, "augment")
    assert torch.equal(by_default, diffaugment(3, "cutout", "translation", "color")(images))
    rng.seed(0, "augment")
    assert torch.equal(by_default, cutout(translation(color(images))))


def test_it_draws_from_torchs_generator_alone() -> None:
    """So the step's key determines it, and checkpoints need no state of it."""
    module = diffaugment(3)
    assert not module.state_dict()
    state = torch.get_rng_state()
    module(noise(2, 3, 8, 8))
    assert not torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (5, 3, 33, 47), (1, 4, 9, 40), (3, 3, 7, 5)], ids=str)
def test_shape_and_dtype_are_kept_in_either_layout(
    shape: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype
) -> None:
    images = noise(*shape).to(dtype)
    module = diffaugment(shape[1])
    rng.seed(1)
    changed = module(images.contiguous(memory_format=layout))
    assert changed.shape == images.shape and changed.dtype == dtype
    rng.seed(1)
    torch.testing.assert_close(changed, module(images))


def test_the_input_is_not_modified() -> None:
    images = noise(4, 3, 16, 16)
    before = images.clone()
    diffaugment(3)(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("policy", POLICIES, ids="-".join)
def test_first_and_second_derivatives_are_correct(policy: tuple[str, ...], channels: int) -> None:
    images = noise(2, channels, 8, 3).requires_grad_()
    module = diffaugment(channels, *policy)

    def squares(images: Tensor) -> Tensor:
        """The operations are linear in the images; the square gives them a second derivative to test."""
        rng.seed(0, "augment")
        return module(images).square().mean((1, 2, 3))

    assert torch.autograd.gradcheck(squares, images)
    assert torch.autograd.gradgradcheck(squares, images, fast_mode=True)


# Names.


def test_augmentations_are_found_by_their_file() -> None:
    assert "diffaugment" in augment.names()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("diffaugmnt", {}, r"unknown augmentation 'diffaugmnt'\. Did you mean 'diffaugment'\?"),
        (
            "diffaugment",
            {"polcy": ["color"]},
            r"unknown option 'polcy' of augment \(diffaugment\)\. Did you mean 'policy'",
        ),
        (
            "diffaugment",
            {"policy": ["color", "flip"]},
            r"'policy\.1' of augment.*'color', 'translation' or 'cutout'.*'flip'",
        ),
        ("diffaugment", {"policy": []}, r"'policy' of augment \(diffaugment\).*has 0 entries, and needs 1"),
        ("diffaugment", {"policy": "color"}, r"'policy' of augment \(diffaugment\).*must be a list"),
    ],
)
def test_unknown_names_and_options_are_refused_with_the_remedy(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        augment.build(name, 3, options)
