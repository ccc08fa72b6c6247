"""Open image files that are sound but for something that no pixel depends on.

A JPEG that lacks its end mark, as interrupted writers leave it; a PNG with more text than Pillow unpacks, as drawing
programs and image generators write it.
"""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from ganloom.core.files import open_regular

__all__ = ["with_end", "without_long_text"]

MAX_BYTES = 2**28  # of a file that is read as a whole
PNG = b"\x89PNG\r\n\x1a\n"
MAX_TEXT = 2**16  # bytes of one text of a PNG, unpacked, and at most as many texts are kept
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
END = b"\xff\xd9"  # of a JPEG
FILLER = bytes(np.random.default_rng(0).integers(0, 255, 4096, np.uint8))  # no byte of it is 0xFF, which begins a mark
PROBE = FILLER + b"".join(bytes([0xFF, 0xD0 + number]) + FILLER for number in range(8))  # data after any restart mark


def without_long_text(file: Path | IO[bytes], error: ValueError) -> IO[bytes] | None:
    """A PNG without its long texts, if these are why Pillow refuses it; else None. They are never unpacked whole."""
    if "MAX_TEXT" not in str(error):
        return None
    if isinstance(file, Path):
        with open_regular(file) as opened:
            return without_long_text(opened, error)
    if file.seek(0, os.SEEK_END) > MAX_BYTES:
        return None
    file.seek(0)
    content = file.read()
    if not content.startswith(PNG):
        return None
    kept, position, budget = [PNG], len(PNG), MAX_TEXT
    while position + 12 <= len(content):
        (size,) = struct.unpack(">I", content[position : position + 4])
        kind, data = content[position + 4 : position + 8], content[position + 8 : position + 8 + size]
        text = _unpacked(kind, data) if kind in TEXTS else 0
        if kind not in TEXTS or text <= budget:
            kept.append(content[position : position + 12 + size])
            budget -= text
        position += 12 + size
    return io.BytesIO(b"".join(kept))


def _unpacked(kind: bytes, data: bytes) -> int:
    """How many bytes a text has when it is unpacked, or somewhat more than `MAX_TEXT`."""
    if kind == b"tEXt":
        return len(data)
    _, _, rest = data.partition(b"\0")  # the keyword
    packed = rest[1:]
    if kind == b"iTXt":
        if rest[:1] == b"\0":
            return len(data)
        packed = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # after the language and the translated keyword
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_TEXT + 1))
    except zlib.error:
        return len(data)


def with_end(content: bytes, size: tuple[int, int] | None = None) -> Image.Image | None:
    """A JPEG without its end mark, loaded, if every pixel of it can be decoded; else None.

    It is decoded twice, once with other data before the added mark: that is ignored if nothing is missing, and changes
    pixels if anything is. `size` is for the decoder's draft mode.
    """
    content = content.removesuffix(END[:1])
    if content.endswith(END) or not _has_all_scans(content):
        return None
    images = []
    for tail in (END, PROBE + END):
        image = Image.open(io.BytesIO(content + tail), formats=["JPEG"])
        if size:
            image.draft(None, size)
        image.load()
        images.append(image)
    first, second = images
    return first if np.array_equal(np.asarray(first), np.asarray(second)) else None


def _has_all_scans(content: bytes) -> bool:
    """Whether a JPEG has every coefficient of every component at full precision, judged by the heads of its scans.

    A progressive one has several scans, and lacks only details if some of them are missing.
    """
    position, components, progressive = 2, b"", False
    left: dict[int, set[int]] = {}  # by component: the coefficients that are still to come
    while (position := content.find(b"\xff", position)) >= 0 and position + 4 <= len(content):
        mark = content[position + 1]
        if mark in (0x00, 0x01, 0xFF) or 0xD0 <= mark <= 0xD8:
            position += 1 if mark == 0xFF else 2
            continue
        size = int.from_bytes(content[position + 2 : position + 4])
        segment = content[position + 4 : position + 2 + size]
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):  # the head of the image
            progressive = mark in (0xC2, 0xC6, 0xCA, 0xCE)
            components = segment[6::3]
            left = {component: set(range(64)) for component in components}
        if mark == 0xDA and len(segment) >= 4:  # the head of a scan
            chosen = segment[1 : 1 + 2 * segment[0] : 2]
            low, high, bits = segment[-3:]
            if bits & 0x0F == 0:
                for component in chosen:
                    left.get(component, set()).difference_update(range(low, high + 1) if progressive else range(64))
        position += 2 + size
    return bool(left) and not any(left.values())
