"""Groups of images, such as those of one patient: in names, on both sides of a split, and in the hold-out."""

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ganloom.core.words import counted
from ganloom.data.selection import Selection, key_in, share_of
from ganloom.data.sources.contract import Remark

__all__ = ["Groups", "Pattern", "find_pattern", "hold_out_remarks"]

MAX_NAMES = 200_000  # in which patterns are looked for
MIN_NAMES = 10
MIN_NAMED = 0.5  # share of the names that have the word of a group
MIN_MATCHED = 0.9  # share of the names that match a pattern without such a word
MIN_REPEATED = 0.5  # share of the images that must not be alone in their group
MAX_SIZE = 100  # images per group on average; more are classes, unless a word says that they are groups
MIN_GROUPS = 2
MAX_FOLDERS = 3  # that a group is in, on average; `view1` in the folder of every patient is not a group
LISTED = 5  # groups named in a line
WORDS = (
    "person", "patient", "pat", "pid", "subject", "subj", "sub", "participant", "case", "study", "volume", "vol",
    "slide", "specimen", "lesion", "video", "vid", "clip", "scan", "series", "sequence", "seq", "animal", "mouse",
)  # fmt: skip
WORD = re.compile(rf"(?<![a-z])({'|'.join(WORDS)})([-_ .]?)\d+", re.IGNORECASE)
SHAPES = (
    r"([^/]+)\.rf\.[0-9a-f]{32}",  # augmented copies of one image, as Roboflow names them
    r"(?:^|/)([^/_-]*\d)[_-][^/]*$",  # 00000001_000.png
    r"([^/]*\d)[_-][A-Za-z0-9]{1,8}\.\w+$",  # IM-0115-0001.jpeg, scan12_left.png
)
DATE = re.compile(r"(19|20)\d\d[-_]?[01]\d[-_]?[0-3]\d$")


@dataclass(frozen=True)
class Pattern:
    """A regular expression that finds groups in names, as `data.group_by` takes it."""

    regex: str
    groups: int
    images: int  # whose names match
    example: str  # one of the groups

    def key(self, name: str) -> str | None:
        """The group of an image, None if the name does not match."""
        return key_in(re.compile(self.regex), name)


class Groups:
    """What the images of a source say about groups, taken together."""

    def __init__(self, selection: Selection, has_splits: bool) -> None:
        self.selection = selection
        self.has_splits = has_splits
        self.given = 0  # images whose group is known
        self.shares: array[float] = array("d")  # what decides about the hold-out, of each image; equal within a group
        self._images: list[tuple[str, str, str | None]] = []  # name, split, group

    def add(self, name: str, split: str, group: str | None, digest: str) -> None:
        """Count an image. `digest` is the hash of its content."""
        group = self.selection.group(name, group)
        self.given += group is not None
        if not self.has_splits:
            self.shares.append(share_of(digest if group is None else group))
        if len(self._images) < MAX_NAMES:
            self._images.append((name, split, group))

    def pattern(self) -> Pattern | None:
        """The pattern in names, if groups are not known already."""
        return None if self.given else find_pattern([name for name, *_ in self._images])

    def overlap(self) -> list[str]:
        """The groups that are in `train` and in another split, each as `person12: 3 in train, 1 in test`."""
        pattern = self.pattern()
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for name, split, group in self._images if self.has_splits else ():
            key = group or (pattern.key(name) if pattern else None)
            if key is not None:
                found[key][split] += 1
        return [
            f"{key}: {', '.join(f'{count:,} in {split}' for split, count in splits.items())}"
            for key, splits in found.items()
            if len(splits) > 1 and "train" in splits
        ]

    def remarks(self) -> list[Remark]:
        """What the user should know: groups that were not asked for, or are torn apart, and a hold-out of nothing."""
        pattern = self.pattern()
        if self.has_splits:
            torn = self.overlap()
            known = f" (names with {pattern.regex!r})" if pattern else ""
            some = "; ".join(torn[:LISTED]) + ("; ..." if len(torn) > LISTED else "")
            many = counted(len(torn), "group")
            text = f"{many}{known} in train and also in another split, so scores are too good: {some}"
            return [Remark("groups", text)] if torn else []
        if not self.selection.holdout:
            return []
        result = hold_out_remarks(self.shares, self.selection.holdout, bool(self.given))
        if pattern:
            result.append(Remark("groups", proposal(pattern)))
        return result


