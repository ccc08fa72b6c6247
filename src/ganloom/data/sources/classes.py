"""Which level of folders holds the classes, and which folders are only parts of one collection."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ganloom.core.errors import UnsuitableError
from ganloom.data.sources.contract import Remark
from ganloom.data.sources.naming import stem, words
from ganloom.data.sources.splits import GENERIC, MAX_OUTSIDE, Folders, enumeration

__all__ = ["ClassFolders", "find_classes"]

PART_WORDS = GENERIC | {
    "archive", "batch", "block", "chunk", "disc", "disk", "dl", "download", "dump", "fold", "pack", "package", "part",
    "pt", "section", "shard", "subset", "tar", "upload", "vol", "volume", "zip",
}  # fmt: skip
"""Numbered folders with such a name are parts: `images_part_1`, `batch1`, `photos_001`."""

CLASS_WORDS = {
    "birads", "cat", "category", "class", "cls", "cluster", "digit", "grade", "id", "identity", "kind", "label",
    "level", "number", "person", "rating", "score", "severity", "species", "stage", "star", "style", "subject", "type",
}  # fmt: skip
"""Numbered folders with such a name are classes: `digit_0`, `grade1`, `stage_2`."""

SHARD_SIZES = (1000, 10_000)  # images in each folder where those of a large collection are numbered through


MIN_SINGLE, SINGLE = 20, 0.9  # so many folders, nearly as many as images, are not classes
FEW = 4  # images in each of so many folders on average: it is said that they are taken for classes
DATE = r"(19|20)\d\d([-_. ]?[01]\d([-_. ]?[0-3]\d)?)?(?![^\W_])"  # 2019, 2019-07, 20190712 and anything after it


@dataclass(frozen=True)
class ClassFolders:
    """The level of the folders that are the classes."""

    level: int | None = None  # index among the folders of an image below the splits; None: there are no classes
    remarks: tuple[Remark, ...] = ()

    def name(self, folders: Folders) -> str | None:
        """The class of an image. None if it is outside the class folders."""
        return folders[self.level] if self.level is not None and len(folders) > self.level else None


def find_classes(tree: Mapping[Folders, Sequence[str]], given: int | None) -> ClassFolders:
    """The class folders among the folders of training images, with the paths in each.

    `given` is `data.class_level`. Raises `UnsuitableError` if there are no folders at that level.
    """
    if given == 0:
        return ClassFolders()
    if given is not None:
        deepest = max(tree, key=len, default=())
        if len(deepest) < given:
            example = f", such as {'/'.join(deepest)}" if deepest else ""
            raise UnsuitableError(
                f"there are no folders at level {given} (data.class_level, --class-level): the deepest are at level "
                f"{len(deepest)}{example}."
            )
        return ClassFolders(given - 1)
    total = sum(map(len, tree.values()))
    remarks: list[Remark] = []
    level = 0
    while True:
        inside = {folders: paths for folders, paths in tree.items() if len(folders) > level}
        strays = total - sum(map(len, inside.values()))
        if strays > MAX_OUTSIDE * total or not inside:
            return ClassFolders(None, tuple(remarks))
        names = {folders[level] for folders in inside}
        if len(names) == 1:
            if not _is_generic(*names) and not _goes_on(tree, level + 1):
                return ClassFolders(level, tuple(remarks))
        elif len(names) >= MIN_SINGLE and len(names) > SINGLE * sum(map(len, inside.values())):
            said = f"none; nearly all of the {len(names):,} folders ({enumeration(names)}) have one image"
            remark = Remark("classes", f"{said}; if they are classes: --class-level {level + 1}")
            return ClassFolders(None, (*remarks, remark))
        elif all(re.match(DATE, name) for name in names):
            text = f"none; the folders {enumeration(names)} are dates"
            return ClassFolders(
                None, (*remarks, Remark("classes", f"{text}; if they are classes: --class-level {level + 1}"))
            )
        elif _are_parts(names) or _are_shards(inside, level):
            text = f"the folders {enumeration(names)} are parts of one collection, not classes"
            remarks.append(Remark("parts", f"{text}; if they are classes: --class-level {level + 1}"))
        else:
            return ClassFolders(level, (*remarks, *_remarks(inside, level, names)))
        level += 1


def _is_generic(folder: str) -> bool:
    """Whether the name of a folder says nothing about what its images show."""
    named = GENERIC - {"frame", "image", "photo", "picture", "sample"}  # a single one may be a kind: photo and sketch
    return not folder.isdecimal() and all(word.lower() in named or word.isdigit() for word in words(folder))


def _goes_on(tree: Mapping[Folders, Sequence[str]], level: int) -> bool:
    """Whether nearly all images are in folders of this level, too."""
    outside = sum(len(paths) for folders, paths in tree.items() if len(folders) <= level)
    return outside <= MAX_OUTSIDE * sum(map(len, tree.values()))


def _counted(names: Iterable[str]) -> str | None:
    """The last word before the number or letter in which names differ: `part` of images_part_1, images_part_2.

    Empty if they are only numbers. None if they differ in anything else.
    """
    number = r"(.*?)[\s_.\-(]*\d+\)?(?:[\s_\-]*of[\s_\-]*\d+)?"
    letter = r"(.*?)(?:[\s_.\-]+[a-zA-Z]|(?<=[a-z])[A-Z])"
    matches = [re.fullmatch(number, name, re.IGNORECASE) or re.fullmatch(letter, name) for name in names]
    stems = {(match[1] if match else name).lower() for match, name in zip(matches, names, strict=True)}
    return (words(stems.pop()) or [""])[-1] if len(stems) == 1 else None


def _are_parts(names: Iterable[str]) -> bool:
    word = _counted(names)
    return word is not None and bool({word, word.removesuffix("s")} & PART_WORDS)


def _are_shards(tree: Mapping[Folders, Sequence[str]], level: int) -> bool:
    """Whether the name of a folder follows from those of its files: 00001/img00001234.png, ab/ab34f2c1.jpg."""
    pairs = [(folders[level], stem(path)) for folders, paths in tree.items() for path in paths]
    lengths = {len(name) for name, _ in pairs}
    if len(lengths) > 1:
        return False
    if all(len(each) >= 8 and re.fullmatch(r"[0-9a-fA-F]+", each) and each.startswith(name) for name, each in pairs):
        return not all(each.isdecimal() for _, each in pairs)  # a hash
    numbers = [(name, re.search(r"(\d+)\D*$", each)) for name, each in pairs]
    known = [(int(name), int(number[1])) for name, number in numbers if number and name.isdecimal()]
    if lengths == {1} or len(known) < len(pairs):
        return False
    return any(all(number // size in (folder, folder / size) for folder, number in known) for size in SHARD_SIZES)


def _remarks(tree: Mapping[Folders, Sequence[str]], level: int, names: set[str]) -> Iterator[Remark]:
    """What is said of class folders that could be understood in another way."""
    word = _counted(names)
    is_numbered = word is not None and len(word) > 1 and not {word, word.removesuffix("s")} & CLASS_WORDS
    count = sum(map(len, tree.values()))
    is_thin = len(names) >= MIN_SINGLE and count < FEW * len(names)
    if is_numbered or is_thin or any(map(_is_generic, names)):
        what = "numbered folders" if is_numbered else "folders"
        few = f", with {count / len(names):.1f} images each," if is_thin else ""
        text = f"the {what} {enumeration(names)}{few} are taken for classes"
        yield Remark("classes", f"{text}; if they are only parts of one collection: --class-level 0")
    below = _folders_below(tree, level)
    if below is None:
        return
    deeper, inside = below
    sets = [frozenset(each) for each in inside.values()]
    same = len(set(sets)) == 1
    folders = enumeration(set().union(*sets))
    here = f"the classes are the folders of level {level + 1} ({enumeration(names)})"
    if same:
        text = f"{here}, each of which has the same folders ({folders})"
    else:
        text = f"{here}; below them are others ({folders})"
    yield Remark("classes", f"{text}; to take those as the classes: --class-level {deeper + 1}")


def _folders_below(tree: Mapping[Folders, Sequence[str]], level: int) -> tuple[int, dict[str, set[str]]] | None:
    """The first level below the classes that divides them: its index, and the folders in each class."""
    deepest = max(map(len, tree))
    for deeper in range(level + 1, deepest):
        inside: dict[str, set[str]] = defaultdict(set)
        for folders in tree:
            if len(folders) > deeper:
                inside[folders[level]].add(folders[deeper])
        if not _most_go_on(tree, deeper):
            return None
        if sum(len(each) > 1 for each in inside.values()) > len(inside) / 2:
            parts = all(len(each) == 1 or _are_parts(each) for each in inside.values())
            return None if parts else (deeper, inside)
    return None


def _most_go_on(tree: Mapping[Folders, Sequence[str]], level: int) -> bool:
    inside = sum(len(paths) for folders, paths in tree.items() if len(folders) > level)
    return inside > sum(map(len, tree.values())) / 2
