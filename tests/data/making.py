"""Pictures, files and prepared datasets for the tests of this folder."""

import csv
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.sources import find

NO_HOLDOUT = Selection(holdout=0)

# How an EXIF orientation stores an upright picture.
STORED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image),
    7: lambda image: image.swapaxes(0, 1)[::-1, ::-1],
    8: lambda image: np.rot90(image, -1),
}


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    array = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return array[..., 0] if channels == 1 else array


def encoded(image: NDArray[Any] | Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format=format, **options)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pictures(folder: Path, *names: str, size: tuple[int, int] = (4, 5)) -> Path:
    """Write a different grey picture under each name."""
    for seed, name in enumerate(names):
        write(folder / name, encoded(noise(*size, 1, seed)))
    return folder


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def png_header(width: int, height: int) -> bytes:
    """A small PNG file whose header states this size."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1000))),
        (b"IEND", b""),
    ]
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def prepared(
    source: Path | str,
    dest: Path,
    preprocessing: Preprocessing | None = None,
    selection: Selection = NO_HOLDOUT,
    **options: Any,
) -> PackedDataset:
    return prepare(find(str(source)), preprocessing or Preprocessing(), selection, dest, **options)


def rows(dataset: PackedDataset, split: str = "train") -> NDArray[np.uint8]:
    return dataset.images(np.arange(dataset.count(split)), split)


def labels(dataset: PackedDataset, split: str = "train") -> list[Any]:
    return list(dataset.labels(np.arange(dataset.count(split)), split).tolist())


def entries(dataset: PackedDataset) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (dataset.path / "files.jsonl").read_text(encoding="utf-8").splitlines()]


def packed_by_name(dataset: PackedDataset) -> dict[str, NDArray[np.uint8]]:
    """Each packed image under the name it had."""
    places = dict.fromkeys(dataset.splits, 0)
    result = {}
    for entry in entries(dataset):
        if split := entry.get("split"):
            result[entry["file"]] = dataset.images(np.array([places[split]]), split)[0]
            places[split] += 1
    return result


def skipped(dataset: PackedDataset) -> dict[str, str]:
    path = dataset.path / "skipped.csv"
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return dict(list(csv.reader(file))[1:])


def bytes_of(dataset: PackedDataset) -> dict[str, bytes]:
    """Every file of a dataset."""
    return {path.name: path.read_bytes() for path in sorted(dataset.path.iterdir())}
