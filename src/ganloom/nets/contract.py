"""What every network obeys."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["Growing", "Judgement", "Staged"]


class Judgement(NamedTuple):
    """What D says of a batch of images."""

    logits: Tensor  # [N]; high means real
    features: Tensor | None = None  # [N, F], for losses that match features
    class_logits: Tensor | None = None  # [N, K], for losses with an auxiliary classifier


# A Generator may have `truncates = False`, for one that z's size means nothing to.


@runtime_checkable
class Staged(Protocol):
    """A network that can be frozen in part."""

    def stages(self) -> list[nn.Module]:
        """Its parts with weights in the order in which they act: G's from z on, D's from the image on."""
        ...


@runtime_checkable
class Growing(Protocol):
    """A network that begins with small images: both of its family's networks have these."""

    level: Tensor  # a buffer: 0 for images of about 4 pixels, 1 for twice as many ...; 1.5 while the second fades in

    @property
    def levels(self) -> int:
        """The level of the whole image, at which a new network is."""
        ...

    def fade(self, real: Tensor) -> Tensor:
        """Real images [N, C, H, W] with as much detail as G's images of this level can have."""
        ...
