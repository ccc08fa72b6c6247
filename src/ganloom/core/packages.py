"""Packages that only some need."""

import importlib.metadata
from importlib.util import find_spec

__all__ = ["is_installed", "version_of"]


def is_installed(module: str) -> bool:
    """Whether it can be imported: a folder of that name in the working folder is no package."""
    spec = find_spec(module)
    return spec is not None and spec.origin is not None


def version_of(module: str) -> str:
    """Of an installed one; not all are of the distribution that has their name: `onnxruntime-gpu`."""
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return "installed"
