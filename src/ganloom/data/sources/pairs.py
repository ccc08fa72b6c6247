"""Find folders that show the same pictures: thumbnails beside originals, or other renderings of them."""

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.data.sources.contract import Remark, open_image
from ganloom.data.sources.masks import MAX_BYTES, MAX_PIXELS, Read
from ganloom.data.sources.naming import suffix
from ganloom.data.sources.splits import enumeration

__all__ = ["find_pairs"]

SAME_NAMES = 0.9  # share of the names in a folder that another has, too
SAMPLE = 4  # pictures that are compared
MAX_FOLDERS = 4  # that are compared with the largest
SIDE = 12  # pixels to which pictures are reduced before they are compared
ALIKE = 0.98  # correlation at least; two X-rays of the chest have 0.9


def find_pairs(folders: Mapping[str, Sequence[str]], read: Read[bytes]) -> list[Remark]:
    """What is said of sibling folders with the same file names, if a sample of them shows the same pictures.

    `folders` are the paths of the images in each, by its path with a slash.
    """
    named = {
        folder: {path[len(folder) : len(path) - len(suffix(path))]: path for path in paths}
        for folder, paths in folders.items()
    }
    largest, *others = sorted(named, key=lambda folder: (-len(named[folder]), folder)) or [""]
    shared = {other: sorted(named[other].keys() & named[largest].keys()) for other in others}
    near = [other for other in others if len(shared[other]) >= max(SAMPLE, SAME_NAMES * len(named[other]))]
    pairs = [
        (other, named[largest][name], named[other][name])
        for other in near[:MAX_FOLDERS]
        for name in shared[other][:: -(-len(shared[other]) // SAMPLE)]
    ]
    small = dict[str, NDArray[np.float64] | None]()
    for path, content in read({path for pair in pairs for path in pair[1:]}, MAX_BYTES) if pairs else ():
        small[path] = _reduced(content)
    alike: dict[str, list[bool]] = defaultdict(list)
    for other, first, second in pairs:
        a, b = small.get(first), small.get(second)
        alike[other].append(a is not None and b is not None and bool((a * b).mean() >= ALIKE))
    same = [other for other, found in alike.items() if all(found)]
    if not same:
        return []
    said = f"{enumeration(each.rstrip('/') for each in [largest, *same])} show the same pictures (the same file names)"
    return [Remark("pairs", f"{said}; to take them once, give the path of one folder")]


def _reduced(content: bytes) -> NDArray[np.float64] | None:
    """A small grey version with mean 0 and variance 1. None if the picture cannot be opened or is of one colour."""
    try:
        with open_image(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("L", (8 * SIDE, 8 * SIDE))  # a JPEG is decoded at a fraction of its size
            small = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    except Exception:  # damaged files raise nearly anything; `prepare` lists each of them
        return None
    return (small - small.mean()) / small.std() if small.std() > 1 else None