def proposal(pattern: Pattern) -> str:
    """In words: which groups the names show, and how to keep them together."""
    setting = f"data.group_by='{pattern.regex}'"
    return (
        f"names such as {pattern.example} repeat: {pattern.images:,} images of {pattern.groups:,} groups. If these are "
        f"patients or the like, keep each on one side of the hold-out: --group-by '{pattern.regex}' ({setting})"
    )


def hold_out_remarks(shares: Sequence[float], holdout: float, grouped: bool) -> list[Remark]:
    """What to say if nothing is held out, or far more or less than `holdout`, because groups stay together.

    `shares` has a number in [0, 1) for each image, the same within a group: those below `holdout` are held out.
    """
    places, sizes = np.unique(np.asarray(shares), return_counts=True)
    total, held = sizes.sum(), sizes[places < holdout].sum()
    if not total or held == total:
        return []
    kind = "groups" if grouped else "images"
    if len(places) == 1:
        text = f"none, as all images are of one group: without a split `val`, {NO_HOLDOUT}"
        return [Remark("hold-out", text)] if grouped else []
    achieved = np.cumsum(sizes) / total  # if groups are held out up to each of them
    best = int(np.abs(achieved[:-1] - holdout).argmin())
    percent = next((n for n in range(1, 100) if places[best] < n / 100 <= places[best + 1]), None)
    setting = f"{percent}%" if percent else f"{(places[best] + places[best + 1]) / 2:.4f}"
    advice = f"data.holdout={setting} (--holdout {setting}) holds out {achieved[best]:.0%}"
    if not held:
        why = f"a hash of each of the {len(places):,} {kind} decides, with a chance of {holdout:.0%}"
        return [Remark("hold-out", f"no image is held out ({why}), so {NO_HOLDOUT}; {advice}")]
    if grouped and abs(held / total - holdout) > max(holdout, 0.02) and abs(achieved[best] - held / total) > 0.01:
        text = f"{held / total:.0%} of the images instead of {holdout:.0%}, as groups are large and stay together"
        return [Remark("hold-out", f"{text}; {advice}")]
    return []


NO_HOLDOUT = "nobody can say later whether a generator copies its training images"


def find_pattern(names: Sequence[str]) -> Pattern | None:
    r"""A pattern of groups that repeat in names, such as `person\d+`; None where names are merely numbered.

    A pattern that only says the folder of an image, such as `n0144` in `n0144/n0144_12.jpg`, is not one of groups.

    >>> names = [f"person{n // 3}_bacteria_{n}.jpeg" for n in range(30)]
    >>> find_pattern(names).regex
    'person\\d+'
    >>> find_pattern([f"img{n:04}.png" for n in range(30)])
    """
    if len(names) < MIN_NAMES:
        return None
    words = Counter((match[1], match[2]) for name in names if (match := WORD.search(name)))
    common = [rf"{word}{mark.replace('.', '[.]')}\d+" for (word, mark), _ in words.most_common(2)]
    for regex in (*common, *SHAPES):
        found, pairs = _measured(regex, names)
        if _is_of_groups(found, pairs, len(names), has_word=regex in common):
            return Pattern(regex, len(found), sum(found.values()), next(iter(found)).replace("\n", " "))
    return None


def _measured(regex: str, names: Sequence[str]) -> tuple[Mapping[str, int], set[tuple[str, str]]]:
    """How many images each group has, and the pairs of group and folder."""
    pattern = re.compile(regex)
    found: Counter[str] = Counter()
    pairs: set[tuple[str, str]] = set()
    for name in names:
        if (key := key_in(pattern, name)) is not None:
            found[key] += 1
            pairs.add((key, name.rpartition("/")[0]))
    return found, pairs


def _is_of_groups(found: Mapping[str, int], pairs: set[tuple[str, str]], count: int, *, has_word: bool) -> bool:
    """Whether the matches of a pattern look like groups of images, and not like numbers of images or classes."""
    matched = sum(found.values())
    repeated = sum(size for size in found.values() if size > 1)
    if len(found) < MIN_GROUPS or repeated < MIN_REPEATED * matched:
        return False
    if has_word:
        return matched >= MIN_NAMED * count
    folders = {folder for _, folder in pairs}
    are_folders = len(pairs) == len(found) == len(folders)
    dates = sum(size for key, size in found.items() if DATE.search(key))
    short = sum(size for key, size in found.items() if key.isdecimal() and len(key) < 3)
    return (
        matched >= MIN_MATCHED * count
        and matched <= MAX_SIZE * len(found)
        and len(pairs) <= MAX_FOLDERS * len(found)
        and not are_folders
        and max(dates, short) < MIN_REPEATED * matched
    )
