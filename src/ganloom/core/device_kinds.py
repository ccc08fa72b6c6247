"""The names of devices. Nothing here imports torch, so that a wrong name is refused at once."""

from ganloom.core.errors import DeviceError
from ganloom.core.names import is_count, nearest

__all__ = ["KINDS", "check_kind"]

KINDS = ("auto", "cpu", "cuda", "mps")


def check_kind(kind: str) -> None:
    """Raises `DeviceError` unless it is `auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""
    name, _, index = kind.partition(":")
    if name not in KINDS or (index and not (name == "cuda" and is_count(index))):
        hint = "Did you mean 'cuda'?" if name == "gpu" else nearest(kind, KINDS)
        raise DeviceError(f"unknown device '{kind}'. {hint}")
