"""The contract of extractors: frozen networks whose features a metric compares."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Extractor", "Outputs", "to_rgb"]


class Outputs(NamedTuple):
    """The output of an extractor for N images."""

    features: Tensor  # float32 [N, D]
    logits: Tensor | None  # float32 [N, K]; None if it is no classifier


class Extractor(nn.Module):
    """A frozen network. Its `id`, `weights` and `resize` are stored with every score that is measured with it.

    `forward` takes images [N, C, H, W] of any size, with 1, 3 or 4 channels and values from 0 to 255. They are uint8,
    or float for metrics that depend on changes smaller than one level.
    """

    id: str  # such as "inception"; other weights or another resize rule need another id
    weights: str  # sha256 of the file of weights
    resize: str  # how images are resized to the input of the network, such as "tf1-299"
    is_classifier: bool = False  # whether it returns logits
    is_pinned: bool = True  # whether `weights` identifies all that the features depend on; else they are not cached

    def forward(self, images: Tensor) -> Outputs:
        raise NotImplementedError


def to_rgb(
    images: Tensor,  # uint8 or float [N, 1 | 3 | 4, H, W] in [0, 255]
) -> Tensor:  # float32 [N, 3, H, W] in [0, 255]
    """RGB: grey images have three equal channels, transparent images are laid on white, as everywhere in ganloom."""
    images = images.to(torch.float32)
    if images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1)
    if images.shape[1] == 4:
        opaque = images[:, 3:] / 255
        return images[:, :3] * opaque + 255 * (1 - opaque)
    return images
