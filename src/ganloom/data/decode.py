"""Decode one image file to pixels: upright, without transparency, in sRGB, cropped and resized."""

import contextlib
import errno
import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ganloom.core.errors import StorageError
from ganloom.data.sources import Item
from ganloom.data.sources.contract import RefusedError
from ganloom.data.sources.frames import FRAMED, count_frames
from ganloom.data.sources.salvage import with_end, without_long_text

__all__ = [
    "DEEP_MODES",
    "Decoded",
    "Loaded",
    "Preprocessing",
    "Window",
    "decode",
    "has_alpha",
    "load",
    "orientation",
    "read",
    "to_pixels",
    "upright_size",
    "values",
]

DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow would clip these to white
SRGB_TOLERANCE = 8  # levels of 255 by which a profile that is named sRGB may differ from it
PHOTOMETRIC = 0x0106  # the TIFF tag that is 0 where the lowest value is white
DARK = 16  # of 255: a 16-bit image whose upper 8 bits stay below it holds 12 bits or fewer
TRANSIENT = (errno.ENOENT, errno.ESTALE, errno.ENODEV, errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # not the file's fault
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {  # what undoes each of its values
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Window = tuple[float, float]  # in images of more than 8 bits: the values that become black and white


@dataclass(frozen=True)
class Preprocessing:
    """What is done to every image.

    `str()` of it is part of the cache key: when the processing changes, the version in it must change.
    """

    size: tuple[int, int] | None = (
        None  # height, width; None: keep the images' size, which must then be the same for all
    )
    channels: int | None = None  # None: 1 if every image is grey, else 3
    resize: Literal["crop", "fit", "stretch"] = "crop"  # crop to the aspect ratio, pad to it with black, or ignore it
    window: Window | None = None  # None: percentiles over all such images
    fast: bool = False  # let the JPEG decoder shrink big images: faster, but not exact to the pixel

    def __str__(self) -> str:
        size = f"{self.size[0]}x{self.size[1]} by {self.resize}" if self.size else "own size"
        window = f"{self.window[0]}:{self.window[1]}" if self.window else "by percentiles"
        draft = ", JPEG draft" if self.fast else ""
        return (
            f"upright, sRGB, white under alpha, Lanczos to {size}, channels {self.channels or 'as found'}, "
            f"more than 8 bits windowed {window}{draft}; v2"
        )


@dataclass(frozen=True)
class Decoded:
    """The pixels of one image, and a hash of its content before resizing."""

    pixels: NDArray[np.uint8]  # [H, W, C]
    digest: str  # sha256 of the upright image's size and values
    windowed: bool  # whether it had more than 8 bits
    coloured: bool  # whether any pixel is not grey
    frames: int = 1  # pages or frames of the file, of which this is the first
    jpeg: bool = False  # whether the file is a JPEG


@dataclass(frozen=True)
class Loaded:
    """An image as its file has it, but upright."""

    image: Image.Image
    frames: int = 1  # pages or frames of the file, of which this is the first
    jpeg: bool = False  # whether the file is a JPEG


def decode(item: Item, preprocessing: Preprocessing, window: Callable[[], Window]) -> Decoded | str:
    """The pixels of an item, or the reason why it cannot be used. `window` is called only for images of over 8 bits."""
    loaded = read(item, preprocessing)
    if isinstance(loaded, str):
        return loaded
    result = to_pixels(loaded.image, preprocessing, window)
    return result if isinstance(result, str) else replace(result, frames=loaded.frames, jpeg=loaded.jpeg)


def to_pixels(image: Image.Image, preprocessing: Preprocessing, window: Callable[[], Window]) -> Decoded | str:
    """The pixels of an upright image, or the reason why it cannot be used."""
    deep, coloured = image.mode in DEEP_MODES, False
    if deep:
        content = values(image)
        if not np.isfinite(content).all():
            return "has NaN or infinite values"
    else:
        image = _flatten(image, preprocessing.channels)
        content = np.asarray(image)
        coloured = content.ndim == 3 and not _is_grey(content[..., :3])
        if image.mode == "RGB" and not coloured:  # so it has the digest of the same picture stored as grey
            content = content[..., 0]
    # The digest includes the shape: a blank picture of 10x20 is not the same as one of 20x10.
    digest = hashlib.sha256(f"{content.dtype} {content.shape}".encode())
    digest.update(np.ascontiguousarray(content).data)
    if deep:
        image = Image.fromarray(_apply_window(content, *window()))
    elif preprocessing.channels == 1:
        image = image.convert("L")
    resized = _resize(image, preprocessing)
    pixels = np.asarray(resized)
    if deep:
        pixels = pixels.round().clip(0, 255).astype(np.uint8)
        pixels = np.dstack([pixels] * 3 + [np.full_like(pixels, 255)]) if preprocessing.channels == 4 else pixels
    return Decoded(pixels[:, :, None] if pixels.ndim == 2 else pixels, digest.hexdigest(), deep, coloured)


def load(item: Item) -> Image.Image | str:
    """An image, upright and in its original mode, or the reason why it cannot be read."""
    loaded = read(item)
    return loaded if isinstance(loaded, str) else loaded.image


def read(item: Item, preprocessing: Preprocessing | None = None) -> Loaded | str:
    """An image with what is known of its file, or the reason why it cannot be read."""
    try:
        with item.open() as image:
            jpeg, frames = image.format in ("JPEG", "MPO"), _frames_of(item, image)
            # This must come first: reading EXIF may load the image, which clears `tile`.
            upper_bits = image.mode not in DEEP_MODES and ";16" in str(getattr(image, "tile", ""))
            turn = orientation(image)
            draft = None
            if preprocessing and preprocessing.fast and preprocessing.size:
                height, width = preprocessing.size[:: -1 if turn >= 5 else 1]
                draft = (2 * width, 2 * height)  # twice the size wanted: Lanczos does the rest
                image.draft(None, draft)
            if isinstance(image, TiffImageFile):
                image.filename = (
                    ""  # else Pillow 13 memory-maps an uncompressed grey TIFF with width and height swapped
                )
            image = _with_pixels(image, item, draft)
            if upper_bits and max(high for _, high in _extrema(image)) < DARK:
                return "is a colour image of 16 bits per channel that uses only the lower bits: save it with 8 bits"
            if isinstance(image, TiffImageFile) and image.mode in DEEP_MODES and image.tag_v2.get(PHOTOMETRIC) == 0:
                image = _inverted(image)
            turn = orientation(image)  # read again: Pillow rotates TIFF files itself when it loads them
            return Loaded(image.transpose(UPRIGHT[turn]) if turn in UPRIGHT else image, frames, jpeg)
    except RefusedError as error:
        return str(error)
    except UnidentifiedImageError:  # its message contains memory addresses
        heic = "; convert HEIC to JPEG first" if item.name.lower().endswith((".heic", ".heif")) else ""
        return f"cannot be read: unknown image format{heic}"
    except MemoryError:
        raise  # which says nothing about the file
    except OSError as error:
        if error.errno in TRANSIENT:
            raise StorageError(
                f"{item.name} cannot be read now ({error.strerror}). Check that it is there and repeat the command: "
                "it resumes where this one stopped."
            ) from None
        return f"cannot be read: {str(error) or type(error).__name__}"
    except Exception as error:  # damaged files raise nearly anything; one of them must not end a long preparation
        return f"cannot be read: {str(error) or type(error).__name__}"


def _frames_of(item: Item, image: Image.Image) -> int:
    """How many frames the file of an item has; 1 for an item that is one of several."""
    if item.frame is not None or image.format not in FRAMED:
        return 1
    with contextlib.suppress(Exception):  # damaged files raise nearly anything, and the first frame may be sound
        if image.format not in ("TIFF", "GIF"):
            return count_frames(image)
        with item.open() as again:  # counting these moves to other frames
            return count_frames(again)
    return 1


def _with_pixels(image: Image.Image, item: Item, draft: tuple[int, int] | None) -> Image.Image:
    """The image, loaded; a JPEG without its end mark and a PNG with long texts, too. Raises what Pillow raises."""
    try:
        image.load()
    except (OSError, ValueError) as error:
        with item.open() as again:
            file = getattr(again, "fp", None)
            if isinstance(error, OSError) and image.format == "JPEG" and "truncated" in str(error) and file:
                file.seek(0)
                whole = with_end(file.read(), draft)
            else:
                content = without_long_text(file, error) if isinstance(error, ValueError) and file else None
                whole = Image.open(content, formats=["PNG"]) if content else None
        if whole is None:
            raise
        whole.load()
        return whole
    return image


def _extrema(image: Image.Image) -> list[tuple[float, float]]:
    """(lowest, highest) of each channel except alpha."""
    found: Any = image.getextrema()
    return [found] if isinstance(found[0], int | float) else list(found)[: 1 if image.mode == "LA" else 3]


def _inverted(image: Image.Image) -> Image.Image:
    """An image of over 8 bits whose lowest value is white, with black and white exchanged."""
    content = values(image)
    negative = Image.fromarray(np.iinfo(np.uint16).max - content if content.dtype == np.uint16 else -content)
    negative.info = image.info
    return negative


def has_alpha(image: Image.Image) -> bool:
    """Whether an image may be transparent."""
    return "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or unreadable. From 5 on, width and height are exchanged."""
    with contextlib.suppress(Exception):  # damaged files raise nearly anything
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def upright_size(image: Image.Image) -> tuple[int, int]:  # height, width
    """The size of an image once it is upright, without loading it."""
    # Pillow already reports the upright size for TIFF.
    across = orientation(image) >= 5 and image.format != "TIFF"
    return (image.width, image.height) if across else (image.height, image.width)


def values(image: Image.Image) -> NDArray[Any]:  # [H, W]
    """The values of an image of more than 8 bits, in native byte order."""
    array = np.asarray(image)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _is_grey(content: NDArray[np.uint8]) -> bool:  # [H, W, 3]
    """Whether all channels are equal. A few pixels are compared first: that is enough for most colour images."""
    return all(bool((part[..., :1] == part).all()) for part in (content[::16, ::16], content))


def _apply_window(content: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Scale the values from `low` to `high` to 0..255, clipped. They are rounded after resizing."""
    scaled = (content.astype(np.float64) - low) * (255 / (high - low or 1))
    return scaled.clip(0, 255).astype(np.float32)


def _flatten(image: Image.Image, channels: int | None) -> Image.Image:
    """Convert any 8-bit mode to L or RGB, with transparency replaced by white; or to RGBA if `channels` is 4."""
    profile = image.info.get("icc_profile")
    if has_alpha(image):
        image = _to_srgb(image.convert("RGBA"), profile)
        if channels != 4:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image).convert("RGB")
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    else:
        image = _to_srgb(image if image.mode == "CMYK" and profile else image.convert("RGB"), profile)
    return image.convert("RGBA") if channels == 4 else image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to sRGB. A colour profile that is broken or does not match the mode is ignored."""
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            transform = _transform(profile, image.mode)
            image = ImageCms.applyTransform(image, transform) or image if transform else image
    return image if image.mode == "RGBA" else image.convert("RGB")


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from a profile to sRGB; None if the profile is sRGB, as most are."""
    given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(
        given,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGBA" if mode == "RGBA" else "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode != "CMYK" and "srgb" in ImageCms.getProfileDescription(given).lower():
        # Vendors' sRGB profiles differ by a level or so, which does not justify changing pixels; "Linear sRGB" differs
        # by far more.
        ramp = Image.linear_gradient("L").convert(mode)
        shown = np.asarray(ImageCms.applyTransform(ramp, transform), np.int16)
        return transform if np.abs(shown - np.asarray(ramp)).max() > SRGB_TOLERANCE else None
    return transform


def _resize(image: Image.Image, how: Preprocessing) -> Image.Image:
    """Resize with antialiasing."""
    if how.size is None or image.size == (how.size[1], how.size[0]):
        return image
    size = how.size[1], how.size[0]
    if how.resize == "crop":
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    if how.resize == "fit":
        return _pad(image, size)
    return image.resize(size, Image.Resampling.LANCZOS)


def _pad(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale the whole image to fit into `size`, centred on black (RGBA: on transparent)."""
    scale = min(size[0] / image.width, size[1] / image.height)
    inner = tuple(max(1, min(side, math.floor(old * scale + 0.5))) for side, old in zip(size, image.size, strict=True))
    sheet = Image.new(image.mode, size, 0)
    sheet.paste(
        image.resize((inner[0], inner[1]), Image.Resampling.LANCZOS),
        ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2),
    )
    return sheet
