"""Choose which images of a source are used, and which of them are held out for validation."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ganloom.core.errors import UnsuitableError
from ganloom.core.names import nearest
from ganloom.data.sources import Item, Label, Source

__all__ = ["Selection", "key_in", "share_of"]


@dataclass(frozen=True)
class Selection:
    """Which images of a source are used. `str()` of it is part of the cache key."""

    holdout: float = 0.05  # fraction that goes to `val` if the source has only the split `train`
    group_by: str | None = (
        None  # regular expression: images for which it finds the same text in the name stay in one split
    )
    classes: tuple[str, ...] | None = None  # None: all
    drop_duplicates: bool = False  # of identical images use only the first

    def __str__(self) -> str:
        groups = f" in groups of {self.group_by!r}" if self.group_by else ""
        classes = "all" if self.classes is None else ", ".join(map(repr, self.classes))
        twice = "dropped" if self.drop_duplicates else "kept"
        return f"{self.holdout} held out{groups}, classes {classes}, duplicates {twice}; v1"

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return re.compile(self.group_by) if self.group_by else None

    def check(self, source: Source) -> None:
        """Raise `UnsuitableError` if this source does not have the classes or names that the selection needs."""
        for name in self.classes or ():
            if name not in source.class_names:
                raise UnsuitableError(f"{source.name} has no class '{name}'. {nearest(name, source.class_names)}")
        if self._pattern is None:
            return
        if len(source.splits) > 1:
            raise UnsuitableError(
                f"data.group_by (--group-by) applies to the hold-out, but {source.name} already has splits "
                f"({', '.join(source.splits)}): leave it out."
            )
        name = ""
        for item in source.items():
            if self.has_group(name := item.name):
                return
        raise UnsuitableError(
            f"data.group_by (--group-by) '{self.group_by}' matches no name of {source.name}: write a regular "
            f"expression that does; one of the names is '{name}'."
        )

    def has_group(self, name: str) -> bool:
        """Whether the pattern `group_by` is found in a name."""
        return self._pattern is not None and self._pattern.search(name) is not None

    def class_names(self, source: Source) -> list[str]:
        """The names of the selected classes, in the source's order."""
        return [name for name in source.class_names if self.classes is None or name in self.classes]

    def takes(self, label: Label, source: Source) -> bool:
        """Whether images with this label are used. Without a label they are only if no classes are selected."""
        if self.classes is None or label is None:
            return self.classes is None
        return bool(label[self._kept(source)].any()) if isinstance(label, np.ndarray) else label in self._kept(source)

    def label(self, label: Label, source: Source) -> Label:
        """The label renumbered for the selected classes."""
        if self.classes is None or label is None:
            return label
        kept = self._kept(source)
        return label[kept] if isinstance(label, np.ndarray) else kept.index(label)

    def _kept(self, source: Source) -> list[int]:
        return [index for index, name in enumerate(source.class_names) if name in (self.classes or ())]

    def is_held_out(self, item: Item, digest: str) -> bool:
        """Whether an image goes to `val`, decided by a hash of its group or, without one, of its content.

        So neither its name nor any other image matters, and identical images are in the same split.
        """
        group = self.group(item.name, item.group)
        return share_of(digest if group is None else group) < self.holdout

    def group(self, name: str, group: str | None) -> str | None:
        """The group of an image: what `group_by` finds in its name, or else what the source says. None: it has none."""
        found = key_in(self._pattern, name) if self._pattern else None
        return group or None if found is None else found


def key_in(pattern: re.Pattern[str], name: str) -> str | None:
    """What a pattern, or its groups, match in a name; None if it does not match."""
    found = pattern.search(name)
    return None if found is None else "\n".join(part or "" for part in (found.groups() or (found.group(),)))


def share_of(key: str) -> float:
    """A number in [0, 1) that depends on the key alone: what has a smaller one than `holdout` is held out."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:8]) / 2**64
