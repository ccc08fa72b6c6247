"""Growth is a function of the image count, and the networks, the images and the optimizers follow it."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.config import sections
from ganloom.core.pictures import to_float
from ganloom.data.packed import PackedDataset
from ganloom.training.growth import Growth
from ganloom.training.learner import Learner
from stepping import saved_and_restored, state, tiny

IMAGES_AN_EPOCH, IMAGES_A_STEP = 1000, 50


class Grown(nn.Module):
    """The smallest network that grows."""

    level: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.register_buffer("level", torch.tensor(float(levels)))

    def fade(self, real: Tensor) -> Tensor:
        return real * self.level


def grow(levels: int = 3, **settings: Any) -> Growth:
    return Growth(
        sections.Growth.model_validate(settings),
        lambda length: length.images(epoch=IMAGES_AN_EPOCH, step=IMAGES_A_STEP),
        Grown(levels),
        Grown(levels),
    )


# The level


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"hold": "100 images", "fade": "200 images"},
            {0: 0, 100: 0, 101: 0.005, 200: 0.5, 300: 1, 400: 1, 500: 1.5, 600: 2, 700: 2, 850: 2.75, 900: 3, 9999: 3},
        ),
        (
            {"hold": ["100 images", "50 images"], "fade": ["200 images", "10 images", "40 images"]},
            {100: 0, 200: 0.5, 300: 1, 350: 1, 355: 1.5, 360: 2, 410: 2, 430: 2.5, 450: 3, 451: 3},
        ),
        ({"hold": "1 epochs", "fade": "0.5 epochs"}, {1000: 0, 1250: 0.5, 1500: 1, 2500: 1, 2750: 1.5}),
        ({"hold": "1 steps", "fade": "2 steps"}, {50: 0, 100: 0.5, 150: 1, 200: 1, 250: 1.5}),
        ({"hold": "100 images", "fade": "0 images"}, {0: 0, 100: 0, 101: 1, 200: 1, 201: 2, 300: 2, 301: 3}),
        ({"hold": "0 images", "fade": "100 images"}, {0: 0, 50: 0.5, 100: 1, 150: 1.5, 300: 3}),
    ],
    ids=["alike", "one by one, the last repeats", "epochs", "steps", "at once", "always fading"],
)
def test_the_level_is_a_function_of_the_image_count(settings: dict[str, Any], expected: dict[int, float]) -> None:
    growth = grow(**settings)
    for nimg, level in expected.items():
        assert growth.level(nimg) == pytest.approx(level, abs=1e-12), nimg


def test_the_level_never_falls_nor_jumps_and_ends_at_the_final_resolution() -> None:
    growth = grow(hold=["30 images", "0 images", "7 images"], fade=["11 images", "20 images"])
    levels = [growth.level(nimg) for nimg in range(growth.final_resolution_at + 10)]
    assert all(0 <= after - before <= 1 / 11 + 1e-9 for before, after in pairwise(levels))
    assert levels[growth.final_resolution_at - 1] < 3 == levels[growth.final_resolution_at]
    assert growth.final_resolution_at == 30 + 11 + 0 + 20 + 7 + 20


def test_both_networks_follow_and_new_layers_begin_once_a_level() -> None:
    growth = grow(hold="100 images", fade="200 images")
    assert [float(network.level) for network in growth.networks] == [0, 0]
    begun = []
    for nimg in range(0, 1000, 50):
        if growth.reach(nimg):
            begun.append(nimg)
        for network in growth.networks:
            assert float(network.level) == pytest.approx(growth.level(nimg))
    assert begun == [150, 450, 750]


def test_a_long_step_does_not_skip_new_layers() -> None:
    growth = grow(hold="10 images", fade="10 images")
    assert [growth.reach(nimg) for nimg in (0, 15, 35, 1000, 2000)] == [False, True, True, True, False]


def test_the_first_image_of_a_long_fade_is_not_rounded_away() -> None:
    """The level is a float32 in the networks, and a fade may have millions of images."""
    growth = grow(levels=7, hold="0 images", fade="2000 kimg")
    before = 6 * 2_000_000
    growth.reach(before)
    assert [growth.reach(before + step) for step in (16, 32)] == [True, False]


def test_an_epoch_is_one_of_the_training_images(digits: PackedDataset) -> None:
    growth = tiny(digits, net="progressive", growth={"hold": "2 epochs", "fade": ["3 steps", "1 kimg"]}).growth
    assert growth is not None
    assert (growth.hold, growth.fade) == ([2 * digits.count()], [3 * 32, 1000])


# What a training makes of it

BATCH = 8
SETTINGS = {
    "net": "progressive",
    "growth": {"hold": "8 images", "fade": "32 images"},  # levels 0, 1, 2, 3 of 4 to 32 pixels
    "train__batch": BATCH,
    "train__d_updates": 1,
}


def counts(learner: Learner) -> set[int]:
    """How many updates the optimizer counts, for the weights that it has updated."""
    return {int(slots["step"]) for slots in learner.optimizer.state.values() if slots}


def test_new_layers_and_nothing_else_restart_the_optimizers(digits: PackedDataset) -> None:
    step = tiny(digits, **SETTINGS)
    updates: list[int] = []
    levels: list[float] = []
    for _ in range(13):
        levels.append(float(step.advance(measure=False)["level"]))
        most = {max(counts(learner)) for learner in (step.g, step.d)}
        updates += most
        assert len(most) == 1
    assert levels == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1.25, 1.5, 1.75, 2, 2, 2.25]
    assert updates == [1, 2, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1]


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
def test_the_optimizers_continue_after_a_resume(digits: PackedDataset, tmp_path: Path, steps: int) -> None:
    """Held, just before new layers begin, in the middle of a fade, held again."""
    step = tiny(digits, **SETTINGS)
    for _ in range(steps):
        step.advance(measure=False)
    again = saved_and_restored(step, digits, tmp_path)
    assert counts(again.g) == counts(step.g)
    for each in (step, again):
        each.advance(measure=False)
    assert counts(again.g) == counts(step.g)
    assert counts(again.d) == counts(step.d) != set()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
def test_layers_not_yet_in_use_do_not_change(digits: PackedDataset, optimizer: str) -> None:
    decay = {"name": optimizer, "weight_decay": 0.1, "lr": 0.01}
    step = tiny(digits, **SETTINGS, optimizer={"g": decay, "d": decay})
    before = state(step)
    for _ in range(4):  # up to a level of 0.5: the layers of levels 0 and 1
        step.advance(measure=False)
    after = state(step)
    late = ("ups.1", "ups.2", "to_image.2", "to_image.3", "downs.1", "downs.2", "from_image.2", "from_image.3")
    for name, tensor in before.items():
        place, _, layer = name.partition("/")
        if place in ("G", "D", "ema") and layer.endswith("weight"):
            assert torch.equal(after[name], tensor) == layer.startswith(late), name
    assert not any(name.partition("/")[2].startswith(late) for name in after if name.startswith("optimizer"))


def test_real_images_are_faded_as_generated_ones(digits: PackedDataset) -> None:
    """Both blend the smaller size with the next one, in proportion to the fade."""
    step = tiny(digits, **SETTINGS)
    micro = next(step.micro_batches(step.d, 0))
    real = to_float(step.stream.images(micro.first, micro.size))
    for level in (0.0, 0.25, 1.0, 1.5, 2.75, 3.0):
        for network in (step.g.net, step.d.net):
            network.level.fill_(level)  # type: ignore[union-attr, operator]
        stage = math.ceil(level)
        fade = level - (stage - 1)
        at_stage = F.avg_pool2d(real, 2 ** (3 - stage))
        smaller = F.interpolate(F.avg_pool2d(at_stage, 2), scale_factor=2)
        faded = F.interpolate(smaller + (at_stage - smaller) * fade, scale_factor=2 ** (3 - stage))
        expected = real if stage == level else faded
        torch.testing.assert_close(step.reals(micro), expected, rtol=1e-5, atol=1e-6)
        if stage != level:
            assert details(step.reals(micro)) == details(step.g.net(micro.z, micro.y))


def details(images: Tensor) -> int:
    """The level of the smallest images that hold everything in these."""
    small = images.detach()
    level = 3
    while torch.allclose(F.interpolate(F.avg_pool2d(small, 2), scale_factor=2), small, atol=1e-6):
        small, level = F.avg_pool2d(small, 2), level - 1
    return level
