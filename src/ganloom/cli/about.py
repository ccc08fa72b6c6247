"""The commands that explain: `recipes`, `config`, `doctor`."""

import re
from itertools import takewhile
from typing import Annotated

import typer

from ganloom.cli.output import say

__all__ = ["config", "doctor", "recipes"]


def recipes(name: Annotated[str | None, typer.Argument(help="Print this recipe.")] = None) -> None:
    """List the recipes, or print one."""
    from ganloom.config import recipe_names, recipe_text

    if name is not None:
        say(recipe_text(name).rstrip("\n"))
        return
    width = max(map(len, recipe_names()))
    for each in recipe_names():
        lines = takewhile(lambda line: line.startswith("#"), recipe_text(each).splitlines())
        sentence, *_ = re.split(r"\. (?=[A-Z])", " ".join(line.removeprefix("# ") for line in lines))
        say(f"{each:<{width}} {sentence.rstrip('.')}.")


def config(
    key: Annotated[str | None, typer.Argument(help="A key or section, such as train.batch or train.")] = None,
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="Print the JSON schema of a configuration.")
    ] = False,
) -> None:
    """List all keys of the configuration, or explain one: meaning, type, unit, default, recipes that set it."""
    import json

    from ganloom.config import describe, listing

    if json_schema:
        say(json.dumps(describe.json_schema(), indent=2))
        return
    lines = listing.listing(describe.settings()) if key is None else listing.details(describe.find(key))
    say("\n".join(lines))


def doctor() -> None:
    """Show this machine's hardware, optional packages, and what will be used."""
    from ganloom import doctor

    say(doctor.report())
