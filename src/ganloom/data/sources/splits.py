"""Which folders are splits: by their usual names, by a pattern that siblings share, or by `data.splits`."""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ganloom.core.errors import DataError, UnsuitableError
from ganloom.core.names import nearest
from ganloom.data.sources.contract import Remark
from ganloom.data.sources.naming import text, words

__all__ = [
    "GENERIC",
    "SHORT_WORDS",
    "SPLIT_NAMES",
    "SPLIT_WORDS",
    "Folders",
    "Splits",
    "enumeration",
    "find_splits",
    "second_copies",
    "shared_folders",
    "split_named",
]

Folders = tuple[str, ...]
"""The folders of an image, from the top."""

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SPLIT_WORDS = {
    **SPLIT_NAMES, "trainval": "train",
    "validate": "val", "validating": "val", "dev": "val", "eval": "val", "evaluate": "val", "evaluation": "val",
    "holdout": "val", "heldout": "val", "publictest": "val",
    "testing": "test", "privatetest": "test", "t10k": "test",
}  # fmt: skip
"""Every word for a split, in names of folders, files, arrays and published splits, and in cells of tables."""

SHORT_WORDS = {"tr": "train", "trn": "train", "va": "val", "vl": "val", "te": "test", "ts": "test", "tst": "test"}
"""Only where everything beside it is a split, too: they are codes of languages and more."""

GENERIC = {
    "data", "dataset", "file", "files", "folder", "frame", "frames", "image", "images", "img", "imgs", "jpeg", "jpegs",
    "jpg", "photo", "photos", "pic", "pics", "picture", "pictures", "png", "pngs", "sample", "samples", "set", "split",
}  # fmt: skip
"""Words that say nothing about what images show."""

MAX_OUTSIDE = 0.05  # share of images outside folders up to which folders mean something
LISTED = 4  # names in a message


class Named(NamedTuple):
    """A folder whose name has the word of a split."""

    split: str
    rest: tuple[str, ...]  # the other words that mean something, in lower case: ("cats",) of `cats_train`
    kind: str  # the name without the word of the split: `DIV2K_HR` of `DIV2K_train_HR`
    is_short: bool


