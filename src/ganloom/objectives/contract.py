"""What a loss and a penalty are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

__all__ = ["Judge", "Judged", "Loss", "Paths", "Penalty", "RelativisticLoss", "Styled"]


class Styled(Protocol):
    """What a penalty on paths asks of G."""

    path_length: Tensor  # the mean length so far

    def styles(self, z: Tensor, y: Tensor | None) -> Tensor: ...

    def synthesize(self, w: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Loss:
    """What D and G minimise, per sample: the single `.mean()` stands in the training step."""

    d: Callable[[Tensor, Tensor], Tensor]  # real logits [N], fake logits [N] -> [N]
    g: Callable[[Tensor], Tensor]  # fake logits [N] -> [N]


@dataclass(frozen=True)
class RelativisticLoss:
    """A loss that compares real with generated images in G's step too, which then needs new real ones."""

    d: Callable[[Tensor, Tensor], Tensor]  # real logits [N], fake logits [N] -> [N]
    g: Callable[[Tensor, Tensor], Tensor]  # real logits [N], fake logits [N] -> [N]


class Judged(NamedTuple):
    """Images and what D said of them."""

    images: Tensor  # [N, C, H, W]; requires grad while a penalty that differentiates is due
    y: Tensor | None  # int64 [N] or float [N, K]
    logits: Tensor  # [N]
    features: Tensor | None = None  # [N, F]
    class_logits: Tensor | None = None  # [N, K]


class Paths(NamedTuple):
    """Of a penalty on the way from styles to images."""

    penalty: Tensor  # [M]
    length: Tensor  # [M], what is averaged over time


Judge = Callable[[Tensor, Tensor | None], Judged]  # images [N, C, H, W], y -> what D says of them


@dataclass(frozen=True)
class Penalty:
    """A regularizer of D, of G, or of both: the part `d` is added to D's loss, the part `g` to G's."""

    d: Callable[[Judged, Judged, Judge], Tensor] | None = None  # real, fake, D -> [M], M <= N
    g: Callable[[Judged, Callable[[], Judged]], Tensor] | None = None  # fake, real for those who ask -> [M]
    path: Callable[[Styled, Tensor, Tensor | None], Paths] | None = None  # G, z, y, in a pass of their own
    differentiates: bool = False  # D with respect to its images: full precision, no compiled D
    per_image: bool = False  # the gradient's norm at each image has a goal: no BatchNorm in D, which mixes them
