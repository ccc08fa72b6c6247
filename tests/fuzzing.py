"""Damaged and hostile files for every reader of foreign bytes: only a `GanloomError`, or a reason to skip an image, may
come of them.

A target makes good files once, and reads them again after some bytes of one of them were changed. The changes follow
from a seed, so every finding can be repeated: `scripts/fuzz TARGET --seed N --only I`.
"""

import contextlib
import gzip
import io
import json
import pickle
import random
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ganloom.config import Config, Reading, recipe_values
from ganloom.core.errors import GanloomError
from ganloom.core.sealed import CHECKSUM
from ganloom.data.decode import Preprocessing, decode
from ganloom.data.packed import open_packed
from ganloom.data.sources import find
from ganloom.metrics.scores import read_scores
from ganloom.models import modelfile
from ganloom.report.history import read_history
from ganloom.runs import RunFolder, checkpoints

__all__ = ["TARGETS", "Target", "attempt", "prepare"]

SIDE = 12  # of the images


@dataclass(frozen=True)
class Target:
    """One reader: what it reads, and how."""

    make: Callable[[Path], None]  # writes good files into a folder
    read: Callable[[Path], object]  # reads the folder; must raise nothing but GanloomError
    changed: str = "*"  # pattern of the files that are changed


def prepare(name: str, folder: Path) -> None:
    """Write the good files of a target, and check that they can be read."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    TARGETS[name].make(folder)
    TARGETS[name].read(folder)


def attempt(name: str, good: Path, folder: Path, seed: int) -> Path:
    """Read a copy of the good files, one of which was changed as `seed` says. Returns the changed file.

    Raises whatever the reader raises, other than `GanloomError`.
    """
    draw = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    file = draw.choice(sorted(path for path in folder.rglob(TARGETS[name].changed) if path.is_file()))
    content = file.read_bytes()
    structured = file.suffix in (".json", ".jsonl", ".yaml") and draw.random() < 0.6
    file.write_bytes(_changed_text(content, draw) if structured else _changed_bytes(content, draw))
    with contextlib.suppress(GanloomError):
        TARGETS[name].read(folder)
    return file


# Changes

VALUES = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**70, -0.5, 1e308, "", "x", "²", "../../x", "\x00", "\x1b[31m", [], {}, [[]],
    ["x"] * 100, {"a": 1}, "9" * 5000, "NaN",
]  # fmt: skip
NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1]


def _changed_bytes(content: bytes, draw: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        size = len(data)
        place = draw.randrange(min(size, draw.choice((64, 512, size or 1))) or 1)
        kind = draw.randrange(6)
        if kind == 0 and size:
            data[min(place, size - 1)] = draw.randrange(256)
        elif kind == 1 and size:
            data[min(place, size - 1)] ^= 1 << draw.randrange(8)
        elif kind == 2:
            width = draw.choice((1, 2, 4, 8))
            number = draw.choice(NUMBERS) % 256**width
            data[place : place + width] = number.to_bytes(width, draw.choice(("little", "big")))
        elif kind == 3:
            del data[place : place + draw.choice((1, 4, 64, size))]
        elif kind == 4:
            data[place:place] = data[draw.randrange(size or 1) :][: draw.choice((1, 16, 256))]
        else:
            data[place:place] = bytes(draw.randrange(256) for _ in range(draw.choice((1, 4, 64))))
    return bytes(data)


def _changed_text(content: bytes, draw: random.Random) -> bytes:
    """JSON, or lines of JSON, with a value somewhere in it replaced; YAML is JSON with one value too many."""
    lines = content.splitlines()
    number = draw.randrange(len(lines)) if lines and content.startswith(b"{") and len(lines) > 1 else None
    try:
        value = json.loads(content if number is None else lines[number])
    except ValueError:
        try:
            value, number = json.loads(content), None
        except ValueError:
            return content.replace(b": ", b": " + json.dumps(draw.choice(VALUES)).encode() + b" ", 1)
    other = _with_another_value(value, draw)
    if isinstance(other, dict) and CHECKSUM in other and draw.random() < 0.9:
        del other[CHECKSUM]  # as in files of earlier versions: otherwise nothing behind the checksum would be tried
    changed = json.dumps(other).encode()
    if draw.random() < 0.05:
        changed = b"[" * 20_000 + changed
    if number is None:
        return changed
    return b"\n".join([*lines[:number], changed, *lines[number + 1 :]]) + b"\n"


def _with_another_value(value: Any, draw: random.Random) -> Any:
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(sorted(value))
        if draw.random() < 0.1:
            return {each: value[each] for each in value if each != key}
        return {**value, key: _with_another_value(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.85:
        place = draw.randrange(len(value))
        return [*value[:place], _with_another_value(value[place], draw), *value[place + 1 :]]
    return draw.choice(VALUES)


# Good files


def _picture(seed: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def _encoded(seed: int, kind: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    _picture(seed, mode).save(out, kind, **options)
    return out.getvalue()


def _images(folder: Path) -> None:
    for index, (kind, suffix, mode, options) in enumerate(
        [
            ("PNG", "png", "RGB", {}), ("PNG", "png", "P", {}), ("PNG", "png", "LA", {}), ("JPEG", "jpg", "RGB", {}),
            ("JPEG", "jpg", "CMYK", {}), ("GIF", "gif", "P", {"save_all": True}), ("BMP", "bmp", "RGB", {}),
            ("TIFF", "tif", "RGB", {"compression": "tiff_lzw"}), ("TIFF", "tif", "L", {}), ("WEBP", "webp", "RGB", {}),
            ("PPM", "ppm", "RGB", {}), ("TGA", "tga", "RGB", {}), ("JPEG2000", "jp2", "RGB", {}),
        ]
    ):  # fmt: skip
        (folder / f"{index}.{suffix}").write_bytes(_encoded(index, kind, mode, **options))


def _zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(6):
            archive.writestr(f"class{index % 2}/{index}.png", _encoded(index, "PNG"))
        archive.writestr("dataset.json", json.dumps({"labels": [[f"class{i % 2}/{i}.png", i % 2] for i in range(6)]}))


def _tar(folder: Path) -> None:
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        with tarfile.open(folder / f"x.{suffix}", mode) as archive:  # type: ignore[call-overload]
            for index in range(4):
                content = _encoded(index, "PNG")
                info = tarfile.TarInfo(f"class{index % 2}/{index}.png")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def _arrays(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8)
    np.save(folder / "x.npy", images)
    np.savez_compressed(folder / "x.npz", images=images, labels=np.arange(6) % 2)
    np.save(folder / "floats.npy", (images / 255).astype(np.float32))
    np.savez(folder / "texts.npz", X_train=images.transpose(0, 3, 1, 2), Y_train=np.array(["cat", "dog"] * 3))


def _pixels(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, SIDE * SIDE))
    head = "label," + ",".join(f"pixel{index}" for index in range(SIDE * SIDE))
    lines = [f"{index % 2}," + ",".join(map(str, row)) for index, row in enumerate(images)]
    (folder / "train.csv").write_text("\n".join([head, *lines]))
    lines = [f"{index % 2},{' '.join(map(str, row))},Training" for index, row in enumerate(images)]
    (folder / "fer.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]))


def _batches(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 3 * SIDE * SIDE), dtype=np.uint8)
    for protocol in (2, 4, 5):
        content = pickle.dumps({b"data": images, b"labels": [0, 1] * 3, b"names": [b"a.png"] * 6}, protocol)
        (folder / f"data_batch_{protocol}").write_bytes(content)


def _idx(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE), dtype=np.uint8)
    content = struct.pack(">IIII", 2051, *images.shape) + images.tobytes()
    (folder / "train-images-idx3-ubyte").write_bytes(content)
    (folder / "test-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 6) + bytes([0, 1] * 3))


def _parquet(folder: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    images = [{"bytes": _encoded(index, "PNG"), "path": None} for index in range(6)]
    table = pyarrow.table({"image": images, "label": [0, 1] * 3})
    pyarrow.parquet.write_table(table, folder / "train.parquet")


def _stacks(folder: Path) -> None:
    for kind, suffix in (("TIFF", "tif"), ("GIF", "gif"), ("PNG", "png"), ("WEBP", "webp")):
        others = [_picture(index) for index in range(1, 4)]
        (folder / f"x.{suffix}").write_bytes(_encoded(0, kind, save_all=True, append_images=others))
    (folder / "x.jpg").write_bytes(_encoded(0, "JPEG")[:-2])


def _listing(folder: Path) -> None:
    for index in range(6):
        (folder / f"{index}.png").write_bytes(_encoded(index, "PNG"))
    (folder / "dataset.json").write_text(json.dumps({"labels": [[f"{i}.png", i % 2] for i in range(6)]}))


def _table(folder: Path) -> None:
    for index in range(6):
        (folder / f"{index}.png").write_bytes(_encoded(index, "PNG"))
    rows = "".join(f"{i}.png,{'cat' if i % 2 else 'dog'},p{i // 2}\n" for i in range(6))
    (folder / "labels.csv").write_text("file_name,label,patient_id\n" + rows)


def _packed(folder: Path) -> None:
    from ganloom.data.prepare import prepare as pack

    _arrays(folder)
    made = pack(find(str(folder / "x.npz")), Preprocessing(), dest=folder / "packed")
    assert made.count()
    for name in ("x.npy", "x.npz"):
        (folder / name).unlink()


def _dicom(folder: Path) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    for index in range(2):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{index}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.Rows = data.Columns = SIDE
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PixelData = np.random.default_rng(index).integers(0, 4096, (SIDE, SIDE), dtype=np.uint16).tobytes()
        data.save_as(folder / f"{index}.dcm")


def _header() -> modelfile.Header:
    training = {"nimg": 32, "recipe": "dcgan-32"}
    options = {"width": 8}
    return modelfile.Header(
        net="dcgan", latent=4, options=options, shape=(3, 32, 32), labels=False, class_names=[], training=training
    )


def _model(folder: Path) -> None:
    modelfile.write(folder / "model.safetensors", _header().build(), _header())


def _checkpoints(folder: Path) -> None:
    from ganloom.core import tensors
    from ganloom.core.files import sha256

    data = tensors.pack(_header().build().state_dict())
    (folder / "000000000032.safetensors").write_bytes(data)
    manifest = {"format": 3, "nimg": 32, "seconds": 1.5, "sha256": sha256(data), "torch": "2"}
    (folder / "000000000032.json").write_text(json.dumps(manifest))


def _run(folder: Path) -> None:
    values = recipe_values("dcgan-32")
    values["data"] = {"source": "shapes:32"}
    (folder / "config.yaml").write_text(Config.build(values, {}).yaml())
    rows = [{"nimg": 16 * i, "loss_d": 1.0, "fd[loomnet-1]@64": 5.0 - i} for i in range(4)]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("run.json", "changes.json", "status.json", "scores.json"):
        (folder / name).write_text("{}")


# Readers


def _decode_all(spec: Path, frames: Literal["first", "all"] = "first") -> None:
    for item in find(Reading(source=str(spec), frames=frames)).items():
        decode(item, Preprocessing(), lambda: (0.0, 4095.0))


def _each_file(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        with contextlib.suppress(GanloomError):
            _decode_all(path)


def _both(folder: Path) -> None:
    """As a folder, and each file alone."""
    with contextlib.suppress(GanloomError):
        _decode_all(folder)
    _each_file(folder)


def _read_packed(folder: Path) -> None:
    dataset = open_packed(folder / "packed")
    for split in dataset.splits:
        for _ in dataset.rows(split):
            pass


def _read_run(folder: Path) -> None:
    run = RunFolder(folder)
    for read in (
        lambda: run.config, lambda: run.facts, lambda: run.status, lambda: run.changes,
        lambda: read_history(run.log)["loss_d"], lambda: read_scores(run.scores), run.grids, run.saved_seconds,
    ):  # fmt: skip
        with contextlib.suppress(GanloomError):
            read()


def _read_checkpoints(folder: Path) -> None:
    from ganloom.core import tensors

    tensors.unpack(checkpoints.newest(folder))
    checkpoints.reached(folder)


TARGETS: dict[str, Target] = {
    "images": Target(_images, _decode_all),
    "zip": Target(_zip, _each_file),
    "tar": Target(_tar, _each_file),
    "arrays": Target(_arrays, _each_file),
    "pixels": Target(_pixels, _each_file),
    "batches": Target(_batches, _both),
    "idx": Target(_idx, _both),
    "parquet": Target(_parquet, _both),
    "stacks": Target(_stacks, lambda folder: _decode_all(folder, "all")),
    "listing": Target(_listing, _decode_all, "dataset.json"),
    "table": Target(_table, _decode_all, "labels.csv"),
    "packed": Target(_packed, _read_packed),
    "dicom": Target(_dicom, _decode_all, "*.dcm"),
    "model": Target(_model, lambda folder: modelfile.read(folder / "model.safetensors")),
    "checkpoint": Target(_checkpoints, _read_checkpoints),
    "run": Target(_run, _read_run),
}
