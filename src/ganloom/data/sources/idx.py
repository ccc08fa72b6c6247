"""The IDX format of MNIST: arrays of bytes, as they are or compressed with gzip; by path, alone or in a folder.

The labels of `train-images-idx3-ubyte` are looked for beside it, in `train-labels-idx1-ubyte`.
"""

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import AGAIN, DataError
from ganloom.core.files import user_path
from ganloom.data.sources.contract import SPLITS, Opener, Remark
from ganloom.data.sources.parts import Part, PartsSource, files_in, splits_of_paths, top_of

__all__ = ["is_idx", "open_source", "read_header", "read_idx"]

BYTES = 8  # IDX's number for unsigned bytes
GZIP = b"\x1f\x8b"
MAX_PIXELS = 2**27  # of one image: a damaged header may state any size
UNREADABLE = (OSError, EOFError, zlib.error)


def is_idx(path: Path) -> bool:
    """Whether a file is named like an IDX file and begins like one."""
    if not re.search(r"idx\d|ubyte|\.idx", path.name.lower()):
        return False
    try:
        return _read(path, 4)[:3] == bytes([0, 0, BYTES])
    except DataError:
        return False


def open_source(spec: str) -> PartsSource:
    """Open a file of images, or a folder of such files. Raises `DataError`."""
    given = user_path(spec)
    found = [path for path in files_in(given) if is_idx(path)] if given.is_dir() else [given]
    images = [path for path in found if _read(path, 4)[3:4] in (b"\3", b"\4")]
    if not images:
        raise DataError(f"{given} has labels but no images: name the file of images, such as train-images-idx3-ubyte.")
    splits = splits_of_paths(images, top_of(given, images))
    if len(set(splits)) < len(splits):
        names = ", ".join(path.name for path in images)
        raise DataError(f"{given} has several sets of images ({names}): name one of the files.")
    parts = [_part(path, split) for path, split in zip(images, splits, strict=True)]
    parts.sort(key=lambda part: SPLITS.index(part.split))
    remarks = []
    if any("emnist" in path.name.lower() for path in images):
        remarks.append(Remark("axes", "the images of EMNIST are stored with rows and columns exchanged: turned back"))
    if any(part.labels is None for part in parts):
        remarks.append(Remark("labels", "none: the file of labels is not beside the images"))
    paths = [*images, *filter(None, map(_labels_of, images))]
    return PartsSource(given, paths, parts, remarks=remarks)


def read_idx(
    path: Path,
    dimensions: int,
) -> NDArray[np.uint8]:  # [N, H, W] for 3 dimensions, [N] for 1
    """The array in an IDX file of bytes. Raises `DataError` unless the data has the size given in the header."""
    shape = read_header(path, dimensions)
    data = _read(path)[4 + 4 * dimensions :]
    if len(data) != math.prod(shape):
        raise DataError(f"{path} has {len(data)} bytes of data; its header {shape} says {math.prod(shape)}: {AGAIN}.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def read_header(path: Path, dimensions: int) -> tuple[int, ...]:
    """The shape in the header: two zeros, the type, the number of dimensions, then each dimension as 32 bits."""
    header = _read(path, 4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, BYTES, dimensions]):
        begins = header[:4].hex() or "nothing"
        raise DataError(
            f"{path} is not an IDX file of bytes with {dimensions} dimensions, it begins with {begins}: {AGAIN}."
        )
    return tuple(int(size) for size in np.frombuffer(header[4:], ">u4"))


def _part(path: Path, split: str) -> Part:
    labels = _labels_of(path)
    shape = read_header(path, _read(path, 4)[3])
    if len(shape) == 4 and shape[3] not in (1, 3, 4):
        raise DataError(
            f"{path} has shape {shape}: its last axis should have 1, 3 or 4 channels. {AGAIN.capitalize()}."
        )
    if 0 in shape or math.prod(shape[1:]) > MAX_PIXELS:
        raise DataError(f"{path} has shape {shape}: it is empty, damaged or no file of images. {AGAIN.capitalize()}.")
    if labels and (count := read_header(labels, 1)[0]) != shape[0]:
        raise DataError(
            f"{labels} has {count:,} labels for the {shape[0]:,} images of {path.name}: download both again."
        )
    numbers = None if labels is None else read_idx(labels, 1)
    turned = "emnist" in path.name.lower()
    return Part(split, split, shape[0], partial(_images, path, shape, turned), numbers, f"the labels of {labels}")


def _images(path: Path, shape: tuple[int, ...], turned: bool) -> Iterator[Opener]:
    """Row by row: a file may be larger than memory."""
    try:
        with _opened(path) as file:
            file.read(4 + 4 * len(shape))
            for _ in range(shape[0]):
                data = file.read(math.prod(shape[1:]))
                if len(data) < math.prod(shape[1:]):
                    raise DataError(f"{path} is cut short, its header says {shape[0]:,} images: {AGAIN}.")
                image = np.frombuffer(data, np.uint8).reshape(shape[1:])
                image = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
                yield partial(Image.fromarray, np.ascontiguousarray(image.swapaxes(0, 1)) if turned else image)
            if file.read(1):  # which also verifies the checksum of gzip
                raise DataError(f"{path} is damaged, it has more data than its header {shape} says: {AGAIN}.")
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be unzipped ({error}): {AGAIN}.") from None


def _labels_of(path: Path) -> Path | None:
    """The file of labels beside a file of images."""
    name = re.sub("idx[34]", "idx1", path.name.replace("images", "labels"))
    other = path.with_name(name)
    candidates = (other, other.with_name(f"{name}.gz"), other.with_name(name.removesuffix(".gz")))
    return next((each for each in candidates if each != path and is_idx(each)), None)


def _opened(path: Path) -> BinaryIO:
    with open(path, "rb") as file:
        zipped = file.read(2) == GZIP
    return cast("BinaryIO", gzip.open(path)) if zipped else open(path, "rb")


def _read(path: Path, size: int = -1) -> bytes:
    """The first bytes of a file, decompressed."""
    try:
        with _opened(path) as file:
            return file.read(size)
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be unzipped ({error}): {AGAIN}.") from None
