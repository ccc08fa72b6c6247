"""Encode named tensors as safetensors: no pickle, and equal tensors give equal bytes."""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ganloom.core.errors import ModelError
from ganloom.core.files import open_regular
from ganloom.core.plain_json import read_json

__all__ = ["metadata_of", "pack", "read_metadata", "unpack"]

MAX_HEADER = 100 * 2**20  # bytes; safetensors has the same limit


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


def metadata_of(data: bytes) -> dict[str, str]:
    """The metadata of data that `unpack` has decoded."""
    (size,) = struct.unpack("<Q", data[:8])
    return _metadata(data[8 : 8 + size])


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata in the header of a safetensors file. Raises `ModelError` for any other file.

    safetensors itself cannot open a path that is not UTF-8.
    """
    try:
        with open_regular(path) as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > MAX_HEADER:
                raise ValueError("its header is too large")
            header = file.read(size)
            ends = [tensor["data_offsets"][1] for name, tensor in read_json(header).items() if name != "__metadata__"]
            if file.seek(0, os.SEEK_END) != 8 + size + max(ends, default=0):
                raise ValueError("it is cut short, or longer than its header says")
            return _metadata(header)
    except (struct.error, ValueError, TypeError, LookupError, AttributeError, OSError) as error:
        raise _unreadable(path, error) from None


def _metadata(header: bytes) -> dict[str, str]:
    """Raises `ValueError`."""
    values = read_json(header)
    found = values.get("__metadata__") if isinstance(values, dict) else None
    if not isinstance(values, dict) or not isinstance(found, dict | None):
        raise ValueError("its header is damaged")
    return {str(key): str(value) for key, value in (found or {}).items()}


def _unreadable(origin: str | Path, error: Exception) -> ModelError:
    return ModelError(f"{origin} is not a readable safetensors file ({error}): use another copy of it.")
