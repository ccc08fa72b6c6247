"""Laying settings over others: nested mappings, dotted keys, KEY=VALUE."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ganloom.config.values import named
from ganloom.core.errors import ConfigError
from ganloom.core.plain_yaml import read_value
from ganloom.core.words import shortened

__all__ = ["NAMED_SECTIONS", "dotted", "merge", "nested", "parse_override"]

NAMED_SECTIONS: dict[str, tuple[str, ...]] = {
    "net": ("latent",),
    "loss": (),
    "augment": (),
    "schedule": ("warmup",),
}
"""Sections whose keys depend on their `name`, each with the keys that mean the same under every name."""


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """{'train.batch': 8} as {'train': {'batch': 8}}."""
    result: dict[str, Any] = {}
    for key, value in sorted(values.items(), key=_names_first):
        *parents, last = key.split(".")
        result = merge(result, _nest(parents, {last: value}))
    return result


def dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The opposite of `nested`: every value with its dotted key."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _names_first(item: tuple[str, Any]) -> tuple[int, bool]:
    """`net=mlp` comes with other options, so it goes before `net.latent=64`, in whatever order they were given."""
    key, _ = item
    return key.count("."), not key.endswith(".name")


def _nest(parents: Sequence[str], leaf: dict[str, Any]) -> dict[str, Any]:
    for parent in reversed(parents):
        leaf = {parent: leaf}
    return leaf


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mapping by mapping. Another network, loss or schedule does not inherit options, and
    `penalties: {}` removes all penalties.
    """
    result = dict(below)
    for key, value in above.items():
        old, new = result.get(key), value
        if key in NAMED_SECTIONS:
            old, new = named(old), named(new)
            if isinstance(old, Mapping) and isinstance(new, Mapping) and _renamed(old, new):
                old = {shared: old[shared] for shared in old if shared in NAMED_SECTIONS[key]}
        both = isinstance(old, Mapping) and isinstance(new, Mapping) and (new or key != "penalties")
        result[key] = merge(old, new) if both else new  # type: ignore[arg-type]
    return result


def _renamed(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return "name" in new and "name" in old and new["name"] != old["name"]


def parse_override(text: str) -> tuple[str, Any]:
    """`train.batch=32` as its key and its value, read as YAML. Raises `ConfigError`."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"'{shortened(text)}' is not KEY=VALUE; write, for example, --set train.batch=32")
    return key.strip(), read_value(value)
