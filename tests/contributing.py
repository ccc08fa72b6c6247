"""The files and commands that CONTRIBUTING.md shows, as they stand there."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTION = TEXT.partition("## Your own, without touching ganloom")[2].partition("\n## ")[0]


def write_files(folder: Path) -> list[str]:
    """Write each file that is shown whole; its first line is its name."""
    files = re.findall(r"```python\n(# (\w+\.py)\n.*?)```", SECTION, re.DOTALL)
    for text, name in files:
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(name for _, name in files)


def commands() -> list[str]:
    """The lines to type into a terminal."""
    return [line for block in re.findall(r"```\n(ganloom .*?)```", SECTION, re.DOTALL) for line in block.splitlines()]


def scripts() -> list[str]:
    """Python that is no file."""
    return [text for text in re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL) if not text.startswith("# ")]
