"""Settings as text, for the command line."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

import yaml

from ganloom.config.describe import BY_NAME, Setting

__all__ = ["as_yaml", "default_of", "details", "listing"]

WIDTH = 100  # characters in a line of prose


def listing(settings: Sequence[Setting]) -> Iterator[str]:
    """One line per key: key, default, first sentence."""
    keys, defaults = (max(map(len, column)) for column in zip(*((s.key, default_of(s)) for s in settings), strict=True))
    for each in settings:
        yield f"{each.key:<{keys}}  {default_of(each):<{defaults}}  {each.summary}"


def details(settings: Sequence[Setting]) -> Iterator[str]:
    """All that is known of one key; of a section what it is for, then its keys."""
    first, *others = settings
    if others and first.is_section:
        yield first.key
        yield from (f"  {line}" for line in wrap(first.description, WIDTH))
        yield ""
        yield from listing(others)
        return
    if others:
        yield from listing(settings)
        return
    yield first.key
    yield from (f"  {line}" for line in wrap(first.description, WIDTH))
    yield ""
    examples = f"; for example {', '.join(map(as_yaml, first.examples))}" if first.examples else ""
    yield f"  type     {first.type}{examples}"
    if first.unit:
        yield f"  unit     {first.unit}"
    yield f"  default  {default_of(first)}"
    by_value: dict[str, list[str]] = {}
    for recipe, value in first.recipes.items():
        by_value.setdefault(as_yaml(value), []).append(recipe)
    for index, (value, names) in enumerate(sorted(by_value.items(), key=lambda item: -len(item[1]))):
        yield f"  {'' if index else 'recipes':<7}  {value}: {', '.join(names)}"
    if by_value:
        yield "           Recipes based on one of these inherit its value, unless they are listed themselves."
    yield f"  set it   --set {first.key}=VALUE"


def default_of(setting: Setting) -> str:
    """As it is written in YAML; empty for a section that is always there."""
    if setting.type == BY_NAME:
        return BY_NAME
    if setting.required and not setting.is_section:
        return "(required)"
    return "" if setting.type == "section" else as_yaml(setting.default)


def as_yaml(value: Any) -> str:
    """In one line."""
    if isinstance(value, str):
        return value
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
