"""Extractors: frozen networks whose features are compared, built in or the user's own."""

from pathlib import Path

from ganloom.core.errors import ConfigError
from ganloom.core.files import user_path
from ganloom.core.names import nearest
from ganloom.metrics.extractors.contract import Extractor

__all__ = ["BUILT_IN", "find"]

BUILT_IN = ("loomnet-1", "inception", "inception-clean", "dinov2")
"""The names of the built-in extractors."""


def find(name: str, weights: Path | None = None) -> Extractor:
    """The built-in extractor of that name, or the user's own: a file, `module:callable` or `FILE.py:callable`.

    `weights` is the file of weights of inception, inception-clean or dinov2; custom.py describes the user's own
    extractors. The extractor is on the CPU, in evaluation mode, without gradients. Raises `ConfigError` for an unknown
    name, and for `weights` with an extractor that takes none; `ModelError` for weights that are missing or wrong.
    """
    if name in ("inception", "inception-clean"):
        from ganloom.metrics.extractors import inception

        return inception.load(name, weights)
    if name == "dinov2":
        from ganloom.metrics.extractors import dinov2

        return dinov2.load(weights)
    if weights is not None:
        raise ConfigError(f"--weights is for inception, inception-clean and dinov2: {name} takes none.")
    if name == "loomnet-1":
        from ganloom.metrics.extractors import loomnet

        return loomnet.load()
    from ganloom.metrics.extractors import custom

    if custom.is_custom(name):
        return custom.load(name)
    if (path := user_path(name)).exists() and not path.is_file():
        raise ConfigError(f"{name} is not a file, but a folder, pipe or device: name a .pt or .onnx file.")
    raise ConfigError(
        f"unknown extractor '{name}'. {nearest(name, BUILT_IN)} An extractor of your own is a TorchScript or ONNX "
        "file, module:callable or FILE.py:callable."
    )
