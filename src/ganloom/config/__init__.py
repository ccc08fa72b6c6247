"""The configuration of a run: frozen, typed, closed. YAML in and out, dotted overrides on top."""

from ganloom.config.config import Config, check_sections
from ganloom.config.data import NO_FILE, Data, Reading
from ganloom.config.differences import NOT_SET, Edit, differences, is_within
from ganloom.config.keys import explain, known_keys
from ganloom.config.overrides import dotted, merge, nested, parse_override
from ganloom.config.recipes import recipe_names, recipe_text, recipe_values
from ganloom.config.sections import Evaluate, Guard, Optimizer
from ganloom.config.values import named

__all__ = [
    "NOT_SET",
    "NO_FILE",
    "Config",
    "Data",
    "Edit",
    "Evaluate",
    "Guard",
    "Optimizer",
    "Reading",
    "check_sections",
    "differences",
    "dotted",
    "explain",
    "is_within",
    "known_keys",
    "merge",
    "named",
    "nested",
    "parse_override",
    "recipe_names",
    "recipe_text",
    "recipe_values",
]
