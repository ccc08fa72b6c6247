"""Which images of a source are taken, and on which side of a hold-out each comes to lie."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ganloom.core.errors import DataError
from ganloom.core.names import nearest
from ganloom.data.sources import Label, Source

__all__ = ["Selection"]


@dataclass(frozen=True)
class Selection:
    """What is taken of a source. Its text is part of the cache's key."""

    holdout: float = 0.05  # share that goes to `val` where the source has no split but `train`
    group_by: str | None = None  # pattern in the names; what it finds alike stays on one side of the hold-out
    classes: tuple[str, ...] | None = None  # None: all of them
    drop_duplicates: bool = False  # of images equal to the last bit take only the first

    def __str__(self) -> str:
        groups = f" in groups of {self.group_by!r}" if self.group_by else ""
        classes = "all" if self.classes is None else ", ".join(map(repr, self.classes))
        twice = "dropped" if self.drop_duplicates else "kept"
        return f"{self.holdout} held out{groups}, classes {classes}, duplicates {twice}; v1"

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return re.compile(self.group_by) if self.group_by else None

    def check(self, source: Source) -> None:
        """Raise `DataError` for what this source cannot give."""
        for name in self.classes or ():
            if name not in source.class_names:
                raise DataError(f"{source.name} has no class '{name}'. {nearest(name, source.class_names)}")
        if self._pattern is None:
            return
        if len(source.splits) > 1:
            raise DataError(
                f"data.group_by (--group-by) is for the hold-out, and {source.name} has splits of its own "
                f"({', '.join(source.splits)}): leave it out."
            )
        name = ""
        for item in source.items():
            if self.has_group(name := item.name):
                return
        raise DataError(
            f"data.group_by (--group-by) '{self.group_by}' is found in no name of {source.name}, such as '{name}'."
        )

    def has_group(self, name: str) -> bool:
        """Whether the pattern of groups is found in a name."""
        return self._pattern is not None and self._pattern.search(name) is not None

    def class_names(self, source: Source) -> list[str]:
        return [name for name in source.class_names if self.classes is None or name in self.classes]

    def takes(self, label: Label, source: Source) -> bool:
        if self.classes is None or label is None:
            return self.classes is None
        return bool(label[self._kept(source)].any()) if isinstance(label, np.ndarray) else label in self._kept(source)

    def label(self, label: Label, source: Source) -> Label:
        """The label among the classes taken."""
        if self.classes is None or label is None:
            return label
        kept = self._kept(source)
        return label[kept] if isinstance(label, np.ndarray) else kept.index(label)

    def _kept(self, source: Source) -> list[int]:
        return [index for index, name in enumerate(source.class_names) if name in (self.classes or ())]

    def is_held_out(self, name: str, digest: str) -> bool:
        """By a hash of the group or, without one, of the image: neither its name, its size on disk nor any other
        image matters, and equal images lie on one side.
        """
        found = self._pattern.search(name) if self._pattern else None
        key = digest if found is None else "\n".join(part or "" for part in (found.groups() or (found.group(),)))
        share = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:8]) / 2**64
        return share < self.holdout
