"""CIFAR-10 (Krizhevsky 2009): 60,000 colour photographs, 32x32, ten classes. The binary version needs no pickle."""

import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import SPLITS, Item, Remark, stamp
from ganloom.data.sources.fetch import Remote, fetch, local_data

__all__ = ["CifarSource", "Published", "open_source"]

SIDE = 32
PIXELS = 3 * SIDE * SIDE
DAMAGED = (OSError, EOFError, KeyError, tarfile.TarError, zlib.error)


@dataclass(frozen=True)
class Published:
    """Files, sizes and classes of CIFAR-10 or CIFAR-100."""

    name: str
    archive: Remote
    folder: str  # the folder in the archive
    files: Mapping[str, str]  # batch file -> split
    counts: Mapping[str, int]  # images of each split in the archive
    label_bytes: int  # label bytes before the pixels of a record; the last one is the class
    class_names: tuple[str, ...]


PUBLISHED = Published(
    name="cifar10",
    archive=Remote(
        "cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        urls=(  # a mirror first: the original site has been slow (70 kB/s) since 2026; the MD5 is checked
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
        ),
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    folder="cifar-10-batches-bin",
    files={**{f"data_batch_{number}.bin": "train" for number in range(1, 6)}, "test_batch.bin": "test"},
    counts={"train": 50_000, "test": 10_000},
    label_bytes=1,
    class_names=(
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ),
)  # fmt: skip


class CifarSource:
    """The batch files in order, from the verified archive or from its unpacked folder in `GANLOOM_DATA`.

    No checksums are published for the unpacked files: they must have whole records with valid labels.
    """

    ignored = 0
    remarks: Sequence[Remark] = ()

    def __init__(self, published: Published) -> None:
        self.name = published.name
        self.class_names = published.class_names
        self._published = published
        self._folder: Path | None = None
        home = local_data()
        if home and (home / published.folder).is_dir() and not (home / published.archive.name).exists():
            self._folder = home / published.folder
            self._counts = self._count_records(self._folder)
        else:
            self._archive = fetch(published.archive)
            self._counts = dict(published.counts)

    @property
    def splits(self) -> list[str]:
        return [split for split in SPLITS if self._counts.get(split)]

    @property
    def count(self) -> int:
        return sum(self._counts.values())

    def fingerprint(self) -> Iterator[str]:
        if self._folder is None:
            yield f"{self._published.archive.name}\t{self._published.archive.md5}"
            return
        for file in self._published.files:
            yield stamp(self._folder / file)

    def items(self) -> Iterator[Item]:
        before = self._published.label_bytes
        for file, split in self._published.files.items():
            records = self._records(file)  # one file at a time: the whole set is 180 MB
            for index, (label, pixels) in enumerate(zip(records[:, before - 1], records[:, before:], strict=True)):
                yield Item(f"{file}/{index}", split, int(label), partial(_picture, pixels))

    def _count_records(self, folder: Path) -> dict[str, int]:
        if missing := [file for file in self._published.files if not (folder / file).is_file()]:
            raise DataError(f"{folder} lacks {', '.join(missing)}: unpack {self._published.archive.name} again.")
        counts = dict.fromkeys(self._published.counts, 0)
        for file, split in self._published.files.items():
            size = (folder / file).stat().st_size
            count, rest = divmod(size, self._published.label_bytes + PIXELS)
            if rest:
                raise DataError(
                    f"{folder / file} is damaged, {size} bytes are not a whole number of images: {self._remedy}"
                )
            counts[split] += count
        return counts

    def _records(self, file: str) -> NDArray[np.uint8]:  # [N, label bytes + 3072]
        where = f"{file} of {self._folder or self._archive}"
        try:
            data = (self._folder / file).read_bytes() if self._folder else self._member(file)
        except DAMAGED as error:
            raise DataError(f"{where} cannot be read ({error}): {self._remedy}") from None
        width = self._published.label_bytes + PIXELS
        if len(data) % width:
            raise DataError(f"{where} is damaged, {len(data)} bytes are not a whole number of images: {self._remedy}")
        records = np.frombuffer(data, np.uint8).reshape(-1, width)
        classes = len(self.class_names)
        if (highest := records[:, self._published.label_bytes - 1].max(initial=0)) >= classes:
            raise DataError(f"{where} is damaged, it has label {highest} for {classes} classes: {self._remedy}")
        return records

    def _member(self, file: str) -> bytes:
        with tarfile.open(self._archive, "r:gz") as archive:
            member = archive.extractfile(f"{self._published.folder}/{file}")
            return member.read() if member else b""

    @property
    def _remedy(self) -> str:
        return f"replace it with the file in {self._published.archive.name}."


def open_source(spec: str) -> CifarSource:
    """Open CIFAR-10; downloads it unless there is a local copy. Raises `DataError` with the remedy."""
    return CifarSource(PUBLISHED)


def _picture(
    planes: NDArray[np.uint8],  # [3072]: red, green, blue
) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(planes.reshape(3, SIDE, SIDE).transpose(1, 2, 0)))
