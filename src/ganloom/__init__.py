"""ganloom: train GANs on your own images."""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "GanloomError": "ganloom.core.errors",
    "compare": "ganloom.evaluation.comparing",
    "evaluate": "ganloom.evaluation.measuring",
    "inspect": "ganloom.api.images",
    "load": "ganloom.synthesis.model",
    "open_dataset": "ganloom.api.images",
    "prepare": "ganloom.api.images",
    "resume": "ganloom.api.training",
    "train": "ganloom.api.training",
    "unpack": "ganloom.api.images",
}

__all__ = [
    "GanloomError",
    "__version__",
    "compare",
    "evaluate",
    "inspect",
    "load",
    "open_dataset",
    "prepare",
    "resume",
    "train",
    "unpack",
]


def __getattr__(name: str) -> Any:
    """Public names are found when first asked for, so that `import ganloom` does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ganloom' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
