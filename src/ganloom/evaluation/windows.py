"""Which values of generated images are black and white, where they are not bytes. The generated images must not decide.

With a window of their own, contrast that they have lost would be stretched back, and improve the score. So:

- images of the depth of the real ones have the window of the real ones;
- images of another depth have the range of their type: 0 to 255, 0 to 65535, and 0 to 1 or -1 to 1 for floats;
- where neither is known, they are refused.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from ganloom.core.errors import DataError
from ganloom.data.decode import DEEP_MODES, Window
from ganloom.data.inspect import Headers
from ganloom.data.sources import Source

__all__ = ["Side", "window_of_generated"]

BYTES = (0.0, 255.0)
WORDS = (0.0, 65535.0)
RANGES = (BYTES, WORDS, (0.0, 1.0), (-1.0, 1.0))
DEPTHS = {"F": "floats", "I": "32 bits"}  # of Pillow's modes; the others of more than 8 bits have 16


class Side:
    """The values of one of the two folders."""

    def __init__(self, source: Source, headers: Headers, used: Window | None = None) -> None:
        """`used`: the window that was applied, if it is known already."""
        self.name = source.name
        self.window: Window | None = used or getattr(source, "window", None)
        self.scales: Mapping[str, Window] = getattr(source, "scales", {})
        self.depths = {DEPTHS.get(mode, "16 bits") for mode in headers.modes & {*DEEP_MODES}}


def window_of_generated(generated: Side, reals: Side) -> tuple[Window | None, list[str]]:
    """The window of generated images of more than 8 bits, and in words what their values are if those of the real ones
    are other. Raises `DataError` where it is unclear.
    """
    said = list(_of_colours(generated, reals))
    if not generated.depths:
        if generated.window not in (None, reals.window):  # a packed dataset
            _known(generated, generated.window if reals.window is None else None)
            said.append("prepared from {:g} to {:g}".format(*generated.window))
        elif not generated.window and reals.window not in (None, BYTES):
            said.append("of 8 bits")
        return None, said
    if reals.window and generated.depths <= (reals.depths or generated.depths):  # none: a packed dataset
        return reals.window, said
    (depth, *others) = sorted(generated.depths)
    window = _known(generated, None if others else generated.window or (WORDS if depth == "16 bits" else None))
    return window, [*said, f"of {depth} from {window[0]:g} to {window[1]:g}"]


def _of_colours(generated: Side, reals: Side) -> Iterator[str]:
    for name, scale in generated.scales.items():
        kind = np.dtype(name).kind
        wanted = [other for each, other in reals.scales.items() if np.dtype(each).kind == kind]
        if scale not in wanted:
            _known(generated, None if wanted else scale)
            yield f"of {name} from {scale[0]:g} to {scale[1]:g}"


def _known(generated: Side, window: Window | None) -> Window:
    """Raises `DataError` for a window that is not the range of a type."""
    if window not in RANGES:
        raise DataError(
            f"which values of the generated images ({generated.name}) are black and white cannot be told from the real "
            "ones: their depths or ranges differ. Save both alike, or with 8 bits."
        )
    return window
