"""The types of losses and penalties, and of what they are given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

__all__ = ["Judge", "Judged", "Loss", "Paths", "Penalty", "RelativisticLoss", "Styled"]


class Styled(Protocol):
    """What the path length penalty needs of G."""

    path_length: Tensor  # the running mean length

    def styles(self, z: Tensor, y: Tensor | None) -> Tensor: ...

    def synthesize(self, w: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Loss:
    """What D and G minimise, per sample: the one `.mean()` is in the training step."""

    d: Callable[[Tensor, Tensor], Tensor]  # real logits [N], fake logits [N] -> [N]
    g: Callable[[Tensor], Tensor]  # fake logits [N] -> [N]


@dataclass(frozen=True)
class RelativisticLoss:
    """A loss that also compares real with generated images in G's step, for which the step fetches new real images."""

    d: Callable[[Tensor, Tensor], Tensor]  # real logits [N], fake logits [N] -> [N]
    g: Callable[[Tensor, Tensor], Tensor]  # real logits [N], fake logits [N] -> [N]


class Judged(NamedTuple):
    """Images and the output of D for them."""

    images: Tensor  # [N, C, H, W]; requires grad while a penalty that differentiates is due
    y: Tensor | None  # int64 [N] or float [N, K]
    logits: Tensor  # [N]
    features: Tensor | None = None  # [N, F]
    class_logits: Tensor | None = None  # [N, K]


class Paths(NamedTuple):
    """The result of a path length penalty, for M samples."""

    penalty: Tensor  # [M]
    length: Tensor  # [M]; G keeps its running mean


Judge = Callable[[Tensor, Tensor | None], Judged]  # images [N, C, H, W], y -> the output of D


@dataclass(frozen=True)
class Penalty:
    """A regularizer of D, of G, or of both: `d` is added to D's loss, `g` and `path` to G's."""

    d: Callable[[Judged, Judged, Judge], Tensor] | None = None  # real, fake, D -> [M], M <= N
    g: Callable[[Judged, Callable[[], Judged]], Tensor] | None = None  # fake, a function that fetches real ones -> [M]
    path: Callable[[Styled, Tensor, Tensor | None], Paths] | None = None  # G, z, y; in a separate pass
    differentiates: bool = False  # takes gradients of D by its images: needs full precision and an uncompiled D
    per_image: bool = False  # has a target for each image's gradient norm: not with BatchNorm in D, which mixes images
