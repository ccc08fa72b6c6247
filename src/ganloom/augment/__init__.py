"""Augmentations of all that D sees: one file each. The name in the config is the file's name.

An augmentation is a module with `Augment(channels, *, ...)`: images [N, C, H, W] in, the same shape out, differentiable
twice. Its keyword-only arguments are its options, what it remembers is in buffers, and it simply draws from torch's
default generators: the step has seeded them.
"""

import importlib
import pkgutil
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from ganloom.core.names import check_name, keyword_options

__all__ = ["Adaptive", "build", "names"]


@runtime_checkable
class Adaptive(Protocol):
    """An augmentation whose probability changes in the course of a training."""

    p: Tensor  # a scalar, what it is now
    target: float | None  # the mean sign of D(real) that it follows, if it does

    def reach(self, factor: float) -> None:
        """Take so much of the probability that was asked for, if it is a fixed one."""

    def adapt(self, sign: Tensor, images: int) -> None:
        """Hear the mean sign of what D said of so many real images."""


def names() -> list[str]:
    """Every augmentation there is a file for."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def build(name: str, channels: int, options: dict[str, Any]) -> nn.Module:
    """A fresh augmentation for images of that many channels. Raises `ConfigError` for an unknown name or option."""
    check_name("augmentation", name, names())
    kind = importlib.import_module(f"ganloom.augment.{name}").Augment
    augment: nn.Module = kind(channels, **keyword_options(f"augment ({name})", kind, options))
    return augment
