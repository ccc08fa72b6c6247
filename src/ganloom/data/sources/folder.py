"""A folder of images: flat, a folder a class (as torchvision's ImageFolder reads it), or splits of either."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import Item

__all__ = ["FolderSource", "open_source"]

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class FolderSource:
    """Images below a folder, in the order of their paths. Symbolic links to folders are not followed.

    With folders `train`, `val` and `test` at the top, they are the splits. Below that, when every image lies in a
    sub-folder, the first sub-folder is its class; otherwise the images have no labels.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = root.resolve().name or "images"
        self._paths = sorted(_images(root), key=Path.as_posix)  # relative to root
        if not self._paths:
            raise DataError(f"no images in {root}: looked for {', '.join(sorted(SUFFIXES))} in it and below it.")
        tops = {path.parts[0] for path in self._paths if len(path.parts) > 1}
        self._has_splits = "train" in {SPLIT_NAMES.get(top.lower()) for top in tops} and all(
            len(path.parts) > 1 for path in self._paths
        )
        if self._has_splits and not all(top.lower() in SPLIT_NAMES for top in tops):
            self._has_splits = False
        depth = 2 if self._has_splits else 1
        labelled = all(len(path.parts) > depth for path in self._paths)
        self.class_names = sorted({path.parts[depth - 1] for path in self._paths}) if labelled else []

    def fingerprint(self) -> Iterator[str]:
        yield str(self.root.resolve())  # two folders may hold files of equal names, sizes and times
        for path in self._paths:
            try:
                status = (self.root / path).stat()
                yield f"{path.as_posix()}\t{status.st_size}\t{status.st_mtime_ns}"
            except OSError:  # a link to nowhere, say: preparation will skip it and say so
                yield path.as_posix()

    def items(self) -> Iterator[Item]:
        classes = {name: index for index, name in enumerate(self.class_names)}
        for path in self._paths:
            parts = path.parts
            split = SPLIT_NAMES[parts[0].lower()] if self._has_splits else "train"
            label = classes[parts[1 if self._has_splits else 0]] if classes else None
            yield Item(path.as_posix(), split, label, partial(Image.open, self.root / path))


def open_source(spec: str) -> FolderSource:
    """Raises `DataError` for a folder that is unreadable or has no images."""
    return FolderSource(Path(spec))


def _images(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"cannot read the folder {error.filename}: {error.strerror}.") from error

    for folder, subfolders, files in os.walk(root, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "__MACOSX"))]
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield (Path(folder) / name).relative_to(root)
