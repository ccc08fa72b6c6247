"""Which optional packages are installed."""

import importlib.metadata
from importlib.util import find_spec

__all__ = ["is_installed", "version_of"]


def is_installed(module: str) -> bool:
    """Whether a module can be imported."""
    spec = find_spec(module)
    return spec is not None and spec.origin is not None  # a folder of that name in the working folder has no origin


def version_of(module: str) -> str:
    """The version of an installed module, or "installed" if its distribution has another name (`onnxruntime-gpu`)."""
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return "installed"
