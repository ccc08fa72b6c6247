"""A custom source: `FILE.py` or `FILE.py:ARGUMENT`, a Python file of the user with `open_source(spec)`.

Everything that it returns is checked, because no test of ganloom covers it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganloom.core.code import CustomModule, blame, get_callable, load_file, split
from ganloom.core.errors import ConfigError
from ganloom.data.sources.contract import SPLITS, Item, Label, Remark, Source

__all__ = ["CustomSource", "open_source"]

PARTS = ("name", "class_names", "splits", "count", "ignored", "fingerprint", "items")


class CustomSource:
    """Checks a custom source. Its fingerprint includes the code, so images are prepared again when the code changes."""

    def __init__(self, source: Source, module: CustomModule, argument: str) -> None:
        """Raises `ConfigError` for an object that does not follow the contract of a source."""
        self._source, self._module, self._argument = source, module, argument
        self._kind: type | None = None  # type of the labels, known after the first
        if missing := [part for part in PARTS if not hasattr(source, part)]:
            raise self._error(
                f"open_source returns an object of type {type(source).__name__}, which lacks {', '.join(missing)}"
            )
        with blame(module):
            self.name = source.name
            self.class_names: Sequence[str] = [str(name) for name in source.class_names]
            self.splits: Sequence[str] = list(source.splits)
            self.count = source.count
            self.ignored = source.ignored
            self.remarks: Sequence[Remark] = ()
        if not isinstance(self.name, str) or self.name in ("", "..") or Path(self.name).name != self.name:
            raise self._error(f"the name of a source should be valid as the name of a folder, not {self.name!r}")
        if not self.splits or not set(self.splits) <= set(SPLITS):
            raise self._error(f"the splits of a source should be some of {', '.join(SPLITS)}, not {self.splits}")

    def fingerprint(self) -> Iterator[str]:
        yield f"{self._module.code.sha256}\t{self._argument}"
        with blame(self._module):
            yield from map(str, self._source.fingerprint())

    def items(self) -> Iterator[Item]:
        with blame(self._module):
            yield from map(self._checked, self._source.items())

    def _checked(self, item: Any) -> Item:
        if not isinstance(item, Item):
            raise self._error(f"items() should yield Item(name, split, label, open), not {type(item).__name__}")
        if item.split not in self.splits:
            raise self._error(f"the split '{item.split}' of {item.name} is not one of its splits")
        return replace(item, label=self._label(item))

    def _label(self, item: Item) -> Label:
        label, classes = item.label, len(self.class_names)
        if label is None:
            return None
        if isinstance(label, int | np.integer) and 0 <= label < classes:
            label = int(label)
        elif not (isinstance(label, np.ndarray) and label.shape == (classes,) and classes):
            raise self._error(self._label_problem(item))
        self._kind = self._kind or type(label)
        if not isinstance(label, self._kind):
            raise self._error(
                f"the label of {item.name} has type {type(label).__name__}, other labels have {self._kind.__name__}"
            )
        return label

    def _label_problem(self, item: Item) -> str:
        classes = len(self.class_names)
        if not classes:
            return f"{item.name} has the label {item.label!r}, but class_names is empty"
        return (
            f"the label of {item.name} should be a number from 0 to {classes - 1}, an array of {classes} values, "
            f"or None, not {item.label!r}"
        )

    def _error(self, problem: str) -> ConfigError:
        return ConfigError(f"{self._module.__file__}: {problem}. See `Source` in ganloom/data/sources/contract.py.")


def open_source(spec: str) -> CustomSource:
    """Run the file and open its source. Raises `ConfigError` with the faulty line."""
    parts = split(spec)
    assert parts is not None, f"{spec} is not a Python file"
    path, argument = parts
    module = load_file(path)
    function = get_callable(module, "open_source", "spec", options=False)
    with blame(module):
        source = function(argument)
    return CustomSource(source, module, argument)
