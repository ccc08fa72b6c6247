"""One image file as pixels: upright, flat, cropped and resized."""

import contextlib
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ganloom.data.sources import Item

__all__ = ["UNREADABLE", "Preprocessing", "decode", "orientation"]

UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for files that are damaged in one way or another."""

DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow would clip these to white
ORIENTATION = 0x0112  # the EXIF tag, and what undoes each of its values
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Preprocessing:
    """What is done to every image. Its text is part of the cache's key: change what it does, change the version."""

    size: tuple[int, int] | None  # height, width; None: the images' own, which must then agree
    channels: int | None  # None: 1 if every image is grey, else 3

    def __str__(self) -> str:
        size = f"{self.size[0]}x{self.size[1]}" if self.size else "own size"
        return (
            f"upright, white under alpha, centre crop and Lanczos to {size}, channels {self.channels or 'as found'}; v1"
        )


def decode(item: Item, preprocessing: Preprocessing) -> NDArray[np.uint8] | str:  # [H, W, C]
    """The pixels of an item, or the reason why it has none."""
    try:
        with item.open() as image:
            if image.mode in DEEP_MODES:
                return f"has more than 8 bits a channel (mode {image.mode}): convert it to 8 bits first"
            turned = image.transpose(UPRIGHT[turn]) if (turn := orientation(image)) in UPRIGHT else image
            flat = _resize(_flatten(turned, preprocessing.channels), preprocessing.size)
    except UNREADABLE as error:
        return f"cannot be read: {error}"
    array = np.asarray(flat)
    return array[:, :, None] if array.ndim == 2 else array


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none, or none that can be read. From 5 on, sides are exchanged."""
    with contextlib.suppress(*UNREADABLE):
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def _flatten(image: Image.Image, channels: int | None) -> Image.Image:
    """Any mode as L, RGB or (when four channels are wanted) RGBA; what is transparent becomes white."""
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        if channels != 4:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image).convert("RGB")
    if channels == 4:
        return image.convert("RGBA")
    if channels == 1 or image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def _resize(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """Crop to the aspect ratio from the centre, then resize, antialiased."""
    if size is None or image.size == (size[1], size[0]):
        return image
    return ImageOps.fit(image, (size[1], size[0]), Image.Resampling.LANCZOS)
