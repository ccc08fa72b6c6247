"""Check names and options that the user types, and suggest the nearest known name for an unknown one."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ConfigDict, PydanticUserError, ValidationError, create_model

from ganloom.core.errors import ConfigError
from ganloom.core.faults import in_words

__all__ = ["check_name", "in_its_case", "is_count", "keyword_options", "nearest"]

MAX_DIGITS = 18  # of a count in a file name
MAX_LISTED = 50  # names in an error message; only the configuration has more


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence for an error message: `Did you mean 'hinge'?`, or a list of the known names if none is close."""
    known = sorted(known)
    plain = {entry.lower(): entry for entry in known}  # capitals do not make a name another one
    close = [plain[entry] for entry in difflib.get_close_matches(name.lower(), plain, n=1)]
    if not close:  # compare the last parts alone: of 'x.btach' only 'btach' is close to 'train.batch'
        tails = {entry.rpartition(".")[2]: entry for entry in known}
        close = [tails[tail] for tail in difflib.get_close_matches(name.rpartition(".")[2], tails, n=1)]
    if close:
        return f"Did you mean '{close[0]}'?"
    if len(known) > MAX_LISTED:
        return "'ganloom config' lists all keys."
    return f"Known: {', '.join(known)}." if known else "There are none."


def in_its_case(name: str, known: Iterable[str]) -> str:
    """The known name that equals `name` apart from capitals, such as `fid` for `FID`; without one, `name` itself."""
    known = list(known)
    return name if name in known else next((each for each in known if each.lower() == name.lower()), name)


def is_count(text: str) -> bool:
    """Whether a file name is a count such as 000000020000. `str.isdigit` is true for ², too, and for any length."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def check_name(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise `ConfigError` unless `name` is one of `known`."""
    known = list(known)
    if name not in known:
        raise ConfigError(f"unknown {kind} '{name}'. {nearest(name, known)}")


def keyword_options(kind: str, function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check `given` against the keyword-only arguments of `function`, and fill in its defaults.

    The signature is the schema: a new option is one new keyword. Raises `ConfigError` naming `kind`.
    """
    try:
        parameters = inspect.signature(function, eval_str=True).parameters.values()
    except NameError as error:  # annotations may be strings: `from __future__ import annotations`
        raise ConfigError(f"the annotations of {kind} cannot be read: {error}. Import what they name.") from None
    fields: dict[str, Any] = {
        p.name: (Any if p.annotation is p.empty else p.annotation, ... if p.default is p.empty else p.default)
        for p in parameters
        if p.kind is p.KEYWORD_ONLY
    }
    for name in given:
        if name not in fields:
            raise ConfigError(f"unknown option '{name}' of {kind}. {nearest(name, fields)}")
    try:
        schema = create_model("Options", __config__=ConfigDict(extra="forbid"), **fields)
        return schema(**given).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"option '{where}' of {kind}: {in_words(first)}.") from None
    except PydanticUserError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{kind} has an option whose type cannot be checked: {reason}. Annotate it with another type."
        ) from None
