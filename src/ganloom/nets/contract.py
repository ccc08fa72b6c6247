"""What every network obeys."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["Growing", "Judgement", "Staged", "Styled"]


class Judgement(NamedTuple):
    """What D says of a batch of images."""

    logits: Tensor  # [N]; high means real
    features: Tensor | None = None  # [N, F], for losses that match features
    class_logits: Tensor | None = None  # [N, K], for losses with an auxiliary classifier


# A Generator may have `truncates = False`, for one that z's size means nothing to.


@runtime_checkable
class Staged(Protocol):
    """A network that can be frozen in part, and whose maps can be made twice instead of kept."""

    def stages(self) -> list[nn.Module]:
        """Its parts with weights in the order in which they act: G's from z on, D's from the image on.

        `train.recompute` wants them called as modules, and a forward pass that changes nothing in them.
        """
        ...


@runtime_checkable
class Styled(Protocol):
    """A Generator that makes styles w of z first, and images of those: its truncation is one of w."""

    path_length: Tensor  # a buffer: the mean length that the penalty `path_length` holds paths to

    def styles(self, z: Tensor, y: Tensor | None) -> Tensor:
        """A style for each layer, [N, layers, width], as in training."""
        ...

    def synthesize(self, w: Tensor) -> Tensor:
        """Images [N, C, H, W] of styles [N, layers, width]."""
        ...

    def find_centre(self, z: Tensor, y: Tensor | None, before: int) -> None:
        """Let the centre of truncation be the mean w of these latents and of `before` batches before."""
        ...

    def truncated(self, z: Tensor, y: Tensor | None, truncation: float) -> Tensor:
        """Images [N, C, H, W] of styles moved towards the centre, 0 all the way, 1 not at all."""
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
