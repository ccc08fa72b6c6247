"""What pydantic finds wrong with a value, in plain words."""

from collections.abc import Mapping
from typing import Any

from ganloom.core.words import as_yaml

__all__ = ["in_words"]

# By pydantic's type of fault; the braces are filled from its context.
WORDS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is too large",
    "int_type": "must be a whole number",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be one of {expected}",
    "string_type": "must be a string",
    "too_long": "has {actual_length} entries, and can have {max_length}",
    "too_short": "has {actual_length} entries, and needs {min_length}",
    "tuple_type": "must be a list",
}


def in_words(fault: Mapping[str, Any]) -> str:
    """One fault, of those that `ValidationError.errors()` lists: `must be above 0, not -3`."""
    words = WORDS.get(fault["type"])
    if words is None:  # an error of our own, which says it all, or one that no setting has so far
        message = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        says_it = isinstance(fault["input"], Mapping) or f"'{fault['input']}'" in message
        given = "" if says_it else f" (got {as_yaml(fault['input'])})"
        return f"{message}{given}"
    limits = {key: f"{v:g}" if isinstance(v, float) else v for key, v in fault.get("ctx", {}).items()}
    said = words.format(**limits)
    if "length" in words or isinstance(fault["input"], Mapping):  # a whole section, or list: too much to show
        return said
    return f"{said}, not {as_yaml(fault['input'])}"
