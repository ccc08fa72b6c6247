"""What is in these images: it looks, and proposes nothing."""

from collections import Counter
from dataclasses import dataclass
from itertools import islice

from ganloom.core.errors import DataError
from ganloom.data.decode import UNREADABLE, orientation
from ganloom.data.sources import Source

__all__ = ["Sizes", "look_at_sizes"]

ENOUGH = 500  # headers read: a millisecond each at worst


@dataclass(frozen=True)
class Sizes:
    """Sizes of the first images of a source."""

    common: tuple[int, int]  # height, width of most of them
    uniform: bool  # whether all that were looked at agree


def look_at_sizes(source: Source) -> Sizes:
    """Read the headers of some images. Raises `DataError` if none can be read."""
    sizes: Counter[tuple[int, int]] = Counter()
    reason = ""
    for item in islice(source.items(), ENOUGH):
        try:
            with item.open() as image:
                upright = (image.width, image.height) if orientation(image) >= 5 else (image.height, image.width)
                sizes[upright] += 1
        except UNREADABLE as error:
            reason = reason or f"{item.name}: {error}"  # prepare accounts for every file; here one suffices
    if not sizes:
        raise DataError(f"none of the images of {source.name} can be read; the first, {reason}. Are they images?")
    return Sizes(sizes.most_common(1)[0][0], len(sizes) == 1)
