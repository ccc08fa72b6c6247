"""Recipes: YAML files inside the package, or anywhere on the user's disk."""

from importlib import resources
from pathlib import Path
from typing import Any

from ganloom.config.overrides import merge
from ganloom.core.errors import ConfigError
from ganloom.core.files import read_regular
from ganloom.core.names import check_name, in_its_case
from ganloom.core.plain_yaml import read_mapping

__all__ = ["recipe_names", "recipe_text", "recipe_values"]


def recipe_names() -> list[str]:
    """The recipes in the package, in alphabetical order."""
    files = resources.files("ganloom.recipes").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """The YAML of a recipe: one in the package by its name, or a file ending in .yaml. Raises `ConfigError`."""
    if name.endswith((".yaml", ".yml")):
        try:
            return read_regular(Path(name)).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"cannot read the recipe {name}: {error}. Check the path; it should be text in UTF-8."
            ) from None
    name = in_its_case(name, recipe_names())
    check_name("recipe", name, recipe_names())
    return resources.files("ganloom.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def recipe_values(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe as nested values; `base: other` lays it over another recipe. Raises `ConfigError`."""
    values = read_mapping(recipe_text(name), name)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str) or base in (*above, name):
        raise ConfigError(f"the base of recipe {name} should be the name of another recipe, not {base!r}.")
    return merge(recipe_values(base, (*above, name)), values)
