"""Networks: one file a family. The name in the config is the file's name.

A family is a module with `Generator(shape, latent, classes, *, ...)` and `Discriminator(shape, classes, *, ...)`:
`G(z, y) -> [N, C, H, W]` in [-1, 1] and `D(x, y) -> Judgement`. `classes` is 0 without labels; the keyword-only
arguments are the family's options.
"""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from torch import nn

from ganloom.core.errors import ConfigError
from ganloom.core.names import check_name, keyword_options
from ganloom.core.shapes import ImageShape

__all__ = ["build_discriminator", "build_generator", "names"]

NOT_FAMILIES = {"contract", "generate", "layers", "modelfile"}


def names() -> list[str]:
    """Every family there is a file for."""
    return sorted({module.name for module in pkgutil.iter_modules(__path__)} - NOT_FAMILIES)


def build_generator(name: str, shape: ImageShape, latent: int, classes: int, options: dict[str, Any]) -> nn.Module:
    """A fresh G. Raises `ConfigError` for an unknown family or option, or a shape the family cannot make."""
    family = _family(name)
    options = keyword_options(f"net.g ({name})", family.Generator, options)
    return _build(lambda: family.Generator(shape, latent, classes, **options))


def build_discriminator(name: str, shape: ImageShape, classes: int, options: dict[str, Any]) -> nn.Module:
    """A fresh D. Raises `ConfigError` as `build_generator` does."""
    family = _family(name)
    options = keyword_options(f"net.d ({name})", family.Discriminator, options)
    return _build(lambda: family.Discriminator(shape, classes, **options))


def _family(name: str) -> ModuleType:
    check_name("network", name, names())
    return importlib.import_module(f"ganloom.nets.{name}")


def _build(make: Any) -> nn.Module:
    try:
        network: nn.Module = make()
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return network
