"""The checkpoints in a folder: NIMG.safetensors with every tensor of a training, and its manifest NIMG.json.

The manifest is written last. A checkpoint without one, or whose bytes do not match the checksum in it, does not count.
`training/checkpoint.py` makes and restores them.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ganloom.core.errors import RunError
from ganloom.core.files import read_regular, sha256
from ganloom.core.names import is_count

__all__ = ["FORMAT", "Manifest", "is_left", "newest", "newest_manifest", "numbered", "reached", "read", "whole"]

FORMAT = 4


class Format(BaseModel):
    """Read from NIMG.json before the rest, since a newer format may have fields that are unknown here."""

    format: int = FORMAT


class Manifest(Format):
    """NIMG.json: the checksum of the checkpoint, and what is known of it besides its tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    nimg: int
    seconds: float  # spent training so far
    sha256: str
    torch: str
    config: dict[str, Any] = {}  # the settings it was trained with until then; {} before format 4


def numbered(folder: Path, suffix: str) -> list[Path]:
    """Files of checkpoints, oldest first. Copies that a user, or a system, has put beside them do not count."""
    return sorted(path for path in folder.glob(f"*.{suffix}") if is_count(path.stem))


def reached(folder: Path) -> int:
    """The image count of the newest checkpoint; 0 without one."""
    return max((int(manifest.stem) for manifest in numbered(folder, "json")), default=0)


def newest_manifest(folder: Path) -> Manifest | None:
    """That of the newest checkpoint whose manifest can be read; its tensors may still turn out to be damaged."""
    for path in reversed(numbered(folder, "json")):
        with contextlib.suppress(OSError, ValidationError):
            return Manifest.model_validate_json(read_regular(path))
    return None


def is_left(folder: Path) -> bool:
    """Whether there is a checkpoint, whole or damaged. Raises `RunError` if that cannot be found out."""
    try:
        os.listdir(folder)  # `glob` finds nothing in a folder that is closed
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RunError(f"{folder} cannot be read: {error.strerror}. Make it readable.") from None
    return any(manifest.with_suffix(".safetensors").exists() for manifest in numbered(folder, "json"))


def whole(folder: Path, passed_over: list[str], max_nimg: float = math.inf) -> Iterator[tuple[Path, Manifest, bytes]]:
    """Checkpoints of at most `max_nimg` images whose checksum is right, newest first; says why others are skipped."""
    for path in reversed(numbered(folder, "safetensors")):
        if int(path.stem) <= max_nimg and (found := read(path, passed_over)):
            yield path, *found


def read(path: Path, passed_over: list[str]) -> tuple[Manifest, bytes] | None:
    """A checkpoint's manifest and bytes; None, with the reason in `passed_over`, if it is damaged.

    Raises `RunError` if a newer ganloom has written it.
    """
    try:
        described = read_regular(path.with_suffix(".json"))
        if Format.model_validate_json(described).format > FORMAT:
            raise RunError(f"{path} was written by a newer ganloom: resume with that version, or a later one.")
        manifest = Manifest.model_validate_json(described)
        data = read_regular(path)
    except FileNotFoundError:
        return None  # killed before its manifest was written
    except (OSError, ValidationError) as error:
        passed_over.append(f"{path}: {str(error).splitlines()[0]}")
        return None
    if sha256(data) != manifest.sha256:
        passed_over.append(f"{path}: its checksum is wrong")
        return None
    return manifest, data


def newest(folder: Path) -> bytes:
    """The bytes of the newest whole checkpoint. Raises `RunError` where there is none."""
    for _, _, data in whole(folder, []):
        return data
    raise RunError(
        f"there is no whole checkpoint in {folder}. Name the run's model, if there is one, instead of the run: "
        f"{folder.parent / 'model.safetensors'}. It has no discriminator, which is then trained from the start."
    )
