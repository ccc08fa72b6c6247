"""MNIST (LeCun, Cortes, Burges 1998): 70,000 handwritten digits, grey, 28x28; and a reader for its file format, IDX."""

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import Item
from ganloom.data.sources.fetch import Remote, fetch

__all__ = ["IdxSource", "four_files", "open_source", "read_idx"]

BYTES = 8  # IDX's number for unsigned bytes
FILES = {  # split -> images, labels
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
MD5 = (
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
MIRRORS = ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/")


def four_files(
    folder: str,
    md5: Sequence[str],  # in the order of FILES
    mirrors: Sequence[str],
) -> dict[str, tuple[Remote, Remote]]:
    """Images and labels of each split. `folder` separates MNIST and Fashion-MNIST, whose files have the same names."""
    names = [name for pair in FILES.values() for name in pair]
    remotes = [
        Remote(f"{folder}/{name}", digest, tuple(mirror + name for mirror in mirrors))
        for name, digest in zip(names, md5, strict=True)
    ]
    return dict(zip(FILES, zip(remotes[::2], remotes[1::2], strict=True), strict=True))


class IdxSource:
    """The grey images of IDX files, in order."""

    ignored = 0

    def __init__(self, name: str, class_names: Sequence[str], files: Mapping[str, tuple[Remote, Remote]]) -> None:
        self.name = name
        self.class_names = class_names
        self.splits = tuple(files)
        self._files = files
        self._paths = {split: (fetch(images), fetch(labels)) for split, (images, labels) in files.items()}
        counts = []
        for images, labels in self._paths.values():
            counts.append(_header(images, 3)[0])
            if (label_count := _header(labels, 1)[0]) != counts[-1]:
                raise DataError(f"{labels} has {label_count} labels for the {counts[-1]} images of {images.name}.")
        self.count = sum(counts)

    def fingerprint(self) -> Iterator[str]:
        for pair in self._files.values():
            for remote in pair:
                yield f"{remote.name}\t{remote.md5}"

    def items(self) -> Iterator[Item]:
        for split, (image_path, label_path) in self._paths.items():
            images, labels = read_idx(image_path, 3), read_idx(label_path, 1)
            if (highest := labels.max(initial=0)) >= len(self.class_names):
                raise DataError(f"{label_path} has label {highest} for {len(self.class_names)} classes.")
            for index, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield Item(f"{split}/{index}", split, int(label), partial(Image.fromarray, image))


def open_source(spec: str) -> IdxSource:
    """Open MNIST; downloads it unless there are local copies. Raises `DataError` with the remedy."""
    return IdxSource("mnist", tuple("0123456789"), four_files("mnist", MD5, MIRRORS))


def read_idx(
    path: Path,
    dimensions: int,
) -> NDArray[np.uint8]:  # [N, H, W] for 3 dimensions, [N] for 1
    """The array in a gzipped IDX file of bytes. Raises `DataError` unless the data has the size given in the header."""
    shape = _header(path, dimensions)
    data = _read(path)[4 + 4 * dimensions :]
    if len(data) != math.prod(shape):
        raise DataError(f"{path} has {len(data)} bytes of data; its header {shape} says {math.prod(shape)}.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _header(path: Path, dimensions: int) -> tuple[int, ...]:
    """The shape in the header: two zeros, the type, the number of dimensions, then each dimension as 32 bits."""
    header = _read(path, 4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, BYTES, dimensions]):
        begins = header[:4].hex() or "nothing"
        raise DataError(f"{path} is not an IDX file of bytes with {dimensions} dimensions: it begins with {begins}.")
    return tuple(int(size) for size in np.frombuffer(header[4:], ">u4"))


def _read(path: Path, size: int = -1) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unzipped: {error}.") from None
