"""Generated images as files: one grid, or a file each."""

from dataclasses import dataclass
from pathlib import Path

from ganloom.core.errors import ConfigError
from ganloom.core.files import safe_names, storage_errors
from ganloom.core.phases import phase
from ganloom.core.pictures import enlarged, save_png
from ganloom.synthesis.model import Model

__all__ = ["Wanted", "check_folder", "write_files"]


@dataclass(frozen=True)
class Wanted:
    """Which images."""

    n: int
    seed: int
    class_name: list[str] | None
    truncation: float | None


def check_folder(folder: Path) -> None:
    """Raises `ConfigError` for a folder with files in it: their pictures would be mixed with the new ones."""
    with storage_errors(folder, "Name another folder."):
        found = any(not path.name.startswith(".") for path in folder.iterdir()) if folder.is_dir() else False
    if found:
        raise ConfigError(f"{folder} is not empty: name a new folder, so that old and new pictures are not mixed.")


def write_files(model: Model, wanted: Wanted, folder: Path, scale: int = 1) -> Path:
    """Write each image to a PNG file of its own, and return the folder.

    Files are named by the seed and the number of the image, such as `seed0-000012.png`; those of a model with labels
    lie in one folder per class and begin with the class: `cat/cat-seed0-000012.png`. Raises `ConfigError` if the folder
    has files in it, and `StorageError`.
    """
    check_folder(folder)
    names, chosen = safe_names(model.class_names), model.classes(wanted.class_name)
    for place in [folder / names[number] for number in chosen] or [folder]:
        with storage_errors(place, "Name another folder."):
            place.mkdir(parents=True, exist_ok=True)
    images = model.samples(wanted.n, seed=wanted.seed, class_name=wanted.class_name, truncation=wanted.truncation)
    done = 0
    with phase("generating images") as progress:
        for batch in images:
            for picture in enlarged(batch, scale):
                name = f"seed{wanted.seed}-{done:06d}.png"
                if chosen:
                    label = names[chosen[done % len(chosen)]]
                    name = f"{label}/{label}-{name}"
                save_png(folder / name, picture)
                done += 1
            progress(done, wanted.n)
    return folder
