"""Options in messages, in the terms of whoever reads them.

Messages name options as the command line does: `--freeze-d N`. From Python they name keywords: `freeze_d=N`.
`public` (core/public.py) rewrites them where an error leaves the library.
"""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from ganloom.core.errors import ConfigError
from ganloom.core.plain_yaml import read_value

__all__ = ["SWITCHES", "command_line", "for_caller", "in_python"]

# Options without a value, and those whose keyword has another name. A test compares them with the command line.
SWITCHES = frozenset(
    {"any-suffix", "compile", "drop-duplicates", "fast", "follow-links", "keep-masks", "per-class", "trust-code"}
)
RENAMED = {"class": "class_name", "from": "start"}
COMMAND = r"ganloom (?:[^,;:.)'\n]|[.:](?!\s|$)|(?<=[ =])'[^']*')+"
VERBS = ("compare", "evaluate", "inspect", "prepare", "resume", "sample", "train", "unpack")  # that Python has too
SET_BY = r"(?P<set>\b[a-z]+\.[a-z_.]+(?:=\w+)?) \(--[a-z-]+\)"  # a setting, and the flag that sets it
SETTING = r"--set (?P<key>[\w.]+)=(?P<setting>\.\.\.|'[^']*'|[^\s,;:)]+?)(?=[\s,;:)]|\.?$|\. )"
PATHS = r"[\w~-]*[/.=][\w/.=,~-]*\w"  # and FOLDER=SPLIT
VALUES = "cpu|cuda|best|last|none|all|crop|fit|stretch"  # that are words
OPTION = (
    r"--(?P<name>[a-z][a-z-]*)"
    rf"(?: (?P<value>'[^']*'|[A-Z]+\b|{PATHS}|(?:{VALUES})\b|\d\w*))?"
)
PATTERN = re.compile(f"(?P<command>{COMMAND})|{SET_BY}|{SETTING}|{OPTION}")
_typed: list[None] = []  # not empty while a command runs


@contextmanager
def command_line() -> Iterator[None]:
    """While entered, messages name options as they are typed."""
    _typed.append(None)
    try:
        yield
    finally:
        _typed.pop()


def for_caller(text: str) -> str:
    """A message in the terms of whoever called: the command line, or Python."""
    return text if _typed else in_python(text)


def in_python(text: str) -> str:
    """Options as keywords: `--size N` as `size=N`, `--set a.b=1` as `settings={"a.b": 1}`."""
    return PATTERN.sub(_in_python, text)


def _in_python(found: re.Match[str]) -> str:
    if found["command"]:
        return _call(found["command"])
    if found["set"]:
        return found["set"]
    if found["key"]:
        return f'settings={{"{found["key"]}": {_literal(found["setting"])}}}'
    name = RENAMED.get(found["name"], found["name"].replace("-", "_"))
    value = found["value"]
    if found["name"] in SWITCHES:
        return f"{name}=True" + (f" {value}" if value else "")
    if value is None:
        return f"`{name}`"
    is_python = re.fullmatch(r"'.*'|[A-Z]+|\d+(\.\d+)?", value)
    return f"{name}={value if is_python else repr(value)}"


def _call(command: str) -> str:
    """`ganloom resume RUN --length '...'` as `ganloom.resume(RUN, length="...")`; other commands as they are."""
    try:
        _, verb, *words = shlex.split(command)
    except ValueError:
        return command
    if verb not in VERBS:
        return command
    given: list[str] = []
    settings: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--set" and words:
            key, _, value = words.pop(0).partition("=")
            settings.append(f'"{key}": {_literal(value)}')
        elif not word.startswith("--"):
            given.append(_argument(word))
        elif word[2:] in SWITCHES:
            given.append(f"{word[2:].replace('-', '_')}=True")
        elif words:
            name = RENAMED.get(word[2:], word[2:].replace("-", "_"))
            given.append(f"{name}={_argument(words.pop(0))}")
        else:
            return command
    if settings:
        given.append(f"settings={{{', '.join(settings)}}}")
    name = "load" if verb == "sample" else verb
    return f"ganloom.{name}({', '.join(given)})" + " " * (len(command) - len(command.rstrip()))


def _argument(word: str) -> str:
    """A word of a command in Python: numbers and placeholders, such as DATA, as they are, and strings in quotes."""
    return word if word.isdecimal() or (word.isalpha() and word.isupper()) or word == "..." else f'"{word}"'


def _literal(value: str) -> str:
    """A value as YAML reads it, as Python writes it."""
    if value == "...":
        return value
    try:
        read = read_value(value.strip("'"))
    except ConfigError:
        read = value
    return f'"{read}"' if isinstance(read, str) else repr(read)
