"""The dotted keys of a configuration, and messages about keys and values that do not fit."""

from collections.abc import Iterator
from typing import Any, NamedTuple, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ganloom.config.optimizers import SCHEDULES
from ganloom.core.faults import in_words
from ganloom.core.names import nearest
from ganloom.core.words import as_yaml, shortened

__all__ = ["Key", "explain", "keys_of", "known_keys", "not_a_section"]


class Key(NamedTuple):
    """One key of a section."""

    dotted: str  # from the top; `*` is a name that the user chooses: penalties.*.weight
    section: type[BaseModel]  # that it is a field of
    name: str  # in that section
    subsections: list[type[BaseModel]]  # what it may hold; none for a plain value

    @property
    def field(self) -> FieldInfo:
        return self.section.model_fields[self.name]


def keys_of(section: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Every key of a section and of the sections in it, in the order they are written.

    A key that several kinds of a section share, as all schedules have a `name`, comes once for each of them.
    """
    for name, field in section.model_fields.items():
        inner = _models_in(field.annotation)
        yield Key(prefix + name, section, name, inner)
        chosen = ".*" if get_origin(field.annotation) is dict else ""
        for kind in inner:
            yield from keys_of(kind, f"{prefix}{name}{chosen}.")


def known_keys(section: type[BaseModel]) -> Iterator[str]:
    """The dotted keys of a section."""
    return (key.dotted for key in keys_of(section))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for inner in getattr(annotation, "__args__", ()) for kind in _models_in(inner)]


def explain(error: ValidationError, section: type[BaseModel]) -> str:
    """What pydantic found in a section, one fault per line; unknown keys with the nearest known one."""
    lines = []
    for fault in error.errors():
        # A discriminated union puts its tag into the path; the person who wrote the file did not.
        place = ".".join(shortened(str(part)) for part in fault["loc"] if part not in SCHEDULES)
        if fault["type"] == "extra_forbidden":
            chosen = str(fault["loc"][1]) if len(fault["loc"]) > 1 else "*"  # the r1 of penalties.r1.weight
            known = [key.replace("*", chosen) for key in known_keys(section)]
            lines.append(f"unknown key '{place}'. {nearest(place, known)}")
        elif fault["type"] == "union_tag_invalid":
            lines.append(f"unknown {place} '{fault['ctx']['tag']}'. {nearest(fault['ctx']['tag'], SCHEDULES)}")
        elif fault["type"] == "missing":
            lines.append(f"'{place}' is missing: add it, such as with --set {place}=...")
        elif fault["type"] in ("model_type", "dict_type", "tuple_type"):
            lines.append(not_a_section(place, fault["input"], section))
        else:
            lines.append(f"{place}: {in_words(fault)}." if place else f"{in_words(fault)}.")
    return "\n".join(dict.fromkeys(lines))


def not_a_section(place: str, given: object, within: type[BaseModel]) -> str:
    """The message for a value where a section, or a list, belongs."""
    chosen = place.rpartition(".")[2] if "." in place else "r1"  # the r1 of penalties.r1.weight
    keys = (key.replace("*", chosen) for key in known_keys(within))
    example = next((key for key in keys if key.startswith(f"{place}.")), None)
    if example is None:
        return f"{place} is a list of values, and cannot be {as_yaml(given)}."
    return f"{place} is a section: set its keys, such as {example}, instead of {as_yaml(given)}."
