"""Augmentations do not leak: a generator trained with one makes images that are not augmented."""

import pytest
import torch
from torch import Tensor, nn

from ganloom.config import Config, recipe_values
from ganloom.core import rng
from ganloom.core.distributed import World
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find
from ganloom.training.assembly import assemble, resolve
from ganloom.training.step import AdversarialStep

pytestmark = pytest.mark.slow

STEPS, STEPS_OF_ADA = 200, 500
SETTINGS = {
    "data.source": "shapes:16",
    "data.size": 16,
    "net.g.width": 32,
    "net.d.width": 32,
    "train.batch": 32,
    "augment": {"name": "diffaugment", "policy": ["color", "translation", "cutout"]},
}
ADA = {"augment": {"name": "ada", "p": 0.75, "target": None}}  # its default policy


@pytest.fixture(scope="module")
def shapes() -> PackedDataset:
    return prepare(find("shapes:16"), Preprocessing((16, 16)))


def make(dataset: PackedDataset, settings: dict[str, object] | None = None) -> AdversarialStep:
    config = resolve(Config.build(recipe_values("dcgan-32"), {**SETTINGS, **(settings or {})}), dataset.shape, 1)
    return assemble(config, dataset, torch.device("cpu"), World(), total=1_000_000)


def generated(step: AdversarialStep, steps: int = STEPS) -> Tensor:
    """Images of G after the training."""
    for _ in range(steps):
        step.advance(measure=False)
    with torch.no_grad():
        return step.g.net(rng.latents(5, 0, 256, step.config.net.latent), None)


def grey(images: Tensor) -> float:
    """The fraction of the pixels that are medium grey.

    The shapes contain none, not even at their edges: the background is 48 of 255, and each colour has a channel of at
    most 70. A cutout is such a grey, and so are the gap behind a shifted image and a brightened background.
    """
    return (images.abs() < 0.15).all(1).double().mean().item()


def test_d_sees_augmented_images_only(shapes: PackedDataset) -> None:
    """Real and generated, with and without a penalty, in D's step, in G's, and in the measurement after it."""

    class Marking(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images * 0 + 7

    step, seen = make(shapes, {"penalties.r1": {"weight": 1.0, "interval": 2}}), []
    step.augment = Marking()
    step.d.net.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0].detach()))
    step.advance(measure=True)  # with the penalty
    step.advance(measure=True)
    assert len(seen) == 8 and all((images == 7).all() for images in seen)


def test_g_learns_images_that_are_not_augmented(shapes: PackedDataset) -> None:
    step = make(shapes)
    assert grey(step.reals(next(step.micro_batches(step.d, 0)))) == 0
    assert grey(generated(step)) < 0.02


def test_g_learns_the_augmentation_if_only_real_images_have_it(shapes: PackedDataset) -> None:
    """The control: if G's images were not augmented too, the test above would fail.

    It would also fail if G's images were not augmented in D's step only, or in G's only: then 5 % are grey.
    """
    step = make(shapes)
    augment, reals = step.augment, step.reals
    step.augment, step.reals = nn.Identity(), lambda micro: augment(reals(micro))
    augmented = grey(step.reals(next(step.micro_batches(step.d, 0))))
    assert augmented > 0.25
    assert grey(generated(step)) > augmented / 2


def edges(images: Tensor) -> Tensor:  # [N, C]
    """The brightness of each image's edge: the same in all shapes, but different from image to image under ADA."""
    around = torch.cat([images[:, :, 0], images[:, :, -1], images[..., 0], images[..., -1]], dim=-1)
    return around.median(dim=-1).values


def test_g_does_not_learn_adas_changes_of_brightness(shapes: PackedDataset) -> None:
    step = make(shapes, ADA)
    real, made = edges(step.reals(next(step.micro_batches(step.d, 0)))), edges(generated(step, STEPS_OF_ADA))
    assert real.std(dim=0).max() == 0
    # It has learned the brightness of the shapes.
    torch.testing.assert_close(made.mean(dim=0), real.mean(dim=0), atol=0.1, rtol=0)
    assert made.std(dim=0).mean() < 0.03


def test_g_learns_changes_of_brightness_if_only_real_images_have_them(shapes: PackedDataset) -> None:
    """The control, as above."""
    step = make(shapes, ADA)
    augment, reals = step.augment, step.reals
    step.augment, step.reals = nn.Identity(), lambda micro: augment(reals(micro))
    assert edges(step.reals(next(step.micro_batches(step.d, 0)))).std(dim=0).mean() > 0.2
    assert edges(generated(step, STEPS_OF_ADA)).std(dim=0).mean() > 0.06
