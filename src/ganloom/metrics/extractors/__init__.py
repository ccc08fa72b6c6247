"""Extractors: frozen networks whose features are compared. What is not built in is the user's own."""

from pathlib import Path

from ganloom.core.errors import ConfigError
from ganloom.core.names import nearest
from ganloom.metrics.extractors.contract import Extractor

__all__ = ["BUILT_IN", "find"]

BUILT_IN = ("loomnet-1", "inception", "inception-clean", "dinov2")
"""The extractors known by name."""


def find(name: str, weights: Path | None = None) -> Extractor:
    """The extractor of that name, or the user's own: a file, `module:callable` or `FILE.py:callable` (see `own`).

    In evaluation mode, without gradients, on the CPU. Raises `ConfigError` for an unknown name and for weights where
    none are taken, `ModelError` for weights that are missing or wrong.
    """
    if name in ("inception", "inception-clean"):
        from ganloom.metrics.extractors import inception

        return inception.load(name, weights)
    if name == "dinov2":
        from ganloom.metrics.extractors import dinov2

        return dinov2.load(weights)
    if weights is not None:
        raise ConfigError(f"--weights is for inception, inception-clean and dinov2: {name} has its own.")
    if name == "loomnet-1":
        from ganloom.metrics.extractors import loomnet

        return loomnet.load()
    from ganloom.metrics.extractors import custom as own

    if own.is_own(name):
        return own.load(name)
    raise ConfigError(
        f"unknown extractor '{name}'. {nearest(name, BUILT_IN)} Your own is a TorchScript or ONNX file, "
        "module:callable or FILE.py:callable."
    )
