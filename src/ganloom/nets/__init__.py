"""Build the generator and the discriminator that the configuration names.

There is one file per network family, and its name in the configuration is the file's name. A family is a module with
`Generator(shape, latent, classes, *, ...)` and `Discriminator(shape, classes, *, ...)`: `G(z, y) -> [N, C, H, W]` in
[-1, 1] and `D(x, y) -> Judgement`. `classes` is 0 without labels; the keyword-only arguments are the family's options.
A name that ends in .py is the path to a user's own family.
"""

import contextlib
import functools
import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import nn

from ganloom.core.code import Code, CustomModule, blame, get_callable, is_file, load_code, load_file
from ganloom.core.errors import ConfigError
from ganloom.core.names import check_name, keyword_options
from ganloom.core.shapes import ImageShape

__all__ = ["build_discriminator", "build_generator", "check_options", "family", "names"]


@functools.cache
def names() -> list[str]:
    """The name of every family: the modules in this folder that define a `Generator`."""
    modules = [each.name for each in pkgutil.iter_modules(__path__) if not each.ispkg]
    return sorted(name for name in modules if hasattr(importlib.import_module(f"{__name__}.{name}"), "Generator"))


def family(name: str, code: Code | None = None) -> ModuleType:
    """The built-in family of that name, or the one in the file at that path; with `code`, the one in that source text.

    Raises `ConfigError` if there is none, or if it does not have both classes with the required arguments.
    """
    if code is None and not is_file(name):
        check_name("network", name, names())
        return importlib.import_module(f"ganloom.nets.{name}")
    module = load_file(name) if code is None else load_code(code)
    get_callable(module, "Generator", "shape", "latent", "classes")
    get_callable(module, "Discriminator", "shape", "classes")
    return module


def check_options(name: str, g: dict[str, Any], d: dict[str, Any]) -> None:
    """Raise `ConfigError` for an unknown family or for options that it does not have. Nothing is built."""
    module = family(name)
    keyword_options(f"net.g ({name})", module.Generator, g)
    keyword_options(f"net.d ({name})", module.Discriminator, d)


def build_generator(
    name: str, shape: ImageShape, latent: int, classes: int, options: dict[str, Any], code: Code | None = None
) -> nn.Module:
    """A new, untrained G. Raises `ConfigError` for an unknown family or option, or an unsupported image shape."""
    module = family(name, code)
    options = keyword_options(f"net.g ({name})", module.Generator, options)
    return _build(module, lambda: module.Generator(shape, latent, classes, **options))


def build_discriminator(name: str, shape: ImageShape, classes: int, options: dict[str, Any]) -> nn.Module:
    """A new, untrained D. Raises `ConfigError` as `build_generator` does."""
    module = family(name)
    options = keyword_options(f"net.d ({name})", module.Discriminator, options)
    return _build(module, lambda: module.Discriminator(shape, classes, **options))


def _build(module: ModuleType, make: Callable[[], Any]) -> nn.Module:
    try:
        with blame(module) if isinstance(module, CustomModule) else contextlib.nullcontext():
            network = make()
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{module.__file__}: a network must be a torch.nn.Module, not {type(network).__name__}.")
    return network
