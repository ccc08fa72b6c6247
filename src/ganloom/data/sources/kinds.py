"""Which module reads a path: decided by names and, where names do not tell, by the first bytes of files."""

import glob
import os
from pathlib import Path

from ganloom.core.errors import DataError
from ganloom.core.files import user_path
from ganloom.data.sources import cifar_batches, dicom, idx, packed, pixel_csv
from ganloom.data.sources.naming import is_hidden, is_image
from ganloom.data.sources.not_read import next_step, said_of
from ganloom.data.sources.parts import files_in

__all__ = ["of_file", "of_folder", "of_pattern"]

ARRAYS = (".npy", ".npz")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
TABLES = (".csv", ".parquet")
MAX_LOOKED_INTO = 100  # files of a folder without images whose content is looked at


def of_file(path: Path) -> str:
    """The name of the module that reads a file. Raises `DataError` with the next step for any other kind."""
    if kind := _kind(path):
        return kind
    if path.name.lower().endswith(ARCHIVES):
        return "archive"
    if dicom.is_dicom(path):
        raise DataError(f"{path} is a DICOM file: give the folder of DICOM files, or dicom:FOLDER.")
    known = ", ".join(ARRAYS + ARCHIVES + TABLES)
    step = next_step(path.name)
    raise DataError(f"{path} {step}" if step else f"{path} is not read: give a folder, or a file of type {known}.")


def of_pattern(spec: str) -> str:
    """The name of the module that reads a pattern of files. Raises `DataError` for other patterns."""
    if spec.lower().endswith(ARRAYS):
        return "arrays"
    found = glob.glob(str(user_path(spec)), recursive=True)
    if found and all(path.lower().endswith(ARRAYS) for path in found):
        return "arrays"
    count = f"{len(found):,} files match" if found else "nothing matches"
    raise DataError(
        f"{count} {spec}: patterns are for array files ('part*.npz'). For images, give their folder or archive."
    )


def of_folder(root: Path, any_suffix: bool) -> str:
    """The name of the module that reads a folder. Raises `DataError` if it holds only files of other known kinds."""
    if packed.is_packed(root):
        return "packed"
    if any_suffix or _has_image(root):
        return "folder"
    files = files_in(root)
    found: dict[str, list[str]] = {}
    looked_into = 0
    for path in files:
        kind = "dicom" if dicom.is_named_dicom(path) else "arrays" if path.name.lower().endswith(ARRAYS) else None
        if kind is None and looked_into < MAX_LOOKED_INTO:
            looked_into += 1
            kind = _kind(path) or ("dicom" if dicom.is_dicom(path) else None)
        if kind:
            found.setdefault(kind, []).append(path.name)
    if len(found) > 1:
        counts = "; ".join(f"{len(names):,} such as {names[0]}" for names in found.values())
        raise DataError(
            f"{root} holds images in several kinds of files ({counts}): give one file, or a folder of one kind."
        )
    if not found and (said := said_of(path.name for path in files)):
        raise DataError(f"there are no images in {root}. {said}")
    return next(iter(found), "folder")


def _has_image(root: Path) -> bool:
    """Whether there is one below a folder, in no more of the walk than is needed to find it."""
    for above, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not is_hidden(name)]
        if any(is_image(name) and not is_hidden(name) and Path(above, name).is_file() for name in names):
            return True
    return False


def _kind(path: Path) -> str | None:
    """The module that reads a file that is no archive, or None."""
    name = path.name.lower()
    if name.endswith(ARRAYS):
        return "arrays"
    if name.endswith(".parquet"):
        return "parquet"
    if cifar_batches.is_batch(path):
        return "cifar_batches"
    if idx.is_idx(path):
        return "idx"
    return "pixel_csv" if name.endswith(".csv") and pixel_csv.has_pixels(path) else None
