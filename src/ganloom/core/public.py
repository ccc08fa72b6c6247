"""What every public function does at its edge: it refuses arguments of wrong types, and its errors speak Python."""

import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, cast

from ganloom.core.errors import ConfigError, GanloomError
from ganloom.core.wording import for_caller

__all__ = ["public"]

F = TypeVar("F", bound=Callable[..., Any])
WORDS = {str: "a string", int: "a whole number", float: "a number", bool: "True or False"}
MAX_SHOWN = 60  # characters of a wrong argument


def public(function: F) -> F:
    """Decorate a function or method that users call.

    An argument whose type is not that of its annotation raises `ConfigError`, rather than a `TypeError` from somewhere
    below. Errors that leave the function name its keywords, not the flags of the command line, unless a command calls.
    """

    @functools.cache
    def hints() -> dict[str, Any]:  # only when it is called: annotations may take long to import
        known = typing.get_type_hints(function, include_extras=True)
        named = inspect.signature(inspect.unwrap(function)).parameters
        return {
            name: known[name] for name, each in named.items() if name in known and each.kind is not each.VAR_KEYWORD
        }

    @functools.wraps(function)
    def checked(*arguments: Any, **keywords: Any) -> Any:
        try:
            _check(_bound(function, arguments, keywords), hints())
            return function(*arguments, **keywords)
        except GanloomError as error:
            error.args = (for_caller(str(error)), *error.args[1:])
            raise

    return cast("F", checked)


def _bound(function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments by name; none where some are unknown or missing, which the call itself reports."""
    try:
        return inspect.signature(function).bind(*arguments, **keywords).arguments
    except TypeError:
        return {}


def _check(given: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Raises `ConfigError` for an argument of a wrong type."""
    for name, hint in hints.items():
        if name in given and not _fits(given[name], hint):
            raise ConfigError(f"{name} must be {_words(hint)}, not {_shown(given[name])}.")


def _options(hint: Any) -> list[Any]:
    """The types of a union; another type alone."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (Union, types.UnionType):
        return [option for each in typing.get_args(hint) for option in _options(each)]
    return [hint]


def _fits(value: object, hint: Any) -> bool:
    return any(_fits_one(value, option) for option in _options(hint))


def _fits_one(value: Any, hint: Any) -> bool:
    """Numbers of numpy and torch count as numbers; True and False do not."""
    kind = typing.get_origin(hint) or hint
    inner = typing.get_args(hint)
    is_bool = isinstance(value, bool) or type(value).__name__ == "bool_"
    if kind is bool:
        return is_bool
    if kind in (int, float):
        wanted = ("__index__",) if kind is int else ("__index__", "__float__")
        return not is_bool and any(hasattr(value, name) for name in wanted)
    if kind is tuple:
        return isinstance(value, tuple | list) and len(value) == len(inner) and all(map(_fits, value, inner))
    if kind is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str) and all(_fits(each, *inner) for each in value)
    if kind is type(None):
        return value is None
    checked_by_duck_typing = kind is Callable or getattr(kind, "_is_protocol", False)
    return checked_by_duck_typing or not isinstance(kind, type) or isinstance(value, kind)


def _words(hint: Any) -> str:
    """`a string, a path or None`."""
    named = [_word(option) for option in _options(hint) if option is not type(None)]
    return f"{', '.join(named[:-1])} or {named[-1]}" if len(named) > 1 else named[0]


def _word(hint: Any) -> str:
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is Sequence:
        return f"a list of {' or '.join(_word(option).split(' ', 1)[-1] + 's' for option in _options(inner[0]))}"
    if kind is tuple:
        return f"a tuple of {len(inner)} numbers"
    if kind is Mapping:
        return "a dict"
    if kind is os.PathLike:
        return "a path"
    name = getattr(kind, "__name__", str(kind))
    return WORDS.get(kind, f"a{'n' if name[0] in 'AEIOU' else ''} {name}")


def _shown(value: object) -> str:
    """Its type, and the value where it is short."""
    text = repr(value)
    name = "None" if value is None else type(value).__name__
    return name if value is None or len(text) > MAX_SHOWN or "\n" in text else f"{name}: {text}"
