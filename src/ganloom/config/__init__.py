"""The configuration of a run: frozen, typed, closed. YAML in and out, dotted overrides on top."""

from ganloom.config.config import Config, check_sections
from ganloom.config.keys import explain, known_keys
from ganloom.config.overrides import merge, nested, parse_override
from ganloom.config.recipes import recipe_names, recipe_text, recipe_values
from ganloom.config.sections import Data, Evaluate, Guard, Optimizer
from ganloom.config.values import named

__all__ = [
    "Config",
    "Data",
    "Evaluate",
    "Guard",
    "Optimizer",
    "check_sections",
    "explain",
    "known_keys",
    "merge",
    "named",
    "nested",
    "parse_override",
    "recipe_names",
    "recipe_text",
    "recipe_values",
]
