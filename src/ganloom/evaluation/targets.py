"""What can be evaluated. Nothing here imports torch, so that a wrong path is refused at once."""

from pathlib import Path

from ganloom.core.errors import DataError
from ganloom.models.places import refuse_checkpoint

__all__ = ["refuse_missing"]


def refuse_missing(target: Path) -> None:
    """Raises `DataError` if there is nothing, and `ModelError` for a checkpoint."""
    refuse_checkpoint(target)
    if not target.exists():
        raise DataError(f"there is nothing at {target}: name a run folder, a model.safetensors or a folder of images.")
