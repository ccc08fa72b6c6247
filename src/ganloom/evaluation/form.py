"""The form in which generated and real images are compared: size, channels, and the values of black and white.

The side under test must not decide it. If generated images without colour made the real ones grey, and small ones made
them small, losing colour or detail would improve the score. So the real images decide, or the user, and what is missing
in the generated images counts against them.
"""

from pathlib import Path

from ganloom.config import Data
from ganloom.core.errors import DataError, SizesDifferError
from ganloom.data.decode import Window
from ganloom.data.from_config import prepare_from_config
from ganloom.data.inspect import look_at_headers
from ganloom.data.packed import PackedDataset
from ganloom.data.sources import Source, find
from ganloom.evaluation.windows import Side, window_of_generated

__all__ = ["Compared", "folders", "real_images"]

Size = tuple[int, int]


class Compared:
    """Generated and real images in one form."""

    def __init__(self, generated: PackedDataset, reals: PackedDataset, changed: str) -> None:
        self.generated, self.reals = generated, reals
        self.changed = changed  # what was done to the generated images; empty if nothing


def folders(target: Path, data: str, size: Size | None) -> Compared:
    """Two folders of images at `size`, or else at the size of the real ones. Raises `DataError`.

    Colour on either side makes both of them RGB.
    """
    real = find(data)
    try:
        reals = _prepared(real, Data(source=data, size=size))
    except SizesDifferError as error:
        raise DataError(
            f"{error.fact}, and the generated images must not decide at which size all are compared: say it, as in "
            f"ganloom evaluate {target} {data} --size 64"
        ) from None
    size = reals.shape.height, reals.shape.width
    made = find(str(target))
    own, theirs = look_at_headers(made), look_at_headers(real)
    window, values = window_of_generated(Side(made, own), Side(real, theirs, reals.description.window))
    form = Data(source=str(target), size=size, holdout=0.0)
    generated = _prepared(made, form, window=window)
    if window is None and generated.description.window:
        raise DataError(f"only some images of {target} have more than 8 bits: save all of them alike.")
    had = generated.shape
    channels = max(reals.shape.channels, had.channels)
    if reals.shape.channels < channels:
        reals = _prepared(real, Data(source=data, size=size), channels)
    if had.channels < channels:
        generated = _prepared(made, form, channels, window)
    changed = []
    if not own.sizes.uniform or own.sizes.common != size:
        changed.append("{}x{}".format(*own.sizes.common) if own.sizes.uniform else "several sizes")
    if had.channels < channels:
        changed.append("grey" if had.channels == 1 else "RGB")
    if own.alpha and not theirs.alpha and channels < 4:
        changed.append("transparent (laid over white)")
    changed += values
    return Compared(generated, reals, f"{', '.join(changed)}, compared as {generated.shape}" if changed else "")


def real_images(data: Data, channels: int) -> PackedDataset:
    """The real images for a model that makes images of so many channels, in the section's size: in colour if they have
    colour, even if the model makes grey ones. `data.channels` is ignored. Raises `DataError`.
    """
    source = find(data)
    reals = prepare_from_config(source, data.model_copy(update={"channels": None}))
    wanted = min(max(reals.shape.channels, channels), max(channels, 3))  # transparency only if the model makes it
    if reals.shape.channels == wanted:
        return reals
    return prepare_from_config(source, data.model_copy(update={"channels": wanted}))


def _prepared(source: Source, data: Data, channels: int | None = None, window: Window | None = None) -> PackedDataset:
    return prepare_from_config(source, data.model_copy(update={"channels": channels, "window": window}))
