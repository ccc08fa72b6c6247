"""Where the model of a path lies. Nothing here imports torch, so that a wrong path is refused at once."""

from pathlib import Path

from ganloom.core.errors import ModelError
from ganloom.core.names import is_count

__all__ = ["locate", "missing", "refuse_checkpoint", "refuse_missing"]


def locate(path: Path) -> Path:
    """The model file of a run folder; a path that is not a folder is returned as it is.

    Raises `ModelError` if the run has no model yet.
    """
    if not path.is_dir():
        return path
    if (path / "config.yaml").exists() and not (path / "model.safetensors").exists():
        raise ModelError(
            f"{path} has no model yet: the first checkpoint writes it. Continue the training: ganloom resume {path}"
        )
    return path / "model.safetensors"


def refuse_missing(path: Path) -> None:
    """Raises `ModelError` unless there is a file that may be a model."""
    refuse_checkpoint(path)
    if not path.is_file():
        raise missing(path)


def missing(path: Path) -> ModelError:
    return ModelError(f"there is no model file at {path}: give a run folder, or its model.safetensors.")


def refuse_checkpoint(path: Path) -> None:
    """Raises `ModelError` for a file of a checkpoint, or the folder of all: a run and a moment name its model."""
    folder = path if path.name == "checkpoints" else path.parent
    if folder.name != "checkpoints" or not (is_count(path.stem) or path.is_dir() or not path.exists()):
        return
    is_best = folder.parent.name == "best"
    run = folder.parent.parent if is_best else folder.parent
    at = "best" if is_best else str(int(path.stem)) if is_count(path.stem) else "IMAGES"
    what = f"{path} is a checkpoint" if is_count(path.stem) else f"{folder} has checkpoints"
    raise ModelError(
        f"{what}, from which a run resumes, and not a model. To use the generator of that moment: ganloom sample {run} "
        f"--at {at}"
    )
