"""Find the window of values to map to black and white in images of over 8 bits: percentiles over the dataset.

Each scanner uses another part of its 16 bits. A window per image would remove differences in brightness between images.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from ganloom.data.decode import DEEP_MODES, Window, load, values
from ganloom.data.sources import Source

__all__ = ["LazyWindow"]

PERCENTILES = (0.5, 99.5)  # values outside are clipped: burnt-in marks, dead pixels
MAX_IMAGES = 512  # examined, evenly spaced over the source
MIN_DEEP_IMAGES = 64  # of over 8 bits; if there are fewer among those, all images are examined
MAX_VALUES = 20_000  # per image, evenly spaced


class LazyWindow:
    """The window of a source: the given one; or the attribute `window` of a source that knows its range of values; or
    else computed when the first image of over 8 bits needs it.
    """

    def __init__(self, source: Source, given: Window | None = None) -> None:
        self._source = source
        self._found = given or getattr(source, "window", None)
        self._lock = threading.Lock()  # several threads may call it at once

    def __call__(self) -> Window:
        with self._lock:
            if self._found is None:
                self._found = _percentiles(self._source)
            return self._found


def _percentiles(source: Source) -> Window:
    """Percentiles of the values of a source's images of over 8 bits. The same images give the same window."""
    step = max(1, -(-(source.count or 0) // MAX_IMAGES))
    chosen = _values(source, step)
    if step > 1 and len(chosen) < MIN_DEEP_IMAGES:
        chosen = _values(source, 1)
    pooled = np.concatenate(chosen) if chosen else np.zeros(0)
    if not pooled.size:
        return 0.0, 1.0
    low, high = np.percentile(pooled, PERCENTILES)
    if low == high:  # nearly all values are equal
        low, high = pooled.min(), pooled.max()
    return float(low), float(high)


def _values(source: Source, step: int) -> list[NDArray[np.float64]]:
    """Some values of each image of over 8 bits among every `step`th image, or among fewer if there are too many."""
    chosen: list[NDArray[np.float64]] = []
    for index, item in enumerate(source.items()):
        image = "" if index % step else load(item)
        if not isinstance(image, str) and image.mode in DEEP_MODES:
            array = values(image).ravel()
            array = array[:: max(1, array.size // MAX_VALUES)].astype(np.float64)
            chosen.append(array[np.isfinite(array)])
            if len(chosen) > MAX_IMAGES:  # the source does not know its count
                chosen, step = chosen[::2], 2 * step
    return chosen
