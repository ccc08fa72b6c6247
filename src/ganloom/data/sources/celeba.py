"""CelebA (Liu, Luo, Wang, Tang 2015): 202,599 aligned faces, 178x218, forty attributes. For non-commercial research.

The files must be downloaded by hand: put img_align_celeba.zip into `GANLOOM_DATA`. With list_attr_celeba.txt beside it,
the attributes are the labels; list_eval_partition.txt gives the splits.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import SPLITS, Item, Label, Remark, open_image
from ganloom.data.sources.fetch import Remote, fetch, local_data

__all__ = ["CelebaSource", "open_source"]

PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
IMAGES = Remote("img_align_celeba.zip", "00d2c5bc6d35e252742224ab0c1e8fcb", page=PAGE)
ATTRIBUTES = Remote("list_attr_celeba.txt", "75e246fa4810816ffd6ee81facbd244c", page=PAGE)
PARTITION = Remote("list_eval_partition.txt", "d32c9cbf5e040fd4025c592c306e6668", page=PAGE)
MAX_BYTES = 64 * 2**20  # of one image, unzipped
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


class CelebaSource:
    """The faces in order of their numbers, with labels and splits if their lists lie beside the images."""

    name = "celeba"
    ignored = 0
    remarks: Sequence[Remark] = ()

    def __init__(self) -> None:
        self._path = fetch(IMAGES)
        self._attributes = _lines(
            ATTRIBUTES
        )  # a count, the names, then per image its name and 1 or -1 for each attribute
        self._partition = _lines(PARTITION)  # per image its name and 0, 1 or 2
        self.class_names = self._attributes[1].split() if self._attributes else []
        self._split_of = {name: SPLITS[int(number)] for name, number in map(str.split, self._partition)}
        self.splits = [split for split in SPLITS if split in self._split_of.values()] or ["train"]

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self._path)  # it locks its reads, so any thread may open an image

    @cached_property
    def _images(self) -> list[zipfile.ZipInfo]:
        images = [info for info in self._zip.infolist() if info.filename.endswith(".jpg")]
        return sorted(images, key=lambda info: info.filename)

    @property
    def count(self) -> int:
        return len(self._images)

    def fingerprint(self) -> Iterator[str]:
        for remote, used in ((IMAGES, True), (ATTRIBUTES, self._attributes), (PARTITION, self._partition)):
            if used:
                yield f"{remote.name}\t{remote.md5}"

    def items(self) -> Iterator[Item]:
        present = dict(line.split(maxsplit=1) for line in self._attributes[2:])
        for info in self._images:
            name = PurePosixPath(info.filename).name
            try:
                split = self._split_of[name] if self._partition else "train"
                label: Label = (
                    np.array([word == "1" for word in present[name].split()], np.float32) if present else None
                )
            except KeyError:
                raise DataError(
                    f"{name} of {self._path} is not in the lists beside it: download all files from {PAGE}."
                ) from None
            yield Item(info.filename, split, label, partial(self._open, info))

    def _open(self, info: zipfile.ZipInfo) -> Image.Image:
        if info.file_size > MAX_BYTES:
            raise OSError(f"it has {info.file_size} bytes; an image may have at most {MAX_BYTES}")
        try:
            with self._zip.open(info) as file:
                data = file.read(info.file_size)  # with the size, so that one that unzips to more is not read further
        except DAMAGED as error:
            raise OSError(f"it cannot be unzipped: {error}") from None
        return open_image(io.BytesIO(data))


def open_source(spec: str) -> CelebaSource:
    """Open CelebA. Raises `DataError`, which says which file to put where."""
    return CelebaSource()


def _lines(remote: Remote) -> list[str]:
    """The lines of a verified list; none if the list is not there."""
    home = local_data()
    return fetch(remote).read_text().splitlines() if home and (home / remote.name).exists() else []
