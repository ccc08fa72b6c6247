"""Parquet files with a column of encoded images, as Hugging Face publishes them. Needs ganloom[parquet].

Images are a column of bytes, or of records with the bytes in `bytes`. Rows are read in groups, not the whole file.
"""

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganloom.config import Reading
from ganloom.core.errors import DataError
from ganloom.core.files import user_path
from ganloom.core.names import nearest
from ganloom.core.plain_json import read_json
from ganloom.data.sources.contract import SPLITS, Opener, Remark, open_image, refused
from ganloom.data.sources.damage import damage
from ganloom.data.sources.parts import Part, PartsSource, files_in, splits_of_paths, top_of

__all__ = ["SETTINGS", "open_source"]

SETTINGS = frozenset({"label_column"})
"""The keys of `Reading` that are followed."""

LABELS = ("label", "labels", "fine_label", "class", "target", "category")
ROWS = 64  # read at a time
UNREADABLE = (OSError, ValueError, RuntimeError, LookupError, TypeError)
"""The classes from which pyarrow's own errors derive."""
NOT_PARQUET = "cannot be read as parquet"


def open_source(spec: str, reading: Reading) -> PartsSource:
    """Open a file, or a folder of files. Raises `DataError` if it has no images, or if pyarrow is not installed."""
    given = user_path(spec)
    paths = [path for path in files_in(given) if path.suffix.lower() == ".parquet"] if given.is_dir() else [given]
    with _file(paths[0]) as file:
        schema = file.schema_arrow
    image, inside = _image_column(paths[0], schema)
    label = _label_column(paths[0], schema, reading.label_column)
    splits = splits_of_paths(paths, top_of(given, paths))
    parts = []
    for path, split in zip(paths, splits, strict=True):
        with _file(path) as file:  # open only meanwhile: there may be thousands
            if image not in file.schema_arrow.names or (label and label not in file.schema_arrow.names):
                raise DataError(f"{path} has other columns than {paths[0].name}: give one, or separate folders.")
            labels, rows = None if label is None else _labels(path, file, label), file.metadata.num_rows
        name = f"{path.name}/{split}" if len(paths) > 1 else split
        images = partial(_images, path, image, inside)
        parts.append(Part(name, split, rows, images, labels, f"the labels of {path}", may_lack=True))
    parts.sort(key=lambda part: SPLITS.index(part.split))
    others = [name for name in schema.names if name not in (image, label)]
    left = f"; not read: {', '.join(others)} (labels: data.label_column, --label-column NAME)" if others else ""
    said = f"labels from '{label}'" if label else "no labels"
    remark = Remark("columns", f"images from '{image}', {said}{left}")
    return PartsSource(
        given,
        paths,
        parts,
        class_names=_class_names(schema, label),
        remarks=[remark],
        key=[f"labels in {label}"],
    )


def _file(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise DataError("parquet files need the package pyarrow: pip install 'ganloom[parquet]'.") from None
    with damage(path, NOT_PARQUET, UNREADABLE):
        return pyarrow.parquet.ParquetFile(path)


def _image_column(path: Path, schema: Any) -> tuple[str, bool]:
    """The name of the first column with the bytes of images, and whether they are inside records."""
    import pyarrow.types as types

    for field in schema:
        if types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return field.name, True
    for field in schema:
        if types.is_binary(field.type) or types.is_large_binary(field.type):
            return field.name, False
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    raise DataError(
        f"{path} has no column with the bytes of images, only {columns}. For pixels in other columns, write a "
        "reader of your own: ./reader.py (see CONTRIBUTING.md)."
    )


def _label_column(path: Path, schema: Any, wanted: str | None) -> str | None:
    if wanted is not None:
        if wanted not in schema.names:
            raise DataError(f"{path} has no column '{wanted}'. {nearest(wanted, schema.names)}")
        return wanted
    return next((name for name in schema.names if name.lower() in LABELS), None)


def _labels(path: Path, file: Any, column: str) -> Any:
    """The labels of all rows; -1 or "" for a row without one."""
    with damage(path, NOT_PARQUET, UNREADABLE):
        values = file.read(columns=[column]).column(0).to_pylist()
    if any((isinstance(value, float) and not value.is_integer()) or isinstance(value, list | dict) for value in values):
        raise DataError(f"column '{column}' of {path} holds no classes: name another one with --label-column.")
    if all(value is None or isinstance(value, int | float) for value in values):
        return np.array([-1 if value is None or value < 0 else value for value in values], np.int64)
    return np.array(["" if value is None else str(value) for value in values])


def _class_names(schema: Any, label: str | None) -> list[str]:
    """The names that Hugging Face's library wrote into the file; [] without them."""
    try:
        features = read_json(schema.metadata[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (LookupError, TypeError, ValueError):
        return []


def _images(path: Path, column: str, inside: bool) -> Iterator[Opener]:
    with damage(path, "is damaged", UNREADABLE), _file(path) as file:
        for batch in file.iter_batches(ROWS, columns=[column]):
            for value in batch.column(0):
                content = value.as_py()
                content = (content or {}).get("bytes") if inside else content
                yield partial(_open, content) if content else refused("this row has no image")


def _open(content: bytes) -> Image.Image:
    return open_image(io.BytesIO(content))
