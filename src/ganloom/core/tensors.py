"""Encode named tensors as safetensors: no pickle, and equal tensors give equal bytes."""

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
    """Encode as safetensors, with a sorted header: the library orders metadata at random."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Given no tensors and empty metadata, safetensors writes a header that is not JSON.
    data: bytes = safetensors.torch.save(contiguous, metadata=dict(metadata or {}) if contiguous or metadata else None)
    (size,) = struct.unpack("<Q", data[:8])
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def unpack(data: bytes, origin: str | Path = "the data") -> dict[str, Tensor]:
    """Decode safetensors. Raises `ModelError`, which names `origin`, for anything else."""
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: torch lacks the dtype
        raise _unreadable(origin, error) from None
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata in the header of a safetensors file. Raises `ModelError` for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(origin: str | Path, error: Exception) -> ModelError:
    return ModelError(f"{origin} is not a readable safetensors file ({error}).")
