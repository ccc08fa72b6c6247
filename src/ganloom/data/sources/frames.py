"""Files of several pages or frames, such as TIFF stacks and animations: how many there are, and each as an image."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from PIL import Image

from ganloom.data.sources.contract import Item, Opener, RefusedError, refused

__all__ = ["count_frames", "every_frame"]

FRAMED = ("TIFF", "GIF", "WEBP", "PNG", "AVIF")
"""Formats whose further frames are images. Those of a JPEG (MPO) are previews, depth or gain maps of the first."""


MAX_PAGES = 4096  # of a TIFF that are counted: Pillow compares each page with all before it
BYTES = 4  # of a pixel of a frame


def count_frames(image: Image.Image) -> int:
    """How many pages or frames the file of an opened image has; of more than `MAX_PAGES` pages, one more than that.

    It leaves a TIFF at another page.
    """
    if image.format == "TIFF":
        for number in range(1, MAX_PAGES + 1):
            try:
                image.seek(number)
            except EOFError:
                return number
        return MAX_PAGES + 1
    return int(getattr(image, "n_frames", 1)) if image.format in FRAMED else 1


def every_frame(item: Item) -> Iterator[Item]:
    """An item for each frame of a file. Frames of one file are a group: they stay on one side of the hold-out."""
    number = 0
    try:
        with item.open() as image:
            count = count_frames(image)
            if image.format == "TIFF" and count > MAX_PAGES:
                raise RefusedError(f"has more than {MAX_PAGES:,} pages: split it")
            for number in range(count):
                if count == 1 or image.format == "TIFF":  # a page does not depend on those before it
                    opener = partial(_page, item.open, number) if number else item.open
                else:
                    image.seek(number)
                    opener = image.copy().copy
                held = item.held if opener is item.open else image.width * image.height * BYTES
                yield replace(_frame(item, number, opener), held=held) if count > 1 else item
    except RefusedError as error:
        yield replace(item, open=refused(str(error)))
    except Exception as error:  # damaged files raise nearly anything
        broken = refused(f"cannot be read: {error or type(error).__name__}")
        yield _frame(item, number, broken) if number else item  # opened again, the first is listed with its reason


def _frame(item: Item, number: int, opener: Opener) -> Item:
    return replace(item, name=f"{item.name}#{number}", open=opener, group=item.group or item.name, frame=number)


def _page(opener: Opener, number: int) -> Image.Image:
    image = opener()
    image.seek(number)
    return image