@dataclass(frozen=True)
class Splits:
    """Which folders are the splits. Without a level there are none, and everything is for training."""

    level: int | None = None  # index among the folders of an image
    of: Mapping[str, str] = field(default_factory=dict)  # split by the name of the folder
    kinds: Mapping[str, str] = field(default_factory=dict)  # what else it says, where that differs: "cats"
    others_train: bool = False  # whether images outside these folders are for training
    remarks: tuple[Remark, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The splits that there are."""
        return tuple(sorted({"train", *self.of.values()}))

    def split(self, folders: Folders) -> str | None:
        """The split of an image. None if it is outside the split folders."""
        if self.level is None:
            return "train"
        inside = self.of.get(folders[self.level]) if len(folders) > self.level else None
        return inside or ("train" if self.others_train else None)

    def place(self, folders: Folders, level: int) -> int:
        """Where the folder at a level of `below` is among the folders of an image."""
        if self.level is None or len(folders) <= self.level or folders[self.level] not in self.of or level < self.level:
            return level
        return level if self.kinds.get(folders[self.level]) else level + 1

    def below(self, folders: Folders) -> Folders:
        """The folders of an image that say something else."""
        if self.level is None or len(folders) <= self.level or folders[self.level] not in self.of:
            return folders
        kind = self.kinds.get(folders[self.level])
        return (*folders[: self.level], *([kind] if kind else []), *folders[self.level + 1 :])


def find_splits(tree: Mapping[Folders, int], given: Mapping[str, str] | None) -> Splits:
    """The splits among the folders of images, with the number of images in each.

    `given` are those of `data.splits`; empty for none. Raises `DataError` if they do not exist, or if the folders can
    be understood in more than one way.
    """
    if given is not None:
        return _given(tree, given) if given else Splits()
    return _by_name(tree) or Splits()


def split_named(name: str, *, short: bool = False) -> str | None:
    """The split that a name is a word for, and nothing else; `short`: also as `SHORT_WORDS`.

    >>> split_named("Public Test"), split_named("te"), split_named("te", short=True), split_named("cats_train")
    ('val', None, 'test', None)
    """
    word = re.sub(r"[\W_]+", "", name.lower())
    return SPLIT_WORDS.get(word) or (SHORT_WORDS.get(word) if short else None)


def named(folder: str) -> Named | None:
    """What the name of a folder says if it has the word of exactly one split."""
    if split := split_named(folder):
        return Named(split, (), "", is_short=False)
    found, rest, kind, is_short = set(), [], folder, False
    for word in words(folder):
        known = re.sub(f"(?<=..)({'|'.join(sorted(GENERIC, key=len, reverse=True))})$", "", word.lower())
        if split := SPLIT_WORDS.get(known) or SHORT_WORDS.get(known):
            found.add(split)
            is_short = is_short or known in SHORT_WORDS
            kind = re.sub(rf"[\s_.\-]*{word}", "", kind, count=1).strip(" _.-")
        elif word.lower() not in GENERIC | {"v"} and not word.isdigit():  # v2
            rest.append(word.lower())
    return Named(found.pop(), tuple(rest), kind, is_short) if len(found) == 1 else None


def shared_folders(tree: Iterable[Folders], splits: Collection[str] = ()) -> int:
    """How many nested folders at the top contain everything and are not the split `train`, nor one of `splits`."""
    tree = list(tree)
    first = tree[0] if tree else ()
    depth = 0
    while depth < len(first) and first[depth] not in splits and not _is_train(first[depth]):
        if not all(folders[: depth + 1] == first[: depth + 1] for folders in tree):
            break
        depth += 1
    return depth


def second_copies(paths: Sequence[str], above: int) -> dict[str, list[str]]:
    """The folders at the top that have everything beside them once more, or all the splits, with their paths.

    `x` is one if it has exactly `x/train/cat/1.png` for every `train/cat/1.png`, or `x/cat/1.png` for every
    `cat/1.png`.
    """
    below: dict[str, list[str]] = defaultdict(list)
    shared = "".join(f"{part}/" for part in (paths[0].split("/")[:above] if paths else []))
    for path in paths:
        top, _, rest = "/".join(path.split("/")[above:]).partition("/")
        below[top].append(rest)
    splits = {top: found.split for top in below if (found := named(top)) and not found.rest and not found.is_short}
    in_splits = sum(len(below[top]) for top in splits) if {"train"} < set(splits.values()) else 0
    copies = {}
    for top, rests in below.items():
        if len(rests) == in_splits:
            others = list(splits)
        elif len(rests) == len(paths) - len(rests):
            others = [other for other in below if other != top]
        else:
            continue
        # A single other folder may be a class: a/train/1.png beside train/1.png.
        if len(others) > 1 and set(rests) == {f"{other}/{rest}" for other in others for rest in below[other]}:
            copies[top] = [f"{shared}{top}/{rest}" for rest in rests]
    return copies


def enumeration(names: Iterable[str]) -> str:
    """Some names in words: `a, b, c, d and 3 more`."""
    names = [text(name) for name in sorted(names)]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED + 1 else ""
    return ", ".join(names[:LISTED] if more else names) + more


def _is_train(folder: str) -> bool:
    found = named(folder)
    return found is not None and found.split == "train" and not found.rest and not found.is_short


def _given(tree: Mapping[Folders, int], given: Mapping[str, str]) -> Splits:
    depth = max(map(len, tree), default=0)
    by_level = [{folders[level] for folders in tree if len(folders) > level} for level in range(depth)]
    level = next((level for level, names in enumerate(by_level) if not given.keys() - names), None)
    if level is None:
        best = max(by_level, key=lambda names: len(given.keys() & names), default=set[str]())
        missing = min(given.keys() - best)
        raise UnsuitableError(f"there is no folder '{missing}' for data.splits (--splits). {nearest(missing, best)}")
    if "train" not in given.values():
        splits = Splits(level, given, others_train=True)
        if all(splits.split(folders) != "train" for folders in tree):
            raise UnsuitableError("data.splits (--splits) leaves no images for training: name a folder for train, too.")
        return splits
    return Splits(level, given, remarks=_outside(tree, level, given))


def _by_name(tree: Mapping[Folders, int]) -> Splits | None:
    """The splits at the top, or else at the first level below where nearly everything is in folders that are splits."""
    total, depth = sum(tree.values()), max(map(len, tree), default=0)
    for level in range(depth):
        names = {folders[level] for folders in tree if len(folders) > level}
        chosen, kinds = _choose(names)
        outside = sum(count for folders, count in tree.items() if len(folders) <= level or folders[level] not in chosen)
        if chosen and (level == 0 or outside <= MAX_OUTSIDE * total):
            above = {folders[level - 1] for folders in tree if len(folders) > level > 0}
            if len(above) > 1 and all("fold" in map(str.lower, words(name)) for name in above):
                raise DataError(
                    f"{enumeration(above)} are folds of a cross-validation: what is for testing in one is for training "
                    "in another. Give the path of one of them, or take all images for training: --splits none."
                )
            remarks = _outside(tree, level, chosen)
            if level or kinds or any(name.lower() not in SPLIT_NAMES for name in chosen):
                where = f" (folders of level {level + 1})" if level else ""
                change = "to change it: --splits FOLDER=SPLIT,... or --splits none"
                said = enumeration(f"{name} is {split}" for name, split in chosen.items())
                remarks = (Remark("splits", f"{said}{where}; {change}"), *remarks)
            return Splits(level, chosen, kinds, remarks=remarks)
        if level == 0 and (found := _without_partner(tree, names)):
            return found
    return None


def _choose(names: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The split of each folder that is one, and what else its name says where that differs.

    There must be one for training and one that is not, whose names are the same otherwise: beside `cats_train`,
    `cats_test` is a split, but `steam_train` is none beside `blood_test`.
    """
    known = {name: found for name in names if (found := named(name))}
    is_all = len(known) == len(names)
    groups: dict[tuple[str, ...], dict[str, Named]] = defaultdict(dict)
    for name, found in known.items():
        if is_all or not found.is_short:
            groups[found.rest][name] = found
    pairs = [rest for rest, group in groups.items() if {"train"} < {found.split for found in group.values()}]
    if not pairs:
        return {}, {}
    chosen = {name: found for rest in {*pairs, ()} for name, found in groups[rest].items()}
    several = sum(rest != () for rest in pairs) > 1
    kinds = {name: found.kind for name, found in chosen.items() if found.rest} if several else {}
    return {name: found.split for name, found in chosen.items()}, kinds


def _without_partner(tree: Mapping[Folders, int], names: set[str]) -> Splits | None:
    """What folders mean that have the name of a split, where those beside them do not. None: they are no splits.

    Raises `DataError` if that is not clear.
    """
    known = {name: found for name in names if (found := named(name))}
    of = {name: found.split for name, found in known.items() if not found.rest and not found.is_short}
    if known.keys() == names and {"train"} < {found.split for found in known.values()}:  # but their names differ
        of = {name: found.split for name, found in known.items()}
    if not of:
        return None
    others, loose = names - of.keys(), tree.get((), 0)
    only_train = set(of.values()) == {"train"}
    if not others and only_train:
        few = loose <= MAX_OUTSIDE * sum(tree.values())
        return Splits(0, of, remarks=_outside(tree, 0, of)) if few else None
    if only_train and of.keys() <= {"train", "Train"} and not _looks_like_splits(tree, of, others):
        said = f"'{enumeration(of)}' is taken for a class beside {enumeration(others)}"
        return Splits(remarks=(Remark("splits", f"{said}; if it is a split: {_flag(of)}"),))
    raise DataError(_two_readings(of, others, loose))


def _two_readings(of: Mapping[str, str], others: set[str], loose: int) -> str:
    """Why folders that have the names of splits need a word of the user."""
    if not others and not loose and "train" not in of.values():
        all_train = dict.fromkeys(of, "train")
        return (
            f"there are split folders ({enumeration(of)}) but no folder 'train': add it, or give the path of one of "
            f"the others. If they are classes: --splits none. If all are for training: {_flag(all_train)}."
        )
    one = len(of) == 1
    subject = (
        f"the folder {enumeration(of)} has the name of a split"
        if one
        else f"the folders {enumeration(of)} have names of splits"
    )
    beside = f"{enumeration(others)} beside {'it' if one else 'them'} {'has' if len(others) == 1 else 'have'} not"
    if not others:
        beside = f"{loose:,} images are outside {'it' if one else 'them'}" if loose else "the rest of the names differs"
    whole, rest = dict(of), ""
    if len(others) == 1:
        whole |= dict.fromkeys(others, "train" if "train" not in of.values() else "test")
    elif "train" not in of.values():
        rest = ", and everything else is for training"
    return (
        f"{subject}, but {beside}. If {'it is a split' if one else 'they are splits'}{rest}: "
        f"{_flag(whole)}. If folders are classes: --splits none."
    )


def _looks_like_splits(tree: Mapping[Folders, int], trains: Iterable[str], others: set[str]) -> bool:
    """Whether a folder `train` is more like a split than like a class of trains: it has folders, as the others do."""
    below: dict[str, set[str]] = defaultdict(set)
    for folders in tree:
        if folders:
            below[folders[0]].add(folders[1] if len(folders) > 1 else "")
    inside = set[str]().union(*(below[name] for name in trains)) - {""}
    return bool(inside) and (len(others) == 1 or any(inside & below[name] for name in others))


def _outside(tree: Mapping[Folders, int], level: int, of: Mapping[str, str]) -> tuple[Remark, ...]:
    """What is said of images that are in none of the split folders."""
    tops: Counter[str] = Counter()
    for folders, count in tree.items():
        if len(folders) <= level or folders[level] not in of:
            tops[folders[level] if len(folders) > level else "no folder"] += count
    if not tops:
        return ()
    said = f"{tops.total():,} images outside {', '.join(sorted(map(text, of)))} are skipped (in {enumeration(tops)})"
    return (Remark("splits", f"{said}; to use them: --splits FOLDER=SPLIT,..."),)


def _flag(of: Mapping[str, str]) -> str:
    """As it is typed."""
    return f"--splits {shlex.quote(','.join(f'{text(name)}={split}' for name, split in sorted(of.items())))}"
