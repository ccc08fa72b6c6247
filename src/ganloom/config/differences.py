"""What differs between the settings that a run was trained with and those that it has now."""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from ganloom.config.config import Config
from ganloom.config.overrides import dotted
from ganloom.core.errors import ConfigError

__all__ = ["NOT_SET", "Edit", "differences", "is_within"]

NOT_SET = "not set"  # an option that the other configuration does not name


class Edit(NamedTuple):
    """A setting with another value than before."""

    before: object
    now: object

    @property
    def text(self) -> str:
        return f"was {_as_text(self.before)} and is {self.value}"

    @property
    def arrow(self) -> str:
        return f"{_as_text(self.before)} -> {self.value}"

    @property
    def value(self) -> str:
        """The present one, as in KEY=VALUE."""
        return _as_text(self.now)


def differences(before: Mapping[str, Any], config: Config) -> dict[str, Edit]:
    """The settings of `config` that differ from nested values, by dotted key.

    Settings that `before` lacks, as those of an older version may, had their defaults.
    """
    with contextlib.suppress(ConfigError):  # of an older version with other keys: as they are
        before = Config.build(before).model_dump(mode="json")
    old, new = dict(dotted(before)), dict(dotted(config.model_dump(mode="json")))
    found = {}
    for key in dict.fromkeys([*old, *new]):
        edit = Edit(old.get(key, NOT_SET), new.get(key, NOT_SET))
        is_section = any(other.startswith(f"{key}.") for other in (*old, *new))  # which was null, or is null now
        if edit.before != edit.now and not is_section:
            found[key] = edit
    return found


def is_within(key: str, sections: tuple[str, ...]) -> bool:
    """Whether a dotted key is one of these settings, or in one of these sections."""
    return any(f"{key}.".startswith(f"{section}.") for section in sections)


def _as_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ("x" if all(isinstance(each, int) for each in value) else ", ").join(map(str, value))
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
