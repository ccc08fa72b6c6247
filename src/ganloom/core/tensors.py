"""Named tensors as safetensors bytes: no pickle, and the same tensors give the same bytes."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ganloom.core.errors import ModelError

__all__ = ["pack", "read_metadata", "unpack"]


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Encode as safetensors with its header sorted: the library orders metadata at random, equal should be equal."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Of no tensors and empty metadata safetensors writes a header that is no JSON.
    data: bytes = safetensors.torch.save(contiguous, metadata=dict(metadata or {}) if contiguous or metadata else None)
    (size,) = struct.unpack("<Q", data[:8])
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def unpack(data: bytes, origin: str | Path = "what was given") -> dict[str, Tensor]:
    """Raises `ModelError`, which names `origin`, for what is not safetensors."""
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: a type of numbers that torch does not have
        raise _unreadable(origin, error) from None
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """The text in the header of a safetensors file. Raises `ModelError` if the file is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(origin: str | Path, error: Exception) -> ModelError:
    return ModelError(f"{origin} is not a readable safetensors file ({error}).")
