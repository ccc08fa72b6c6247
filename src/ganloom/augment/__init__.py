"""Augmentations of all images that D sees, real and generated.

There is one file per augmentation, and its name in the configuration is the file's name. It has a module
`Augment(channels, *, ...)`: images [N, C, H, W] in, images of the same shape out, twice differentiable. Its
keyword-only arguments are its options and its state is in buffers. It draws from torch's default generators, which the
training step has seeded.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor, nn

from ganloom.core.names import check_name, keyword_options

__all__ = ["Adaptive", "build", "names"]


@runtime_checkable
class Adaptive(Protocol):
    """An augmentation whose probability changes during training."""

    if TYPE_CHECKING:  # from Python 3.12 on, isinstance() does not find buffers
        p: Tensor  # a buffer: a scalar, the current probability
    target: float | None  # the mean sign of D(real) that p is steered to; None if p is fixed

    def reach(self, factor: float) -> None:
        """If p is fixed: set it to `factor` times the configured value, for a burn-in."""

    def adapt(self, sign: Tensor, images: int) -> None:
        """If p is adaptive: move it, given the mean sign of D over the last `images` real images."""


def names() -> list[str]:
    """The name of every augmentation."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def build(name: str, channels: int, options: dict[str, Any]) -> nn.Module:
    """A new augmentation for images with `channels` channels. Raises `ConfigError` for an unknown name or option."""
    check_name("augmentation", name, names())
    kind = importlib.import_module(f"ganloom.augment.{name}").Augment
    augment: nn.Module = kind(channels, **keyword_options(f"augment ({name})", kind, options))
    return augment
