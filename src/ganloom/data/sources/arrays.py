"""Images in array files: .npy or .npz, in one file, in a pattern of files, or in a folder of them; never pickle.

The images are the only array of that shape, or the one with a usual key; so are the labels. Images are read row by row,
so a file may be larger than memory.
"""

import glob
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganloom.config import Reading
from ganloom.core.errors import ConfigError, DataError
from ganloom.core.files import user_path
from ganloom.core.memory import check_memory
from ganloom.data.sources.array_files import Placed, mask_files, place_files
from ganloom.data.sources.as_images import Axes, Values, Window, find_axes, find_values, is_one_image, to_image
from ganloom.data.sources.contract import MAX_CLASSES, SPLITS, Opener, Remark, refused
from ganloom.data.sources.damage import damage
from ganloom.data.sources.files import how
from ganloom.data.sources.npy import DAMAGED, Array, arrays_in
from ganloom.data.sources.parts import (
    Part,
    PartsSource,
    files_in,
    splits_of_paths,
    splits_said,
    top_of,
    words,
)
from ganloom.data.sources.splits import SHORT_WORDS, SPLIT_WORDS

__all__ = ["SETTINGS", "ArraySource", "images_of", "open_source", "scales_of", "window_of"]

SETTINGS = frozenset({"splits", "class_level", "keep_masks"})
"""The keys of `Reading` that are followed."""

UNREADABLE = "cannot be read as arrays"
MAX_LISTED = 20  # arrays in a message
MAX_NAME_BYTES = 2**14  # of the name of a class, as texts in arrays have it: four bytes a character

IMAGE_KEYS = ("images", "x", "image", "imgs", "data", "arr0")  # without the word of the split; the first one counts
LABEL_KEYS = ("labels", "y", "label", "target", "targets", "classes", "class", "arr1")
USUAL = ("images", "x", "labels", "y")  # keys that need no remark


@dataclass(frozen=True)
class _Split:
    """The arrays of one split in one file."""

    name: str
    images: Array
    labels: Array | None


