"""Describe the images of a source: sizes, classes, duplicates, damaged files. It recommends nothing."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.core.words import counted, printable
from ganloom.data.decode import DEEP_MODES, Preprocessing, Window, has_alpha, read, to_pixels, upright_size, values
from ganloom.data.groups import Groups
from ganloom.data.observed import Observed
from ganloom.data.parallel import in_order
from ganloom.data.selection import Selection
from ganloom.data.sources import Item, Source
from ganloom.data.sources.contract import Remark
from ganloom.data.window import LazyWindow

__all__ = ["Findings", "Headers", "Sizes", "enlarged", "inspect", "look_at_headers", "look_at_sizes"]

MAX_HEADERS = 500  # read to find the sizes; each takes up to a millisecond
CONTACTS = 60  # thumbnails on the contact sheet
MAX_ENLARGED = 2.0  # times: images that are enlarged by more are worth a line
SIDE = 16  # pixels of the tiny picture that is kept of every image to find near duplicates
NEAR_BITS = 3  # of 64: how far the fingerprints of near duplicates may differ
NEAR_LEVELS = 3.0  # of 255: how far their tiny pictures may differ
MAX_CANDIDATES = 64  # images compared because they share one quarter of their fingerprints
CLIPPED = 0.5  # fraction of pixels that are black, or white, from which an image is reported
BLANK = 2.0  # of 255: standard deviation below which an image is reported as blank


@dataclass(frozen=True)
class Sizes:
    """The sizes of the images of a source, as height x width."""

    common: tuple[int, int]  # the most frequent size
    uniform: bool  # whether all images examined have one size
    ratio: float | None  # height / width if it is nearly the same (within a tenth) for nearly all images


@dataclass(frozen=True)
class Headers:
    """What the headers of the first images of a source say."""

    sizes: Sizes
    modes: frozenset[str]  # Pillow's, such as L, RGB, I;16
    alpha: bool  # whether any has transparency


@dataclass(repr=False)
class Findings:
    """What `inspect` found out about the images of a source."""

    name: str
    class_names: list[str]
    ignored: int  # files that are not images, or second copies of the splits
    remarks: list[Remark] = field(default_factory=list)  # how the files were read
    splits: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # height, width
    modes: Counter[str] = field(default_factory=Counter)  # Pillow's, such as L, RGB, I;16
    depths: Counter[int] = field(default_factory=Counter)  # bits per channel that are used
    faults: list[tuple[str, str]] = field(default_factory=list)  # name, reason
    equal: list[list[str]] = field(default_factory=list)  # names of identical images
    similar: list[list[str]] = field(default_factory=list)  # names of images that look alike
    overlap: list[str] = field(default_factory=list)  # groups that are in train and in another split
    blank: list[str] = field(default_factory=list)
    black: list[str] = field(default_factory=list)  # names of images of which more than half the pixels are black
    white: list[str] = field(default_factory=list)
    is_grey: bool = True
    mean: list[float] = field(default_factory=list)  # per channel, 0 to 255
    std: list[float] = field(default_factory=list)
    asymmetry: float = 0.0  # distance of the mean image from its mirror image, in standard deviations of a pixel
    window: Window | None = None  # percentiles of the values, for images of more than 8 bits
    contacts: list[Image.Image] = field(default_factory=list)  # thumbnails, evenly spaced over the source

    @property
    def count(self) -> int:
        """How many images could be read."""
        return sum(self.sizes.values())

    def __repr__(self) -> str:
        """In short: the lists can be long."""
        (height, width), kind = self.sizes.most_common(1)[0][0], "grey" if self.is_grey else "colour"
        sizes = f"{height}x{width}" if len(self.sizes) == 1 else f"{len(self.sizes):,} sizes, mostly {height}x{width}"
        classes = f" in {counted(len(self.class_names), 'class')}" if self.class_names else ""
        problems = (
            (self.faults, "damaged file"),
            ([name for names in self.equal for name in names[1:]], "duplicate"),
            ([name for names in self.similar for name in names[1:]], "near duplicate"),
            (self.blank, "blank image"),
        )
        found = "".join(f", {counted(len(each), words)}" for each, words in problems if each)
        return f"Findings({printable(self.name)}: {counted(self.count, 'image')}{classes}, {sizes} {kind}{found})"

    def summary(self) -> Sizes:
        """The sizes in short."""
        return _summarise(self.sizes)


def look_at_sizes(source: Source) -> Sizes:
    """The sizes of a source, from the headers of its first images. Raises `DataError` if none can be read."""
    return look_at_headers(source).sizes


def look_at_headers(source: Source) -> Headers:
    """Sizes, modes and transparency of the first images of a source. Raises `DataError` if none can be read."""
    sizes: Counter[tuple[int, int]] = Counter()
    modes: set[str] = set()
    alpha = False
    reason = ""
    for item in islice(source.items(), MAX_HEADERS):
        try:
            with item.open() as image:
                sizes[upright_size(image)] += 1
                modes.add(image.mode)
                alpha = alpha or has_alpha(image)
        except Exception as error:  # damaged files raise nearly anything; `prepare` lists each of them
            reason = reason or f"{item.name}: {error}"
    if not sizes:
        raise DataError(
            f"none of the images of {source.name} can be read; the first: {reason}. Give a folder, an archive or "
            "arrays of images."
        )
    return Headers(_summarise(sizes), frozenset(modes), alpha)


def enlarged(source: Source, size: tuple[int, int] | None) -> str:
    """A sentence if most images are much smaller than the `size` that they are brought to; else an empty one."""
    if size is None:
        return ""
    try:
        height, width = look_at_sizes(source).common
    except DataError:  # `prepare` says what is wrong with each of them
        return ""
    factor = max(size[0] / height, size[1] / width)
    if factor <= MAX_ENLARGED:
        return ""
    return (
        f"most images have {height}x{width} pixels and are enlarged {factor:.1f} times, to {size[0]}x{size[1]}: that "
        f"costs time and adds no detail; --size {height}x{width} keeps their own size"
    )


def inspect(
    source: Source, *, workers: int | None = None, progress: Callable[[int, int | None], None] | None = None
) -> Findings:
    """Decode and describe every image of a source. Raises `DataError` if none can be read."""
    findings = Findings(source.name, list(source.class_names), source.ignored)
    observed = Observed()
    window = LazyWindow(source)
    digests: dict[str, list[str]] = defaultdict(list)
    groups = Groups(Selection(), tuple(source.splits) != ("train",))
    similar = _Similar()
    sums = np.zeros((2, 3))
    mean = np.zeros((SIDE, SIDE))
    squares = np.zeros((SIDE, SIDE))
    step = max(1, -(-(source.count or 0) // CONTACTS))
    looks = in_order(source.items(), lambda item: _look_at(item, window), workers or os.cpu_count() or 1)
    for index, (item, look) in enumerate(looks):
        if progress and index % 100 == 99:
            progress(index + 1, source.count)
        if isinstance(look, str):
            findings.faults.append((item.name, look))
            continue
        findings.splits[item.split] += 1
        if isinstance(item.label, int):
            findings.classes[source.class_names[item.label]] += 1
        elif item.label is not None:
            findings.classes.update(source.class_names[int(k)] for k in np.flatnonzero(item.label))
        findings.sizes[look.size] += 1
        findings.modes[look.mode] += 1
        findings.depths[look.depth] += 1
        findings.is_grey = findings.is_grey and look.is_grey
        observed.add(item.name, deep=look.mode in DEEP_MODES, coloured=look.coloured, frames=look.frames)
        groups.add(item.name, item.split, item.group, look.digest)
        digests[look.digest].append(item.name)
        if len(digests[look.digest]) == 1:
            similar.add(item.name, look.tiny, look.bits)
        for names, found in ((findings.blank, look.blank), (findings.black, look.black), (findings.white, look.white)):
            if found:
                names.append(item.name)
        sums += look.sums
        mean += look.tiny
        squares += np.square(look.tiny, dtype=np.float64)
        if index % step == 0 and len(findings.contacts) < CONTACTS:
            findings.contacts.append(look.contact)
    if not findings.count:
        first = "; the first: {} {}".format(*findings.faults[0]) if findings.faults else ""
        raise DataError(
            f"none of the images of {source.name} can be read{first}. Give a folder, an archive or arrays of images."
        )
    findings.overlap = groups.overlap()
    findings.equal = [names for names in digests.values() if len(names) > 1]
    findings.similar = similar.groups()
    channels = 1 if findings.is_grey else 3
    first, second = sums[:, :channels] / findings.count
    findings.mean, findings.std = first.tolist(), np.sqrt(np.maximum(second - first**2, 0)).tolist()
    mean /= findings.count
    spread = np.sqrt(np.maximum(squares / findings.count - mean**2, 0)).mean()
    difference = np.square(mean - mean[:, ::-1]).mean() / max(spread, 1.0) ** 2
    chance = 2 / findings.count  # the difference expected by chance between means of so many images
    findings.asymmetry = float(np.sqrt(max(0.0, difference - chance)))
    findings.window = window() if observed.deep else None
    findings.ignored = source.ignored  # some sources know it only now
    findings.remarks = [*source.remarks, *observed.remarks(used=findings.window), *groups.remarks()]
    return findings


@dataclass(frozen=True)
class _Look:
    """What was measured of one image."""

    size: tuple[int, int]
    mode: str
    depth: int
    digest: str
    is_grey: bool
    blank: bool
    black: bool
    white: bool
    sums: NDArray[np.float64]  # [2, 3]: mean and mean square of each channel
    tiny: NDArray[np.uint8]  # [SIDE, SIDE] grey
    bits: int  # 64-bit fingerprint: which of 8x8 places are brighter than their right neighbour
    contact: Image.Image
    coloured: bool
    frames: int


def _look_at(item: Item, window: LazyWindow) -> _Look | str:
    loaded = read(item)
    if isinstance(loaded, str):
        return loaded
    image = loaded.image
    deep = image.mode in DEEP_MODES
    depth = _depth(values(image)) if deep else 1 if image.mode == "1" else 8
    size, mode = (image.height, image.width), image.mode
    result = to_pixels(image, Preprocessing(), window)
    if isinstance(result, str):
        return result
    pixels = result.pixels
    flat = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    in_grey = flat.convert("L")
    grey, small = np.asarray(in_grey), np.asarray(in_grey.resize((9, 8), Image.Resampling.LANCZOS))
    bits = np.packbits((small[:, :-1] > small[:, 1:]).ravel())
    contact = flat.convert("RGB")
    contact.thumbnail((96, 96))
    return _Look(
        size=size,
        mode=mode,
        depth=depth,
        digest=result.digest,
        is_grey=bool((pixels[..., :1] == pixels).all()),
        blank=bool(grey.std() < BLANK),
        black=bool((grey == 0).mean() > CLIPPED),
        white=bool((grey == 255).mean() > CLIPPED),
        sums=np.broadcast_to(_sums(flat), (2, 3)),
        tiny=np.asarray(in_grey.resize((SIDE, SIDE), Image.Resampling.BOX)),
        bits=int.from_bytes(bits.tobytes()),
        contact=contact,
        coloured=result.coloured,
        frames=loaded.frames,
    )


def _sums(image: Image.Image) -> NDArray[np.float64]:  # [2, C]
    """Mean and mean square of each channel, from its histogram: floats would take eight times the memory."""
    counts = np.array(image.histogram(), np.float64).reshape(-1, 256)  # [C, 256]
    levels = np.arange(256)
    return np.stack([counts @ levels, counts @ levels**2]) / (image.width * image.height)


class _Similar:
    """Groups images that look alike at a glance: a JPEG saved again, another size, a logo in the corner.

    Two images are compared only if one quarter of their fingerprints is equal: where fingerprints differ in fewer than
    four bits, at least one of the four quarters must be.
    """

    def __init__(self) -> None:
        self._groups: list[list[str]] = []
        self._tiny: list[NDArray[np.uint8]] = []  # of the first image of each group
        self._bits: list[int] = []
        self._with_quarter: dict[tuple[int, int], list[int]] = defaultdict(list)

    def add(self, name: str, tiny: NDArray[np.uint8], bits: int) -> None:
        quarters = [(place, bits >> 16 * place & 0xFFFF) for place in range(4)]
        candidates = {group for quarter in quarters for group in self._with_quarter[quarter]}
        for group in sorted(candidates):
            if (self._bits[group] ^ bits).bit_count() <= NEAR_BITS:
                difference = tiny.astype(np.float32) - self._tiny[group]
                if np.sqrt(np.square(difference).mean()) <= NEAR_LEVELS:
                    self._groups[group].append(name)
                    return
        for quarter in quarters:
            if len(self._with_quarter[quarter]) < MAX_CANDIDATES:
                self._with_quarter[quarter].append(len(self._groups))
        self._groups.append([name])
        self._tiny.append(tiny)
        self._bits.append(bits)

    def groups(self) -> list[list[str]]:
        return [names for names in self._groups if len(names) > 1]


def _depth(array: NDArray[Any]) -> int:
    """How many bits the values of an image of over 8 bits use; 32 for floats."""
    return 32 if array.dtype.kind == "f" else int(np.abs(array).max(initial=0)).bit_length()


def _summarise(sizes: Counter[tuple[int, int]]) -> Sizes:
    ratios = np.repeat([height / width for height, width in sizes], list(sizes.values()))
    low, middle, high = np.percentile(ratios, (10, 50, 90))
    return Sizes(sizes.most_common(1)[0][0], len(sizes) == 1, float(middle) if high <= 1.1 * low else None)
