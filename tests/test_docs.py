"""The README stays short, links lead somewhere, example commands are accepted, and every result has its origin."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import typer

from ganloom import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
ORIGIN = {"machine", "commit", "command"}


def links(page: Path) -> Iterator[str]:
    """What a page links to, without addresses on the web and without code blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    yield from (target for target in LINK.findall(text) if not re.match(r"[a-z]+:", target))


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every `ganloom` command in the code blocks of a page."""
    for block in re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            before, found, arguments = re.sub(r"\s#\s.*", "", line).partition("ganloom ")
            if found and before in ("", "torchrun --nproc-per-node 2 --max-restarts=3 -m "):
                yield shlex.split(arguments)


def without_origin(results: Any, path: str = "") -> Iterator[str]:
    """Where in a results file there is a value that no machine, commit and command stand beside or above."""
    if isinstance(results, dict) and results.keys() >= ORIGIN:
        return
    if isinstance(results, dict | list) and results:
        for name, each in results.items() if isinstance(results, dict) else enumerate(results):
            yield from without_origin(each, f"{path}/{name}")
    else:
        yield path


def test_readme_has_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_relative_links_lead_to_files_and_headings() -> None:
    dead, found = [], 0
    packaged = not (ROOT / ".git").exists()  # source archives leave out the pictures of results
    for page in PAGES:
        for target in links(page):
            found += 1
            name, _, anchor = unquote(target).partition("#")
            file = (page.parent / name).resolve() if name else page
            if packaged and "benchmarks/results" in name:
                continue
            if not file.exists() or (anchor and anchor not in anchors(file)):
                dead.append(f"{page.relative_to(ROOT)}: {target}")
    assert not dead
    assert found > 50


def test_the_index_lists_every_page() -> None:
    index = set(links(ROOT / "docs/README.md"))
    assert {page.name for page in PAGES if page.parent == ROOT / "docs"} - {"README.md"} <= index


def test_the_command_line_accepts_the_examples() -> None:
    verbs, checked = typer.main.get_command(cli.app).commands, 0  # type: ignore[attr-defined]
    for page in PAGES:
        for verb, *arguments in commands(page):
            verbs[verb].make_context(verb, arguments)  # raises for what it does not know
            checked += 1
    assert checked > 50


def test_every_row_of_results_has_machine_commit_and_command() -> None:
    files = sorted((ROOT / "benchmarks/results").glob("*.json"))
    assert files
    lacking = {file.name: [*without_origin(json.loads(file.read_text())["results"])] for file in files}
    assert not {name: paths for name, paths in lacking.items() if paths}
