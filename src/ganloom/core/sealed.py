"""JSON files that carry a checksum of their content, so that numbers in a damaged or edited one are not believed."""

import json
from typing import Any

from ganloom.core.files import sha256
from ganloom.core.plain_json import read_json

__all__ = ["CHECKSUM", "seal", "unseal"]

CHECKSUM = "checksum"


def seal(values: dict[str, Any]) -> bytes:
    """The values as JSON, with their checksum.

    >>> unseal(seal({"value": 3.5}))
    {'value': 3.5}
    """
    return json.dumps({**values, CHECKSUM: _checksum(values)}, indent=2, ensure_ascii=False).encode()


def unseal(data: bytes) -> Any:
    """The values without the checksum. Files of earlier versions have none.

    Raises `ValueError` for a wrong checksum, and for what is no JSON.
    """
    values = read_json(data)
    try:
        is_intact = not isinstance(values, dict) or values.pop(CHECKSUM, None) in (None, _checksum(values))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not is_intact:
        raise ValueError("its content does not match its checksum: it was damaged, or changed by hand")
    return values


def _checksum(values: dict[str, Any]) -> str:
    """Of what the values are, not of how they are laid out: spaces and the order of keys do not matter."""
    return sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())
