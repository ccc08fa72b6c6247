"""What can be set, as data: for `ganloom config`, docs/configuration.md, forms and tuners. Needs no torch."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from pydantic import BaseModel, create_model
from pydantic.json_schema import GenerateJsonSchema

from ganloom.config.config import Config
from ganloom.config.keys import Key, keys_of
from ganloom.config.overrides import NAMED_SECTIONS
from ganloom.config.recipes import recipe_names, recipe_text
from ganloom.config.values import named
from ganloom.core.errors import ConfigError
from ganloom.core.lengths import Length
from ganloom.core.names import nearest
from ganloom.core.plain_yaml import read_mapping

__all__ = ["BY_NAME", "Setting", "find", "json_schema", "options", "settings"]


@dataclass(frozen=True)
class Setting:
    """One key of the configuration, or a section of keys."""

    key: str  # dotted; `*` is a name of the user's choice: penalties.*.weight
    type: str  # in words: "whole number above 0, or null"; "section"
    default: Any  # as in JSON; None where it is required, too
    description: str
    unit: str | None = None  # what a number counts or measures
    examples: tuple[Any, ...] = ()  # values that may be written, where the type alone does not show it
    required: bool = False
    recipes: Mapping[str, Any] = field(default_factory=dict)  # built-in recipes that set it themselves, with the value

    @property
    def is_section(self) -> bool:
        return self.type.startswith("section")

    @property
    def summary(self) -> str:
        """The first sentence of the description."""
        return re.split(r"(?<=\.) (?=[A-Z`]|null\b|0\b)", self.description)[0]


def settings() -> list[Setting]:
    """Every key of the configuration, each section before its keys."""
    found: dict[str, Setting] = {}
    for key in keys_of(Config):
        setting = _describe(key)
        found[key.dotted] = _joined(found[key.dotted], setting) if key.dotted in found else setting
    return [replace(each, recipes=_set_by(each.key)) for each in found.values()]


def find(key: str) -> list[Setting]:
    """A key; a section and its keys; or all keys that begin like this. `penalties.r1.weight` and options of a network
    (`net.g.width`), a loss or an augmentation are found too; so are words of a description, such as `gradient
    accumulation` or `ReduceLROnPlateau`. Raises `ConfigError` with the nearest known key.
    """
    known = settings()
    if chosen := re.match(r"penalties\.([^.*]+)", key):
        known = [_of_penalty(each, chosen[1]) for each in known]
    exact = [each for each in known if each.key == key or each.key.startswith(f"{key}.")]
    if exact:
        return exact
    if begins := [each for each in known if each.key.startswith(key)]:
        return begins
    for section, kind in _OPTIONS.items():
        if key.startswith(f"{section}.") and "." not in key.removeprefix(f"{section}."):
            text = f"An option of {kind}, if it has one of this name: see docs/configuration.md."
            return [Setting(key, BY_NAME, None, text, recipes=_set_by(key))]
    word = re.compile(rf"\b{re.escape(key)}", re.IGNORECASE)
    is_tail = any(each.key.endswith(f".{key}") for each in known)  # of `batch` the key is meant, not the word
    if len(key) >= MIN_WORD and not is_tail and (named := [each for each in known if word.search(each.description)]):
        return named
    raise ConfigError(f"unknown key '{key}'. {nearest(key, [each.key for each in known])}")


def _of_penalty(setting: Setting, name: str) -> Setting:
    """penalties.*.weight as penalties.r1.weight."""
    key = setting.key.replace("*", name)
    return setting if key == setting.key else replace(setting, key=key, recipes=_set_by(key))


MIN_WORD = 3  # letters of a word that is looked for in descriptions

BY_NAME = "depends on the name"
"""The type, and the default, of an option of a network, a loss or an augmentation whose name is not given."""

_OPTIONS = {
    "net.g": "the generator",
    "net.d": "the discriminator",
    "loss": "the loss",
    "augment": "the augmentation",
}
"""Where keys depend on a name, and what they are options of."""


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a configuration file, with descriptions, defaults, `kind` and `unit`."""
    schema: dict[str, Any] = _unwrapped(_schema(Config))
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


