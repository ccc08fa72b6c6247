"""Which values of images of more than 8 bits become black and white: percentiles over the dataset.

Scanners use a part of their 16 bits, and each another part; a window over single images would make them look alike.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from ganloom.data.decode import DEEP_MODES, Window, load, values
from ganloom.data.sources import Source

__all__ = ["LazyWindow"]

PERCENTILES = (0.5, 99.5)  # what lies outside is clipped: burnt-in marks, dead pixels
MOST_IMAGES = 512  # looked at, evenly over the source
LEAST_IMAGES = 64  # of more than 8 bits
MOST_VALUES = 20_000  # of each, evenly over the image


class LazyWindow:
    """The window of a source: the one given, or else found when the first deep image asks for it."""

    def __init__(self, source: Source, given: Window | None = None) -> None:
        self._source = source
        self._found = given
        self._lock = threading.Lock()  # many threads may ask at once

    def __call__(self) -> Window:
        with self._lock:
            if self._found is None:
                self._found = _percentiles(self._source)
            return self._found


def _percentiles(source: Source) -> Window:
    """Of the values of a source's deep images. The same images give the same window."""
    step = max(1, -(-(source.count or 0) // MOST_IMAGES))
    chosen = _values(source, step)
    if step > 1 and len(chosen) < LEAST_IMAGES:  # where only few are deep, all are looked at
        chosen = _values(source, 1)
    pooled = np.concatenate(chosen) if chosen else np.zeros(0)
    if not pooled.size:
        return 0.0, 1.0
    low, high = np.percentile(pooled, PERCENTILES)
    if low == high:  # few values among many equal ones
        low, high = pooled.min(), pooled.max()
    return float(low), float(high)


def _values(source: Source, step: int) -> list[NDArray[np.float64]]:
    """Some of the values of each deep image, looking at every `step`th image or, once they get many, at fewer."""
    chosen: list[NDArray[np.float64]] = []
    for index, item in enumerate(source.items()):
        image = "" if index % step else load(item)
        if not isinstance(image, str) and image.mode in DEEP_MODES:
            array = values(image).ravel()
            array = array[:: max(1, array.size // MOST_VALUES)].astype(np.float64)
            chosen.append(array[np.isfinite(array)])
            if len(chosen) > MOST_IMAGES:  # a source that cannot say how many it has
                chosen, step = chosen[::2], 2 * step
    return chosen
