"""The example files and commands of CONTRIBUTING.md."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTION = TEXT.partition("## Custom code without changing ganloom")[2].partition("\n## ")[0]


def write_files(folder: Path) -> list[str]:
    """Write each complete example file; its first line is its name."""
    files = re.findall(r"```python\n(# (\w+\.py)\n.*?)```", SECTION, re.DOTALL)
    for text, name in files:
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(name for _, name in files)


def commands() -> list[str]:
    """The commands for the terminal."""
    return [line for block in re.findall(r"```\n(ganloom .*?)```", SECTION, re.DOTALL) for line in block.splitlines()]


def scripts() -> list[str]:
    """Python examples that are not files."""
    return [text for text in re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL) if not text.startswith("# ")]
