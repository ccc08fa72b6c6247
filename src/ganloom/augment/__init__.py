"""Augmentations of all that D sees: one file each. The name in the config is the file's name.

An augmentation is a module with `Augment(channels, *, ...)`: images [N, C, H, W] in, the same shape out, differentiable
twice. Its keyword-only arguments are its options, what it remembers is in buffers, and it simply draws from torch's
default generators: the step has seeded them.
"""

import importlib
import pkgutil
from typing import Any

from torch import nn

from ganloom.core.names import check_name, keyword_options

__all__ = ["build", "names"]


def names() -> list[str]:
    """Every augmentation there is a file for."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def build(name: str, channels: int, options: dict[str, Any]) -> nn.Module:
    """A fresh augmentation for images of that many channels. Raises `ConfigError` for an unknown name or option."""
    check_name("augmentation", name, names())
    kind = importlib.import_module(f"ganloom.augment.{name}").Augment
    augment: nn.Module = kind(channels, **keyword_options(f"augment ({name})", kind, options))
    return augment
