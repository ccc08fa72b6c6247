"""What can be evaluated. Nothing here imports torch, so that a wrong path is refused at once."""

from pathlib import Path

from ganloom.core.errors import ConfigError, DataError
from ganloom.core.shapes import MAX_SIDE, parse_size
from ganloom.models.places import refuse_checkpoint

__all__ = ["refuse_missing", "size_of"]


def refuse_missing(target: Path) -> None:
    """Raises `DataError` if there is nothing, and `ModelError` for a checkpoint."""
    refuse_checkpoint(target)
    if not target.exists():
        raise DataError(f"there is nothing at {target}: name a run folder, a model.safetensors or a folder of images.")


def size_of(given: int | str | tuple[int, int] | None) -> tuple[int, int] | None:
    """Height and width. Raises `ConfigError`."""
    try:
        size = parse_size(given) if isinstance(given, int | str) else given
    except ValueError as error:
        raise ConfigError(f"size: {error}") from None
    if size is not None and max(size) > MAX_SIDE:
        raise ConfigError(f"--size {given} is more than any network makes: give at most {MAX_SIDE} pixels per side.")
    return size
