"""Which changes of the images each discriminator notices. What it does not see, it cannot teach G."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from variants import VARIANTS, pair

from ganloom.core import rng
from ganloom.core.shapes import ImageShape

SHAPE = ImageShape(3, 32, 32)
BLIND_TO_CONTRAST = {"dcgan", "dcgan-classifier", "dcgan-pool", "dcgan-layer", "progressive-dcgan"}
BLIND_TO_ONE = {"dcgan-layer"}  # it normalises each image on its own, so also the contrast of one among others
NOTICED, UNNOTICED = 0.01, 1e-3  # change of a logit, relative to how much logits differ between images

Change = Callable[[Tensor], Tensor]
CHANGES: dict[str, Change] = {
    "half the contrast": lambda x: 0.5 * x,
    "grey": lambda x: x.mean(1, keepdim=True).expand_as(x),
    "brighter": lambda x: x + 0.3,
    "channels exchanged": lambda x: x.roll(1, dims=1),
    "mirrored": lambda x: x.flip(3),
}


def photographs() -> Tensor:  # [16, 3, 32, 32], smooth and varied
    rng.seed(0, "photographs")
    coarse = 0.4 * torch.randn(16, 3, 6, 6)
    return nn.functional.interpolate(coarse, size=(SHAPE.height, SHAPE.width), mode="bicubic").clamp(-1, 1)


@torch.no_grad()
def noticed(variant: str, change: Change, count: int) -> float:
    """How much the logits of the first `count` images change if these are changed."""
    D = pair(variant, SHAPE, 0)[1].train()
    for module in D.modules():  # an untrained D's maps are so small that epsilon would count
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            module.eps = 1e-12
    x = photographs()
    before = D(x, None).logits
    after = D(torch.cat([change(x[:count]), x[count:]]), None).logits
    return float((after - before)[:count].abs().max() / before.std())


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_noticed_in_all_images(variant: str, name: str) -> None:
    change = noticed(variant, CHANGES[name], 16)
    if name == "half the contrast" and variant in BLIND_TO_CONTRAST:
        assert change < UNNOTICED, (
            "it sees contrast: BLIND_TO_CONTRAST and the docstring of the network are out of date"
        )
    else:
        assert change > NOTICED


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_noticed_in_one_image_among_others(variant: str, name: str) -> None:
    change = noticed(variant, CHANGES[name], 1)
    if name == "half the contrast" and variant in BLIND_TO_ONE:
        assert change < UNNOTICED
    else:
        assert change > NOTICED


@pytest.mark.parametrize("variant", sorted(BLIND_TO_CONTRAST))
def test_what_a_network_is_blind_to_stands_in_its_docstring(variant: str) -> None:
    said = type(pair(variant, SHAPE, 0)[1]).__doc__ or ""
    assert "blind" in said and "contrast" in said and "bias" in said