class _JsonSchema(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """A default length as it is written."""
        return super().encode_default(str(dft) if isinstance(dft, Length) else dft)


def _unwrapped(schema: Any) -> Any:
    """Descriptions as one line: the source wraps them."""
    if isinstance(schema, dict):
        return {
            key: _one_line(value) if key == "description" and isinstance(value, str) else _unwrapped(value)
            for key, value in schema.items()
        }
    return [_unwrapped(each) for each in schema] if isinstance(schema, list) else schema


def _one_line(text: str) -> str:
    return " ".join(text.split())


# One key


def _describe(key: Key) -> Setting:
    description = _one_line(key.field.description or "")
    required = key.field.is_required()
    if key.subsections:
        optional = _accepts_null(_schema(key.section)["properties"][key.name])
        return Setting(key.dotted, "section, or null" if optional else "section", None, description, required=required)
    return _plain(key.dotted, _schema(key.section)["properties"][key.name], description, required)


def _plain(key: str, schema: Mapping[str, Any], description: str, required: bool) -> Setting:
    """A key with a plain value, from its JSON schema."""
    kinds = [schema, *schema.get("anyOf", ())]
    return Setting(
        key,
        _in_words(schema),
        schema.get("default"),
        description,
        next((kind["unit"] for kind in kinds if "unit" in kind), None),
        tuple(next((kind["examples"] for kind in kinds if "examples" in kind), ())),
        required,
    )


@cache
def _schema(section: type[BaseModel]) -> dict[str, Any]:
    return section.model_json_schema(schema_generator=_JsonSchema)


def _accepts_null(schema: Mapping[str, Any]) -> bool:
    return any(each.get("type") == "null" for each in schema.get("anyOf", ()))


_WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "options by name",
}


def _in_words(schema: Mapping[str, Any]) -> str:
    """The type that a JSON schema describes."""
    if "kind" in schema:
        return str(schema["kind"])
    if "anyOf" in schema:
        return ", or ".join(_in_words(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        *others, last = map(str, schema.get("enum") or [schema["const"]])
        return f"{', '.join(others)} or {last}" if others else last
    if schema["type"] == "array":
        return f"list of {_in_words(schema['items'])}"
    return f"{_WORDS[schema['type']]}{_limits(schema)}"


def _limits(schema: Mapping[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']:g} to {schema['maximum']:g}"
    said = {
        "exclusiveMinimum": " above",
        "minimum": ", at least",
        "exclusiveMaximum": ", below",
        "maximum": ", at most",
    }
    return "".join(f"{words} {schema[key]:g}" for key, words in said.items() if key in schema)


def _joined(one: Setting, other: Setting) -> Setting:
    """A key that several kinds of a section share, such as the `name` of schedules."""
    types, texts = dict.fromkeys([one.type, other.type]), dict.fromkeys([one.description, other.description])
    required = one.required and other.required
    default = one.default if one.default is not None else other.default
    return replace(one, type=", ".join(types), description=" ".join(texts), required=required, default=default)


def options(prefix: str, function: Callable[..., Any]) -> list[Setting]:
    """Options of a network, a loss or an augmentation: the keyword-only arguments of `function`, undescribed."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        each.name: (each.annotation, ... if each.default is each.empty else each.default)
        for each in parameters
        if each.kind is each.KEYWORD_ONLY
    }
    model: type[BaseModel] = create_model("Options", **fields)
    schemas = model.model_json_schema().get("properties", {})
    return [_plain(prefix + name, schema, "", fields[name][1] is ...) for name, schema in schemas.items()]


# What recipes set


@cache
def _own_values() -> dict[str, dict[str, Any]]:
    """What each recipe says itself, without its base; `loss: bce` as `loss: {name: bce}`."""
    return {name: _full(read_mapping(recipe_text(name), name)) for name in recipe_names()}


def _full(values: Mapping[str, Any]) -> dict[str, Any]:
    full = {key: named(value) if key in NAMED_SECTIONS else value for key, value in values.items()}
    return {key: _full(value) if isinstance(value, Mapping) else value for key, value in full.items()}


def _set_by(key: str) -> dict[str, Any]:
    """Recipes that set a key, with the value; for penalties.*.weight with one for each name."""
    found = {}
    for recipe, values in _own_values().items():
        places = dict(_at(values, key.split(".")))
        if "*" in key and places:
            found[recipe] = {".".join(chosen): value for chosen, value in places.items()}
        elif places:
            found[recipe] = places[()]
    return found


def _at(values: Any, path: list[str], chosen: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values at a path, with the names that its `*` stand for."""
    if not path:
        yield chosen, values
        return
    if not isinstance(values, Mapping):
        return
    for name in values if path[0] == "*" else [path[0]]:
        if name in values:
            yield from _at(values[name], path[1:], (*chosen, name) if path[0] == "*" else chosen)
