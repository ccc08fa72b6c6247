"""Read rows of an array as images: which axis holds the channels, and which values are black and white."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import RefusedError
from ganloom.data.sources.npy import Array

__all__ = ["Axes", "Values", "Window", "find_axes", "find_values", "is_one_image", "to_image"]

Window = tuple[float, float]  # the values that become black and white

CHANNELS = (1, 3, 4)
MAX_PIXELS = 2**27  # of one image: a damaged header may state any size
MIN_SIDE = 8  # of an image: shorter axes may be channels
COLOUR_BITS = (8, 10, 12, 14, 16)  # that the integers of a colour image may have
TOLERANCE = 1e-3  # of the range of floats: rounding


@dataclass(frozen=True)
class Axes:
    """How the axes of one row are read: as H, W or H, W, C (`HW`, `HWC`), as `CHW`, or as a `flat` square image."""

    order: str

    def upright(self, row: NDArray[Any]) -> NDArray[Any]:  # [H, W] or [H, W, C]
        if self.order == "flat":
            side = math.isqrt(row.size)
            return row.reshape(side, side)
        row = row.transpose(1, 2, 0) if self.order == "CHW" else row
        return row[..., 0] if row.ndim == 3 and row.shape[2] == 1 else row


@dataclass(frozen=True)
class Values:
    """The values that are black and white. Both None: not known; then grey images are windowed by percentiles.

    Grey images keep their values, of which the two are the window. Colours are scaled to 0..255.
    """

    black: float | None = None
    white: float | None = None


def is_one_image(array: Array) -> bool:
    """Whether one of many files of arrays holds a single image, not a batch."""
    shape = array.shape
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in CHANNELS and min(shape[:2]) >= MIN_SIDE)


def find_axes(array: Array, has_labels: bool) -> Axes:
    """How the rows of an array of images are read. Raises `DataError` with the remedy if they are no images."""
    where, shape = array.where, array.shape
    if 0 in shape:
        raise DataError(f"{where} is empty, its shape is {shape}: save it with at least one image.")
    axes = _axes(shape, array.is_image)
    if axes is None and has_labels and len(shape) == 2 and _side(shape[1]):
        axes = Axes("flat")
    if axes is None:
        raise DataError(f"{where} has shape {shape}{_remedy(shape, array)}")
    if math.prod(shape[1:3]) > MAX_PIXELS:
        raise DataError(
            f"{where} has shape {shape}: an image may have at most {MAX_PIXELS:,} pixels. Make them smaller."
        )
    if array.dtype.kind not in "biuf":
        raise DataError(f"{where} is {array.dtype}, not numbers: save it with .astype('uint8').")
    return axes


def find_values(arrays: Sequence[tuple[Array, Axes]], count: int = 512) -> dict[str, Values]:
    """The values of black and white for each type of number, from some rows of all arrays. Raises `DataError`."""
    found: dict[str, Values] = {}
    for name in dict.fromkeys(array.dtype.name for array, _ in arrays):
        alike = [(array, axes) for array, axes in arrays if array.dtype.name == name]
        if name != "uint8":
            share = max(1, count // len(alike))
            step = max(1, len(alike) // count)
            rows = ((row, axes) for array, axes in alike[::step] for row in array.some(share))
            colour = any(axes.upright(row).ndim == 3 for array, axes in alike[:1] for row in array.some(1))
            found[name] = _values(alike[0][0], _Range(row for row, _ in rows), colour)
    return found


def to_image(row: NDArray[Any], axes: Axes, values: Values | None) -> Image.Image:
    """The image of one row; `values` are None for uint8. Raises `RefusedError` for values that are no colours."""
    row = axes.upright(row)
    if values is None:
        return Image.fromarray(np.ascontiguousarray(row))
    if row.ndim == 2 and row.dtype.kind != "b":
        return _deep(row)
    assert values.black is not None and values.white is not None
    if not np.isfinite(row).all():
        raise RefusedError("has NaN or infinite values")
    scale = 255 / (values.white - values.black)
    slack = TOLERANCE * (values.white - values.black)
    if row.min() < values.black - slack or row.max() > values.white + slack:
        raise RefusedError(
            f"has values from {row.min():g} to {row.max():g}, but others lie between {values.black:g} and "
            f"{values.white:g}: clip them"
        )
    return Image.fromarray(((row.astype(np.float64) - values.black) * scale).round().clip(0, 255).astype(np.uint8))


def _deep(row: NDArray[Any]) -> Image.Image:  # [H, W]
    """A grey image of more than 8 bits, with its values unchanged."""
    if row.dtype == np.uint16:
        return Image.fromarray(row.astype("<u2"))
    if (row.dtype.kind == "i" and row.dtype.itemsize <= 4) or (row.dtype == np.uint8):
        return Image.fromarray(row.astype(np.int32))
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, and the image is skipped
        return Image.fromarray(row.astype(np.float32))


def _axes(shape: tuple[int, ...], is_image: bool) -> Axes | None:
    if len(shape) == 4 and shape[3] in CHANNELS:
        return Axes("HWC")
    if len(shape) == 4 and shape[1] in CHANNELS and min(shape[2:]) > 2:
        return Axes("CHW")
    looks_like_one = len(shape) == 3 and shape[2] in (3, 4) and min(shape[:2]) >= MIN_SIDE
    if len(shape) == 3 and (is_image or not looks_like_one):
        return Axes("HW")
    return None


def _side(size: int) -> int:
    """Height and width of a square grey image of so many pixels; 0 if there is none."""
    side = math.isqrt(size)
    return side if side * side == size and side >= MIN_SIDE else 0


def _remedy(shape: tuple[int, ...], array: Array) -> str:
    """Why a shape is not read, and what to do, to end a sentence."""
    if len(shape) == 2 and (side := _side(shape[1])):
        return f": if each row is an image, save it with .reshape(-1, {side}, {side})."
    if len(shape) == 2 and shape[1] % 3 == 0 and (side := _side(shape[1] // 3)):
        return (
            f": if each row is an image, save it with .reshape(-1, {side}, {side}, 3), or with .reshape(-1, 3, {side}, "
            f"{side}) for rows of three planes."
        )
    if len(shape) in (2, 3) and min(shape[:2]) >= MIN_SIDE:
        folder = array.path.parent
        return (
            f", which looks like a single image: give the folder of such files, or the quoted pattern "
            f"'{folder / ('*' + array.path.suffix)}'. Many images in one file have shape [N, H, W] or [N, H, W, C]."
        )
    if len(shape) == 4 and shape[2] in CHANNELS and min(shape[:2]) >= MIN_SIDE:
        return ", which looks like [H, W, C, N]: save it with .transpose(3, 0, 1, 2)."
    if len(shape) == 4:
        return (
            ": its last axis should have 1, 3 or 4 channels. If it holds volumes, save their slices with "
            f".reshape(-1, {shape[2]}, {shape[3]})."
        )
    return ": it should be [N, H, W], or [N, H, W, C] with 1, 3 or 4 channels."


class _Range:
    """The lowest and highest finite value of some rows, and whether all are whole numbers."""

    def __init__(self, rows: Iterable[NDArray[Any]]) -> None:
        self.low, self.high, self.whole = math.inf, -math.inf, True
        for row in rows:
            row = row[np.isfinite(row)]
            if row.size:
                self.low, self.high = min(self.low, float(row.min())), max(self.high, float(row.max()))
                self.whole = self.whole and (row.dtype.kind != "f" or bool((row == np.rint(row)).all()))


def _values(array: Array, seen: _Range, colour: bool) -> Values:
    """The values of black and white that a range of values suggests. Raises `DataError` for colours that have none."""
    low, high, kind = seen.low, seen.high, array.dtype.kind
    if kind == "b":
        return Values(0, 1)
    if kind == "f" and low >= -TOLERANCE and 0.5 < high <= 1 + TOLERANCE:
        return Values(0, 1)
    if kind == "f" and -1 - TOLERANCE <= low < 0 and 0.5 < max(-low, high) <= 1 + TOLERANCE:
        return Values(-1, 1)
    if low >= 0 and seen.whole and 128 <= high <= 255:
        return Values(0, 255)
    if not colour:
        return Values()
    if low >= 0 and kind == "f" and 1 < high <= 255:
        return Values(0, 255)
    if low >= 0 and kind != "f" and 255 < high < 2**16:
        return Values(0, next(2**bits - 1 for bits in COLOUR_BITS if high < 2**bits))
    said = f"values from {low:g} to {high:g}" if low <= high else "no finite values"
    raise DataError(
        f"{array.where} holds colours of type {array.dtype} with {said}, and which are black and white is not clear: "
        "scale them to 0..255 and save them with .clip(0, 255).astype('uint8')."
    )
