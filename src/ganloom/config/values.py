"""The types of the values in a configuration: their limits, what may be written for them, and their units.

`kind` (the type in words), `examples` and `unit` go into the JSON schema beside the limits; `ganloom config` and
docs/configuration.md show them.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic.fields import FieldInfo

from ganloom.core import lengths
from ganloom.core.lengths import Length
from ganloom.core.plain_yaml import read_value
from ganloom.core.shapes import parse_size
from ganloom.core.shares import check_window, parse_share, parse_window

__all__ = [
    "Beta",
    "ClassNames",
    "Fraction",
    "Images",
    "Interval",
    "Lengths",
    "NonNegative",
    "NonNegativeInt",
    "PartialShare",
    "Pattern",
    "Positive",
    "PositiveInt",
    "PositiveLength",
    "Share",
    "Size",
    "SplitFolders",
    "Stages",
    "TimeShare",
    "Window",
    "named",
    "unit",
]


def unit(name: str) -> FieldInfo:
    """Metadata for a type: what its numbers count or measure."""
    field: FieldInfo = Field(json_schema_extra={"unit": name})
    return field


PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Images = Annotated[PositiveInt, unit("images")]
Stages = Annotated[NonNegativeInt, unit("stages of the network")]
TimeShare = Annotated[float, Field(gt=0, le=1), unit("share of the time")]


def named(value: Any) -> Any:
    """`net: mlp` for `net: {name: mlp}`."""
    return {"name": value} if isinstance(value, str) else value


def _share(value: Any) -> Any:
    return parse_share(value) if isinstance(value, str) else value


def _written(types: str, kind: str, *examples: Any, unit: str | None = None) -> WithJsonSchema:
    """JSON schema of a value with a special way to write it. `types` are JSON's, separated by spaces."""
    schema = {"type": types.split() if " " in types else types, "kind": kind, "examples": list(examples)}
    return WithJsonSchema(schema | ({"unit": unit} if unit else {}))


PartialShare = Annotated[
    float,
    BeforeValidator(_share),
    Field(ge=0, lt=1),
    _written("number string", "share, at least 0, below 1", "5%", 0.05),
]
Share = Annotated[
    float,
    BeforeValidator(_share),
    Field(ge=0, le=1),
    _written("number string", "share from 0 to 1", "5%", 0.05),
]


def _size(value: Any) -> Any:
    return parse_size(value) if isinstance(value, int | str) else value


Size = Annotated[
    tuple[PositiveInt, PositiveInt],
    BeforeValidator(_size),
    _written("integer string array", "N or HEIGHTxWIDTH", 64, "48x64", unit="pixels"),
]


def _window(value: Any) -> Any:
    return parse_window(value) if isinstance(value, str) else value


def _checked_window(value: tuple[float, float]) -> tuple[float, float]:
    check_window(value)
    return value


Window = Annotated[
    tuple[float, float],
    BeforeValidator(_window),
    AfterValidator(_checked_window),
    _written("string array", "LOW:HIGH", "-1350:150", unit="values of the images"),
]


def _class_names(value: Any) -> Any:
    """`a,b`, or `["a, b", "c"]` where a name has a comma. Names may be numbers."""
    if isinstance(value, str):
        value = read_value(value) if value.startswith("[") else [part.strip() for part in value.split(",")]
    names = value if isinstance(value, list | tuple) else [value] if isinstance(value, int) else None
    if names is None:
        return value
    if any(isinstance(name, bool) for name in names):
        raise ValueError("put class names such as yes and no in quotes: data.classes='[\"yes\"]'")
    return [str(name) if isinstance(name, int) else name for name in names]


ClassNames = Annotated[
    tuple[str, ...],
    BeforeValidator(_class_names),
    _written("string integer array", "list of names", "cat,dog", ["cat", "dog"]),
]


def _split_folders(value: Any) -> Any:
    """`Training=train,Testing=test`, or `none`."""
    if not isinstance(value, str):
        return value
    if value.strip().lower() == "none":
        return {}
    pairs = [part.rpartition("=") for part in value.split(",")]
    if not all(folder.strip() and equals for folder, equals, _ in pairs):
        raise ValueError("write FOLDER=SPLIT, such as Training=train,Testing=test, or none")
    return {folder.strip(): split.strip() for folder, _, split in pairs}


SplitFolders = Annotated[
    dict[str, Literal["train", "val", "test"]],
    BeforeValidator(_split_folders),
    _written("object string", "splits of folders, or none", "Training=train,Testing=test", "none"),
]


def _checked_pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error})") from None
    return value


Pattern = Annotated[str, AfterValidator(_checked_pattern), _written("string", "regular expression", r"person(\d+)")]


def _positive(length: Length) -> Length:
    if length.amount <= 0:
        raise ValueError("length must be positive, such as '30 epochs' or '10 minutes'")
    return length


_INTERVAL = "epochs, kimg (1,000 images), images or steps"
PositiveLength = Annotated[
    Length,
    AfterValidator(_positive),
    _written("string", "length", "30 epochs", "200 kimg", "10 minutes", unit=f"{_INTERVAL}; time"),
]
Interval = Annotated[lengths.Interval, _written("string", "length", "2 epochs", "20 kimg", "500 steps", unit=_INTERVAL)]


def _lengths(value: Any) -> Any:
    return [value] if isinstance(value, str | Length) else value


Lengths = Annotated[
    tuple[lengths.Interval, ...],
    BeforeValidator(_lengths),
    Field(min_length=1),
    _written("string array", "length or list of lengths", "5 kimg", ["2 kimg", "8 kimg"], unit=_INTERVAL),
]
