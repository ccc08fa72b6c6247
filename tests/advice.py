"""What the messages of the source tell the user to do: flags, settings, commands, packages, recipes, variables."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ganloom
from ganloom.config import Config

__all__ = ["HOLE", "ROOT", "Message", "commands_in", "messages", "settings_in"]

ROOT = Path(ganloom.__file__).parent
HOLE = "\N{WHITE SQUARE}"  # where an f-string has a value
SECTIONS = "|".join(Config.model_fields)
ENDS = r"(?=$|[\s,;()'\"`!?])"
SETTING = re.compile(
    rf"(?<![\w./-])(?P<key>(?:{SECTIONS})(?:\.[a-z][a-z0-9_]*)*)"
    rf"(?:=(?P<value>\[[^\]]*\]|'[^']*'|[^\s,;()'\"`]+?))?[.:]?{ENDS}"
)
COMMAND = re.compile(r"\bganloom (?P<verb>[a-z]+)(?P<arguments>(?: (?!or\b|and\b|on\b|to\b)(?:'[^']*'|[^\s,;:)'`]+))*)")
WORDS = {"data", "net", "loss", "augment", "start", "train", "log", "sample", "evaluate", "guard", "checkpoint", "seed"}


class Message(NamedTuple):
    """A string of the source, without what it is filled with."""

    path: str
    line: int
    text: str

    @property
    def room(self) -> str:
        return self.path.split("/")[0]


def messages() -> list[Message]:
    """Every string of the source that has a space in it and is no docstring."""
    return [message for path in sorted(ROOT.rglob("*.py")) for message in _of(path)]


def _of(path: Path) -> Iterator[Message]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    name = path.relative_to(ROOT).as_posix()
    for node in ast.walk(tree):
        if id(node) in documentation | parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Message(name, node.lineno, node.value)
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
            if " " in text or "--" in text:
                yield Message(name, node.lineno, text)


def settings_in(text: str) -> Iterator[tuple[str, str | None]]:
    """Dotted keys of the configuration, with the value that the text gives them."""
    for found in SETTING.finditer(text):
        key, value = found["key"], found["value"]
        if (key in WORDS and value is None) or key == "log.jsonl":  # a word of English, and a file
            continue
        yield key.rstrip("."), None if value is None or HOLE in value or value in ("...", "N") else value.strip("'")


def commands_in(text: str) -> Iterator[tuple[str, list[str]]]:
    """Commands of ganloom with their arguments: `ganloom resume RUN --length '...'`."""
    for found in COMMAND.finditer(text):
        words = shlex.split(found["arguments"])
        last = next((i for i, word in enumerate(words) if word.endswith(".") and word != "..."), len(words))
        yield found["verb"], [word.removesuffix(".") for word in words[: last + 1]]