class ArraySource(PartsSource):
    """The images of array files. Labels of shape [N] or [N, 1] are classes; [N, K] are shares of each class."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        name: str | None = None,
        class_names: Sequence[str] | None = None,
        folder: Path | None = None,
        many: bool = False,
        reading: Reading | None = None,
    ) -> None:
        """`folder`: the one that was given; `many`: each .npy file may be a single image.

        Raises `DataError` for files that hold no images.
        """
        top, reading = top_of(folder or paths[0], paths), reading or Reading(source="")
        arrays = {path: _read(path)["images"] for path in paths if path.suffix.lower() == ".npy"}
        if many:
            arrays |= {
                path: each.as_image() for path, each in arrays.items() if is_one_image(each) and not _is_label(path)
            }
        masks, remarks = mask_files(arrays, top) if many and not reading.keep_masks else (set[Path](), [])
        paths = [path for path in paths if path not in masks]
        found = list(_files(paths, arrays, top))
        placed = _placed([(path, part.images) for path, part in found], top, reading)
        if placed:
            found = [(path, part) for path, part in found if path in placed.of]  # no second copies
            remarks += placed.remarks
        axes = [find_axes(part.images, part.labels is not None) for _, part in found]
        pairs = list(zip((part.images for _, part in found), axes, strict=True))
        with damage(paths[0], UNREADABLE, DAMAGED):
            values = find_values(pairs)
        parts = []
        for (path, part), order in zip(found, axes, strict=True):
            file = path.relative_to(top).as_posix() if len(paths) > 1 else path.name
            prefix = f"{file}/" if len(paths) > 1 else ""
            images = partial(images_of, part.images, order, values.get(part.images.dtype.name))
            if placed:
                parts.append(_one_image(file, placed, path, part.name, images))
                continue
            alone = part.images.is_image
            parts.append(
                Part(
                    file if alone else f"{prefix}{part.name}",
                    part.name,
                    part.images.shape[0],
                    images,
                    None if part.labels is None else _labels(part.labels, part.images.shape[0]),
                    f"labels '{part.labels.key}' of {path}" if part.labels else "",
                    numbered=not alone,
                    held=part.images.row_bytes,
                )
            )
        window = window_of(pairs, values)
        scaled = sorted((name, each) for name, each in values.items() if each.white is not None)
        remarks += [*_of_keys([part for _, part in found]), *_of_axes(pairs), *_of_values(scaled, window)]
        key = [f"{name} from {each.black:g} to {each.white:g}" for name, each in scaled]
        if masks or placed:
            key.append(how(reading))
        if len(paths) > 1 and any(part.name != "train" for _, part in found):
            key.append(f"splits {' '.join(part.name for _, part in found)}")  # names of files and folders decide
        super().__init__(
            folder or paths[0],
            paths,
            parts,
            name=name or paths[0].stem,
            class_names=class_names,
            remarks=remarks,
            key=key,
        )
        self.window = window
        self.scales = scales_of(pairs, values)


def open_source(spec: str, reading: Reading | None = None) -> ArraySource:
    """Open a file, a folder or a pattern of files. Raises `DataError` if they are not arrays of images."""
    path = user_path(spec)
    if path.is_dir():
        paths = [each for each in files_in(path) if each.suffix.lower() in (".npy", ".npz")]
    else:
        paths = [path] if path.exists() else [Path(found) for found in sorted(glob.glob(str(path), recursive=True))]
    if not paths:
        raise DataError(f"no file matches {spec}: check the pattern.")
    name = path.stem if path.is_file() else (path if path.is_dir() else path.parent).resolve().name
    return ArraySource(
        paths, name=name, folder=path if path.is_dir() else None, many=not path.is_file(), reading=reading
    )


def images_of(images: Array, axes: Axes, values: Values | None) -> Iterator[Opener]:
    """The rows of an array as images that are not opened yet. Raises `DataError` for a damaged file."""
    with damage(images.where, "is damaged", DAMAGED):
        for row in images.rows():
            yield partial(to_image, row, axes, values)


def _placed(images: Sequence[tuple[Path, Array]], top: Path, reading: Reading) -> Placed | None:
    """What folders say of files that are one image each. Raises `ConfigError` for settings that other files lack."""
    if images and all(array.is_image for _, array in images):
        return place_files([path for path, _ in images], top, reading)
    for key in sorted(SETTINGS - {"keep_masks"}):
        if getattr(reading, key) is not None:
            raise ConfigError(f"data.{key} is for files of one image each: leave it out for {top}.")
    return None


def _one_image(file: str, placed: Placed, path: Path, split: str, images: Callable[[], Iterator[Opener]]) -> Part:
    """The part of a file that is one image. `split`: as its name says, where folders say nothing."""
    place, label = placed.of[path], placed.label(path)
    opened = (lambda: iter([refused(place.fault)])) if place.fault else images
    labels = None if label is None else np.array([label])
    return Part(file, place.split if placed.has_splits else split, 1, opened, labels, "the folders", numbered=False)


def _files(paths: Sequence[Path], arrays: Mapping[Path, Array], top: Path) -> Iterator[tuple[Path, _Split]]:
    """Every split of every file. Of many .npy files, one may hold the labels of another: `y_train.npy`.

    Raises `DataError` if there are no training images.
    """
    label_files = [path for path in paths if path in arrays and len(arrays) > 1 and _is_label(path)]
    images = set(paths) - set(label_files)
    one = len(paths) == 1  # its name says nothing about its arrays
    splits = dict(zip(paths, ["train"] if one else splits_of_paths(paths, top, images), strict=True))
    labels_of = _label_files(label_files, [path for path in arrays if path in images], splits)
    is_trained = False
    for path in paths:
        if path not in images:
            continue
        if path in arrays:
            own = labels_of.get(path)
            found = [_Split(splits[path], arrays[path], replace(arrays[own], key=own.name) if own else None)]
        else:
            found = _splits(path, splits[path])
        is_trained = is_trained or any(each.name == "train" for each in found)
        yield from ((path, each) for each in found)
    if not is_trained:
        raise _no_images(paths[0], "training images")


def _label_files(labels: Sequence[Path], images: Sequence[Path], splits: Mapping[Path, str]) -> dict[Path, Path]:
    """The file of labels of each file of images: that of the same folder and split. Raises `DataError` for several."""
    rivals: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in images if labels else ():
        rivals[path.parent, splits[path]].append(path)
    found: dict[Path, Path] = {}
    for label in labels:
        own = rivals[label.parent, splits[label]]
        if len(own) > 1 or (own and own[0] in found):
            raise DataError(
                f"it is not clear which images {label.name} labels: {', '.join(each.name for each in own)}. Save "
                "images and labels in one file: np.savez('images.npz', images=..., labels=...)"
            )
        found |= dict.fromkeys(own, label)
    return found


def _read(path: Path) -> dict[str, Array]:
    with damage(path, UNREADABLE, DAMAGED):
        return arrays_in(path)


def _splits(path: Path, default: str) -> list[_Split]:
    """The arrays of images and labels of each split of a .npz file. `default`: the split of keys that say none."""
    arrays = _read(path)
    if {"mu", "sigma"} <= set(arrays):
        raise DataError(
            f"{path} holds statistics of features (mu, sigma), not images: ganloom computes those of the real images "
            "itself, so name their folder, archive or array file."
        )
    found = []
    said = dict(zip(arrays, splits_said(list(arrays)), strict=True))
    for split in SPLITS:
        own = {key: array for key, array in arrays.items() if (said[key] or default) == split}
        images = _choose_images(path, own)
        if images is not None:
            found.append(_Split(split, images, _choose_labels(own, images)))
    if not found:
        raise _no_images(path, "images")
    return found


def _no_images(path: Path, what: str) -> DataError:
    kinds = _some([f"{key} {list(array.shape)}" for key, array in _read(path).items()]) or "nothing"
    return DataError(
        f"{path} has no array of {what}, only {kinds}: name it 'images', of shape [N, H, W] or [N, H, W, C]."
    )


def _some(arrays: Sequence[str]) -> str:
    return ", ".join(arrays[:MAX_LISTED]) + (", ..." if len(arrays) > MAX_LISTED else "")


def _is_label(path: Path) -> bool:
    return _stem(path.stem) in LABEL_KEYS


def _stem(key: str) -> str:
    """A key without the word of the split: `images` of `Train_Images`."""
    return "".join(word for word in words(key) if word not in SPLIT_WORDS | SHORT_WORDS)


def _choose_images(path: Path, arrays: Mapping[str, Array]) -> Array | None:
    """The array of images among those of one split; None if there is none."""
    for stem in IMAGE_KEYS:
        for key, array in arrays.items():
            if _stem(key) == stem:
                return array
    able = [array for key, array in arrays.items() if len(array.shape) in (3, 4) and _stem(key) not in LABEL_KEYS]
    if len(able) > 1:
        several = _some([f"'{array.key}' {list(array.shape)}" for array in able])
        raise DataError(
            f"{path} has several arrays that may be the images: {several}. Save the one you want under the key "
            f"'images': np.savez('images.npz', images=np.load('{path.name}')['{able[0].key}'])"
        )
    return able[0] if able else None


def _choose_labels(arrays: Mapping[str, Array], images: Array) -> Array | None:
    """The array of labels: the one with a usual key, or else the only one with a whole number or text per image."""
    for stem in LABEL_KEYS:
        for key, array in arrays.items():
            if _stem(key) == stem and array is not images:
                return array
    able = [array for array in arrays.values() if array.shape == images.shape[:1] and array.dtype.kind in "iubUS"]
    return able[0] if len(able) == 1 and able[0] is not images else None


def _labels(array: Array, count: int) -> NDArray[Any]:
    size = int(np.prod(array.shape[1:], dtype=np.float64).clip(0, MAX_CLASSES + 1))
    if array.shape[:1] != (count,) or size > MAX_CLASSES:
        raise DataError(
            f"labels '{array.key}' of {array.path} have shape {array.shape} for {count} images: "
            "give one label per image, or leave them out of the file."
        )
    if array.dtype.kind in "SU" and array.dtype.itemsize > MAX_NAME_BYTES:
        raise DataError(
            f"labels '{array.key}' of {array.path} have room for {array.dtype.itemsize:,} bytes each: these are not "
            "names of classes. Leave them out of the file."
        )
    with damage(array.path, UNREADABLE, DAMAGED):
        check_memory(2 * count * size * array.dtype.itemsize, f"labels '{array.key}'")
        return array.all()


def window_of(arrays: Sequence[tuple[Array, Axes]], values: Mapping[str, Values]) -> Window | None:
    """The window of grey images whose range is known. There is none if they have several types."""
    grey = {array.dtype.name for array, axes in arrays if array.dtype.kind != "b" and not _is_colour(array, axes)}
    found = values.get(grey.pop(), Values()) if len(grey) == 1 else Values()
    return None if found.black is None or found.white is None else (found.black, found.white)


def scales_of(arrays: Sequence[tuple[Array, Axes]], values: Mapping[str, Values]) -> dict[str, Window]:
    """By type, the values of colours that become black and white, which their range has shown."""
    colour = {array.dtype.name for array, axes in arrays if _is_colour(array, axes)}
    ranges = ((name, values[name]) for name in sorted(colour & values.keys()))
    return {
        name: (each.black, each.white) for name, each in ranges if each.black is not None and each.white is not None
    }


def _is_colour(array: Array, axes: Axes) -> bool:
    return axes.upright(np.empty(array.shape[1:], np.bool_)).ndim == 3


def _of_keys(parts: Sequence[_Split]) -> Iterator[Remark]:
    """Says which arrays were taken where their keys are not the usual ones, and which were not."""
    first = next((part for part in parts if part.name == "train"), parts[0])
    if first.images.path.suffix.lower() == ".npy":
        if first.labels:
            yield Remark("labels", f"of {first.images.path.name} are in {first.labels.key}")
        return
    labels = f", labels from '{first.labels.key}'" if first.labels else ", no labels"
    taken = [array for part in parts for array in (part.images, part.labels) if array]
    others = [key for key in arrays_in(first.images.path) if key not in {array.key for array in taken}]
    if others or any(_stem(array.key) not in USUAL for array in taken):
        left = f"; not read: {', '.join(others)}" if others else ""
        yield Remark("arrays", f"images from '{first.images.key}'{labels}{left}")


def _of_axes(arrays: Sequence[tuple[Array, Axes]]) -> Iterator[Remark]:
    array, axes = arrays[0]
    if axes.order == "CHW":
        yield Remark("axes", f"shape {array.shape} was read as [N, C, H, W]")
    if axes.order == "flat":
        side = axes.upright(np.empty(array.shape[1])).shape[0]
        yield Remark("axes", f"rows of {array.shape[1]} values were read as images of {side}x{side}")
    if len(arrays) > 1 and array.is_image:
        yield Remark("axes", f"{len(arrays):,} files were read as one image each")


def _of_values(scaled: Sequence[tuple[str, Values]], window: Window | None) -> Iterator[Remark]:
    for name, values in scaled:
        change = " (data.window, --window LOW:HIGH, changes it)" if window else ""
        yield Remark(
            "values",
            f"of {name}, {values.black:g} is black and {values.white:g} is white, as their range shows{change}",
        )
