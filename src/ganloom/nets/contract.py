"""What a network returns, and what it may offer beyond that.

Besides the protocols below, a Generator may set `truncates = False` if the norm of z has no effect on its images.
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["Growing", "Judgement", "Staged", "Styled"]


class Judgement(NamedTuple):
    """The output of D for a batch of images."""

    logits: Tensor  # [N]; higher means more likely real
    features: Tensor | None = None  # [N, F], for feature matching
    class_logits: Tensor | None = None  # [N, K], for an auxiliary classifier


@runtime_checkable
class Staged(Protocol):
    """A network that can be frozen in part, and whose activations can be recomputed in the backward pass."""

    def stages(self) -> list[nn.Module]:
        """Its parts that have weights, in the order of the forward pass: from z in G, from the image in D.

        For `train.recompute`, each part must be called as a module, and its forward pass must not change its state.
        """
        ...


@runtime_checkable
class Styled(Protocol):
    """A Generator that maps z to styles w and w to images; truncation acts on w."""

    if TYPE_CHECKING:  # from Python 3.12 on, isinstance() does not find buffers
        path_length: Tensor  # a buffer: the running mean path length, the target of the penalty `path_length`

    def styles(self, z: Tensor, y: Tensor | None) -> Tensor:
        """One style per layer, [N, layers, width]; in training mode with style mixing."""
        ...

    def synthesize(self, w: Tensor) -> Tensor:
        """Images [N, C, H, W] from styles [N, layers, width]."""
        ...

    def find_centre(self, z: Tensor, y: Tensor | None, before: int) -> None:
        """Update the centre of truncation, the mean w over batches: this batch of z follows `before` others."""
        ...

    def truncated(self, z: Tensor, y: Tensor | None, truncation: float) -> Tensor:
        """Images [N, C, H, W] from truncated styles: 0 gives the centre, 1 leaves the styles as they are."""
        ...


@runtime_checkable
class Growing(Protocol):
    """A network that starts with small images and grows. In a family, either both networks grow or neither."""

    if TYPE_CHECKING:  # from Python 3.12 on, isinstance() does not find buffers
        # A buffer: 0 for images of about 4 pixels, 1 for 8, 2 for 16 ...; at 1.5, level 2 is half faded in.
        level: Tensor

    @property
    def levels(self) -> int:
        """The level of the full image size. A new network starts there."""
        ...

    def fade(self, real: Tensor) -> Tensor:
        """Real images [N, C, H, W] reduced to the detail that G can produce at the current level."""
        ...
