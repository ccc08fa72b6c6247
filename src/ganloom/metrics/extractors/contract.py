"""What every extractor is: a frozen network whose features a metric compares."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Extractor", "Outputs", "to_rgb"]


class Outputs(NamedTuple):
    """What an extractor says of some images."""

    features: Tensor  # float32 [N, D]
    logits: Tensor | None  # float32 [N, K], of a classifier


class Extractor(nn.Module):
    """A frozen network. Its three names stand beside every number that was measured with it.

    `forward` takes images of any size with 1, 3 or 4 channels and values from 0 to 255: uint8, or float where a metric
    follows changes that are smaller than a level.
    """

    id: str  # such as "inception": other weights or another resize rule are another id
    weights: str  # sha256 of the file that the weights came from
    resize: str  # how images come to the size that the network wants, such as "tf1-299"
    is_classifier: bool = False  # whether there are logits
    is_pinned: bool = True  # whether `weights` says all that the features depend on: else they are not kept

    def forward(self, images: Tensor) -> Outputs:
        raise NotImplementedError


def to_rgb(
    images: Tensor,  # uint8 or float [N, 1 | 3 | 4, H, W] in [0, 255]
) -> Tensor:  # float32 [N, 3, H, W] in [0, 255]
    """Grey three times; transparent pictures laid on white, as everywhere in this house."""
    images = images.to(torch.float32)
    if images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1)
    if images.shape[1] == 4:
        opaque = images[:, 3:] / 255
        return images[:, :3] * opaque + 255 * (1 - opaque)
    return images
