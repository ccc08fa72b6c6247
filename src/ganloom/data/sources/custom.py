"""The user's own source: `FILE.py` or `FILE.py:ARGUMENT`, a file with `open_source(spec)` as the ones beside this have.

What it gives is checked, since nobody has tested it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganloom.core.code import OwnModule, blame, load_file, split, take
from ganloom.core.errors import ConfigError
from ganloom.data.sources.contract import SPLITS, Item, Label, Source

__all__ = ["OwnSource", "open_source"]

PARTS = ("name", "class_names", "splits", "count", "ignored", "fingerprint", "items")


class OwnSource:
    """A source whose fingerprint changes with its code too: what it made before it was changed is not served again."""

    def __init__(self, source: Source, module: OwnModule, argument: str) -> None:
        """Raises `ConfigError` for what is no source."""
        self._source, self._module, self._argument = source, module, argument
        self._kind: type | None = None  # of the labels, once there is one
        if missing := [part for part in PARTS if not hasattr(source, part)]:
            raise self._wrong(f"open_source gives {_form(source)}, which lacks {', '.join(missing)}")
        with blame(module):
            self.name = source.name
            self.class_names: Sequence[str] = [str(name) for name in source.class_names]
            self.splits: Sequence[str] = list(source.splits)
            self.count = source.count
            self.ignored = source.ignored
        if not isinstance(self.name, str) or self.name in ("", "..") or Path(self.name).name != self.name:
            raise self._wrong(f"the name of a source should do for a folder, and {self.name!r} does not")
        if not self.splits or not set(self.splits) <= set(SPLITS):
            raise self._wrong(f"the splits of a source are some of {', '.join(SPLITS)}, and not {self.splits}")

    def fingerprint(self) -> Iterator[str]:
        yield f"{self._module.code.sha256}\t{self._argument}"
        with blame(self._module):
            yield from map(str, self._source.fingerprint())

    def items(self) -> Iterator[Item]:
        with blame(self._module):
            yield from map(self._checked, self._source.items())

    def _checked(self, item: Any) -> Item:
        if not isinstance(item, Item):
            raise self._wrong(f"items() should give Item(name, split, label, open), not {_form(item)}")
        if item.split not in self.splits:
            raise self._wrong(f"{item.name} lies in '{item.split}', which is none of its splits")
        return replace(item, label=self._label(item))

    def _label(self, item: Item) -> Label:
        label, classes = item.label, len(self.class_names)
        if label is None:
            return None
        if isinstance(label, int | np.integer) and 0 <= label < classes:
            label = int(label)
        elif not (isinstance(label, np.ndarray) and label.shape == (classes,) and classes):
            raise self._wrong(self._right(item))
        self._kind = self._kind or type(label)
        if not isinstance(label, self._kind):
            raise self._wrong(f"the label of {item.name} is {_form(label)}, and others are {self._kind.__name__}")
        return label

    def _right(self, item: Item) -> str:
        classes = len(self.class_names)
        if not classes:
            return f"{item.name} has the label {item.label!r}, and there are no class_names"
        return (
            f"the label of {item.name} should be a number from 0 to {classes - 1}, an array of {classes}, or None, "
            f"not {item.label!r}"
        )

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(f"{self._module.__file__}: {what}. `Source` in ganloom/data/sources/contract.py says all.")


def open_source(spec: str) -> OwnSource:
    """Runs the file. Raises `ConfigError` with its line at fault."""
    parts = split(spec)
    assert parts is not None, f"{spec} names no file"
    path, argument = parts
    module = load_file(path)
    opening = take(module, "open_source", "spec", options=False)
    with blame(module):
        source = opening(argument)
    return OwnSource(source, module, argument)


def _form(value: object) -> str:
    return f"something of type {type(value).__name__}"
