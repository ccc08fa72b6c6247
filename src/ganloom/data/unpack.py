"""Write a packed dataset as files again, without loss: a folder of PNGs, or a zip in StyleGAN's format."""

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.core.files import built_beside, safe_names, storage_errors, user_path
from ganloom.data.packed import PackedDataset
from ganloom.data.sources import Label
from ganloom.data.sources.layout import Layout
from ganloom.data.sources.listing import LISTING
from ganloom.data.sources.naming import is_hidden

__all__ = ["unpack"]


def unpack(dataset: PackedDataset, dest: Path, progress: Callable[[int, int | None], None]) -> Path:
    """Write every image as a PNG to `dest`, a new folder or .zip file, and return it.

    The files of a folder are train/CLASS/00000000.png, numbered as they are packed. A dataset.json lists them in order
    with their labels, so that folder and zip can be prepared again to the same dataset. Raises `DataError` if `dest`
    exists, `StorageError` if the disk is full.
    """
    dest = user_path(dest)
    if not dest.name:
        raise DataError(f"'{dest}' is the current folder: name a new folder, or a .zip.")
    if dest.resolve().is_relative_to(dataset.path.resolve()):
        raise DataError(f"{dest} lies in the dataset {dataset.path}: name a place outside it.")
    to_zip = dest.suffix.lower() == ".zip"
    if dest.suffix.lower() in (".tar", ".tgz", ".gz", ".npz"):
        raise DataError(f"cannot write {dest.suffix} files: name a folder, or a .zip.")
    is_empty_folder = dest.is_dir() and not dest.is_symlink() and not any(dest.iterdir())
    if (dest.exists() or dest.is_symlink()) and (to_zip or not is_empty_folder):
        raise DataError(f"{dest} exists: name another place to unpack to.")
    with storage_errors(dest, "Name another place."):
        dest.parent.mkdir(parents=True, exist_ok=True)
        with built_beside(dest, is_folder=True) as beside:
            (_write_zip if to_zip else _write_folder)(dataset, beside, progress)
            os.replace(beside, dest)
    return dest


def _write_folder(dataset: PackedDataset, folder: Path, progress: Callable[[int, int | None], None]) -> None:
    folders = _class_folders(dataset)
    listing = []
    for path, image, label in _files(dataset, folders, progress):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(image)
        listing.append([path, label])
    if dataset.class_names:
        (folder / LISTING).write_text(_listing(dataset, listing), encoding="utf-8")


def _write_zip(dataset: PackedDataset, path: Path, progress: Callable[[int, int | None], None]) -> None:
    listing = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # StyleGAN's reader needs it uncompressed
        for name, image, label in _files(dataset, None, progress):
            archive.writestr(name, image)
            listing.append([name, label])
        archive.writestr(LISTING, _listing(dataset, listing))


def _files(
    dataset: PackedDataset, folders: list[str] | None, progress: Callable[[int, int | None], None]
) -> Iterator[tuple[str, bytes, Any]]:
    """(path, PNG, label) of every image. Without `folders`, paths are StyleGAN's."""
    total, done = sum(dataset.count(split) for split in dataset.splits), 0
    for split in dataset.splits:
        above = f"{split}/" if len(dataset.splits) > 1 else ""
        for index, (image, label) in enumerate(dataset.rows(split)):
            if folders is None:
                path = f"{above}{index // 1000:05d}/img{index:08d}.png"
            elif isinstance(label, int):
                path = f"{above}{folders[label]}/{index:08d}.png"
            else:
                path = f"{above}{index:08d}.png"
            buffer = io.BytesIO()
            Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, format="PNG")
            yield path, buffer.getvalue(), _plain(label)
            done += 1
            if done % 100 == 0 or done == total:
                progress(done, total)


def _class_folders(dataset: PackedDataset) -> list[str]:
    """A folder name for each class: the class name where all can be used, else numbers.

    A name cannot be used if preparing the folder again would misread it.
    """
    names = safe_names(dataset.class_names)
    usable = all(name.lower() != LISTING and not is_hidden(name) for name in names) and _are_read_as_classes(names)
    return names if usable else [f"{index:05d}" for index in range(len(names))]


def _are_read_as_classes(folders: list[str]) -> bool:
    try:
        return len(folders) < 2 or Layout([f"{name}/0.png" for name in folders]).class_names == sorted(folders)
    except DataError:  # a folder could be a split
        return False


def _listing(dataset: PackedDataset, labels: list[list[Any]]) -> str:
    if not dataset.class_names:
        return json.dumps({"labels": None})  # else StyleGAN's folders would be read as classes
    return json.dumps({"class_names": dataset.class_names, "labels": labels})


def _plain(label: Label) -> Any:
    return label.tolist() if isinstance(label, np.ndarray) else label
