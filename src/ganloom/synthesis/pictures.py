"""Generated images as files: a grid, or one PNG each."""

from pathlib import Path

import torch

from ganloom.core.errors import ModelError
from ganloom.core.files import storage_errors
from ganloom.core.pictures import class_columns, grid, save_png
from ganloom.synthesis.model import load

__all__ = ["write"]

MAX_IN_GRID = 10_000


def write(
    model: Path,
    *,
    n: int,
    seed: int,
    out: Path,
    class_name: str | None,
    truncation: float | None,
    separate: Path | None,
    device: str,
    trust_code: bool = False,
) -> Path:
    """Generate `n` images; returns the path of the grid, or the folder of `separate` PNGs, numbered from 0."""
    loaded = load(model, device=device, trust_code=trust_code)
    batches = loaded.samples(n, seed=seed, class_name=class_name, truncation=truncation)
    if separate is not None:
        with storage_errors(separate):
            separate.mkdir(parents=True, exist_ok=True)
        number = 0
        for batch in batches:
            for picture in batch:
                save_png(separate / f"{number:06d}.png", picture)
                number += 1
        return separate
    if out.suffix.lower() != ".png":
        raise ModelError(f"a grid is a PNG: name it {out.with_suffix('.png') if out.name else 'grid.png'}, not {out}.")
    if n > MAX_IN_GRID:
        raise ModelError(f"{n} images are too many for one grid: use --separate DIR.")
    classes = len(loaded.class_names)
    columns = class_columns(classes) if class_name is None and classes <= n else None
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    save_png(out, grid(torch.cat(list(batches)), columns))
    return out
