"""ADA: each transform, its probability, its gradients, and the controller of p."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ganloom import augment
from ganloom.augment import Adaptive
from ganloom.augment import ada as ada_module
from ganloom.augment.ada import Augment, move, resample
from ganloom.core import rng
from ganloom.core.errors import ConfigError

ALL = ["flip", "turn", "shift", "geometry", "color", "luma"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    rng.seed(0, "augment")


def ada(channels: int, *policy: str, p: float = 1.0, **options: Any) -> Augment:
    built = augment.build("ada", channels, {"policy": policy, "p": p, "target": None, **options})
    assert isinstance(built, Augment)
    return built


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-9)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 14)])
def test_at_p_0_nothing_changes(channels: int, height: int, width: int) -> None:
    images = noise(4, channels, height, width)
    assert same(ada(channels, *ALL, p=0)(images), images)
    assert not same(ada(channels, *ALL, p=0.9)(images), images)


@pytest.mark.slow
def test_images_that_do_not_move_are_not_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    images, policy = noise(64, 3, 9, 14).requires_grad_(), ada(3, "flip", "geometry", p=0.1)
    affine = policy.affine_maps(images)
    moved, all_resampled = move(images, affine), resample(images, affine)
    assert same(moved, all_resampled)
    weights = noise(64, 3, 9, 14)
    gradients = [torch.autograd.grad((each * weights).sum(), images)[0] for each in (moved, all_resampled)]
    assert same(*gradients)
    counts: list[int] = []
    monkeypatch.setattr(ada_module, "resample", lambda some, affine: counts.append(len(some)) or resample(some, affine))
    ada_module.move(images, affine)
    assert counts == [sum(not same(each, torch.eye(2, 3).double()) for each in affine)] and 10 < counts[0] < 50
    assert ada_module.move(images, torch.eye(2, 3).double().expand(64, 2, 3)) is images
    few = noise(3, 1, 4, 4).requires_grad_()
    turned = torch.tensor([[0.9, -0.2, 0.4], [0.2, 0.9, 0.1]]).double()
    assert torch.autograd.gradgradcheck(lambda x: move(x, torch.stack([torch.eye(2, 3).double(), turned, turned])), few)


def test_half_of_the_images_are_flipped() -> None:
    image = noise(1, 3, 6, 7)
    changed = ada(3, "flip")(image.expand(200, 3, 6, 7))
    flipped = [same(each, image[0].flip(2)) for each in changed]
    assert all(is_flipped or same(each, image[0]) for is_flipped, each in zip(flipped, changed, strict=True))
    assert 70 < sum(flipped) < 130


def test_turns_are_by_multiples_of_90_degrees() -> None:
    image = noise(1, 3, 6, 6)
    counts = [0] * 4
    for each in ada(3, "turn")(image.expand(400, 3, 6, 6)):
        (quarter,) = [k for k in range(4) if same(each, image[0].rot90(k, (1, 2)))]
        counts[quarter] += 1
    assert min(counts) > 60


def test_shifts_are_by_whole_pixels_up_to_an_eighth_and_reflect_at_the_edge() -> None:
    image = noise(1, 2, 16, 24)
    longer = torch.cat([image.flip(2), image, image.flip(2)], 2)
    longer = torch.cat([longer.flip(3), longer, longer.flip(3)], 3)
    seen = set()
    for each in ada(1, "shift")(image.expand(300, 2, 16, 24)):
        (shift,) = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-3, 4)
            if same(each, longer[0, :, 16 + down : 32 + down, 24 + right : 48 + right])
        ]
        seen.add(shift)
    assert len(seen) > 30, "of 35"


def test_each_transform_has_probability_p() -> None:
    images = noise(1, 1, 8, 8).expand(2000, 1, 8, 8)
    for p in (0.2, 0.7):
        changed = (ada(1, "turn", p=p)(images) - images).abs().amax((1, 2, 3)) > 1e-6
        assert changed.double().mean().item() == pytest.approx(p * 3 / 4, abs=0.04)
        changed = (ada(1, "color", p=p)(images) - images).abs().amax((1, 2, 3)) > 1e-6
        assert changed.double().mean().item() == pytest.approx(1 - (1 - p) ** 2, abs=0.04)  # brightness and contrast


def test_geometry_scales_stretches_and_moves_as_in_the_paper() -> None:
    """The determinant of the matrix from output to input coordinates is 1 / scale^2."""
    augmentation = ada(1, "geometry")
    images = noise(4000, 1, 32, 64)
    affine = augmentation.affine_maps(images)
    scale = -0.5 * torch.log2(torch.linalg.det(affine[:, :, :2]))
    assert scale.mean().abs() < 0.02 and scale.std().item() == pytest.approx(0.2, rel=0.05)
    stretch = torch.linalg.svdvals(affine[:, :, :2]).log2()
    # |N(0, .2)| has mean .2 sqrt(2 / pi); the logarithms of the singular values differ from that of the scale by +- it.
    assert (stretch[:, 0] - stretch[:, 1]).mean().item() / 2 == pytest.approx(0.2 * math.sqrt(2 / math.pi), rel=0.05)
    assert augmentation.affine_maps(images)[:, :, 2].abs().mean() > 1, "images are moved too"


def test_images_are_rotated_with_probability_p() -> None:
    """Before and after stretching, each with probability 1 - sqrt(1 - p)."""
    images = noise(4000, 1, 16, 16)
    turned = ada(1, "geometry", p=0.5).affine_maps(images)[:, 0, 1].abs() > 1e-9
    assert turned.double().mean().item() == pytest.approx(0.5, abs=0.03)


# Colour.


def test_grey_images_change_in_brightness_and_contrast_only() -> None:
    image = noise(1, 1, 5, 6)
    changed = ada(1, "color")(image.expand(3000, 1, 5, 6))
    factor = (changed[:, 0, 0, 0] - changed[:, 0, 4, 5]) / (image[0, 0, 0, 0] - image[0, 0, 4, 5])
    added = changed[:, 0, 0, 0] - factor * image[0, 0, 0, 0]
    torch.testing.assert_close(changed, factor[:, None, None, None] * image + added[:, None, None, None])
    assert torch.log2(factor).std().item() == pytest.approx(0.5, rel=0.05)
    assert (added / factor).std().item() == pytest.approx(0.2, rel=0.05)


def test_hues_rotate_about_grey_and_grey_stays_grey() -> None:
    grey = noise(1, 1, 5, 6).expand(50, 3, 5, 6)
    for policy in (["color"], ["luma"], ["color", "luma"]):
        changed = ada(3, *policy)(grey)
        torch.testing.assert_close(changed, changed[:, :1].expand_as(changed))
    red = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)[:, None, None].expand(500, 3, 2, 2)
    hues = ada(3, "color")(red)[:, :, 0, 0].argmax(1)
    assert set(hues.tolist()) == {0, 1, 2}


def test_luma_inverts_brightness_and_only_if_asked() -> None:
    image = noise(1, 1, 5, 6)
    changed = ada(1, "luma")(image.expand(200, 1, 5, 6))
    turned = [same(each, -image[0]) for each in changed]
    assert all(is_turned or same(each, image[0]) for is_turned, each in zip(turned, changed, strict=True))
    assert 70 < sum(turned) < 130
    assert {"flip", "turn", "luma"}.isdisjoint(augment.build("ada", 1, {}).policy)


def test_luma_keeps_hue_and_saturation() -> None:
    colours = noise(100, 3, 2, 2)
    colourful = colours - colours.mean(1, keepdim=True)
    changed = ada(3, "luma")(colours)
    torch.testing.assert_close(changed - changed.mean(1, keepdim=True), colourful)


def test_alpha_moves_with_the_image_and_keeps_its_values() -> None:
    images = noise(8, 4, 6, 6)
    torch.testing.assert_close(ada(4, "color", "luma")(images)[:, 3], images[:, 3])
    moved = ada(4, "turn")(images)
    for before, after in zip(images, moved, strict=True):
        assert any(same(after, before.rot90(k, (1, 2))) for k in range(4))


# Gradients.


def test_its_second_derivative_is_correct() -> None:
    images = noise(2, 1, 4, 5).requires_grad_()
    affine = ada(1, "geometry").affine_maps(images).detach()
    assert torch.autograd.gradcheck(lambda x: resample(x, affine), (images,))
    assert torch.autograd.gradgradcheck(lambda x: resample(x, affine).square(), (images,))


def test_a_penalty_can_be_computed_through_it() -> None:
    """As R1 needs it: the gradient of D by the images before augmentation, and the gradient of that."""
    weight = noise(1, 48).requires_grad_()
    images = noise(3, 3, 4, 4).requires_grad_()
    logits = (ada(3, *ALL)(images).flatten(1) * weight).sum(1).tanh()
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    gradient.square().sum().backward()
    assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.any()


# The controller.


def test_p_rises_while_d_is_above_the_target_and_falls_below_it() -> None:
    augmentation = augment.build("ada", 3, {"target": 0.6, "kimg": 10})
    assert isinstance(augmentation, Adaptive)
    for _ in range(5):
        augmentation.adapt(torch.tensor(0.9), images=1000)
    assert augmentation.p.item() == pytest.approx(0.5)
    augmentation.adapt(torch.tensor(0.1), images=1000)
    assert augmentation.p.item() == pytest.approx(0.4)
    for sign, end in ((1.0, 1.0), (-1.0, 0.0)):
        for _ in range(20):
            augmentation.adapt(torch.tensor(sign), images=1000)
        assert augmentation.p.item() == end
    augmentation.reach(0.5)
    assert augmentation.p.item() == 0, "a burn-in does not change an adaptive p"


def test_a_fixed_p_changes_only_with_the_burn_in() -> None:
    augmentation = ada(3, "shift", p=0.5)
    augmentation.adapt(torch.tensor(1.0), images=10**6)
    assert augmentation.p.item() == 0.5
    augmentation.reach(0.5)
    assert augmentation.p.item() == 0.25


def test_p_is_saved() -> None:
    assert list(ada(3, "shift", p=0.5).state_dict()) == ["p"]


@pytest.mark.parametrize("options", [{"policy": ["mirror"]}, {"p": 1.5}, {"target": -1}, {"policy": []}, {"kimg": 0}])
def test_invalid_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="augment"):
        augment.build("ada", 3, options)
