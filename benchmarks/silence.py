"""How long commands say nothing: `python benchmarks/silence.py [--only "CASE;CASE"] [--src FOLDER]`.

Each command runs with its output in a pipe, as under `nohup ... > log`, and every line gets the time at which it came.

total    seconds of the whole command; a training ends by itself, or with Ctrl-C as soon as it trains
first    seconds until the first line
silence  the longest time without a line, and after which line it began
unnamed  the longest time during which the last line did not say what is being done: a phase that says its name, and
         takes long after that, is silent but not unnamed

`--src` measures another checkout of ganloom. `resume`, `evaluate`, `report` and `sample` need `train, digits`.
"""

import argparse
import itertools
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine

NAMES_A_PHASE = re.compile(
    r" \.\.\.$|: [\d,]+( of [\d,]+)?(, \d+ s)?$|: \d+ s$"
)  # `saving ...`, `scoring: 320 of 2,000, 12 s`
TRAINS = re.compile(r"img/s, .* left")
MIN_LISTED = 2.0  # seconds


@dataclass(frozen=True)
class Case:
    """A command, and what must be there before it."""

    command: Sequence[str]
    until: re.Pattern[str] | None = None  # the line that is followed by Ctrl-C


TINY = ("--recipe", "digits", "--length", "2 kimg", "--out", "run")
CASES = {
    "train, sngan-32": Case(("train", "shapes:32", "--recipe", "sngan-32", "--length", "2 steps", "--out", "sngan")),
    "train, 256 pixels": Case(
        ("train", "shapes:32", "--size", "256", "--length", "1 minute", "--out", "large"), until=TRAINS
    ),
    "train, digits": Case(("train", "digits", *TINY)),
    "resume": Case(("resume", "run", "--length", "3 kimg")),
    "evaluate": Case(("evaluate", "run")),
    "report": Case(("report", "run")),
    "sample": Case(("sample", "run", "--out", "grid.png")),
    "prepare": Case(("prepare", "pictures", "packed", "--size", "64")),
    "inspect": Case(("inspect", "pictures")),
    "explain": Case(("train", "pictures", "--size", "128", "--explain")),
}
PICTURES = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
folder = Path(sys.argv[1])
folder.mkdir()
random = np.random.default_rng(0)
for index in range(3000):
    small = random.integers(0, 256, (16, 12, 3), np.uint8)
    Image.fromarray(small).resize((480, 640), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg")
"""


def watch(command: Sequence[str], folder: Path, src: Path, until: re.Pattern[str] | None) -> list[tuple[float, str]]:
    """Run a command; returns the seconds and text of each line, and those of its end."""
    environment = {**os.environ, "PYTHONPATH": str(src), "GANLOOM_CACHE": str(folder / "cache")}
    began = time.monotonic()
    lines = [(0.0, "the command")]
    with subprocess.Popen(
        [sys.executable, "-m", "ganloom", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment,
    ) as process:
        for line in read_lines(process):
            lines.append((time.monotonic() - began, line))
            print(f"  {lines[-1][0]:7.1f}  {line}", flush=True)
            if until and until.search(line):
                process.send_signal(signal.SIGINT)
                until = None
    return [*lines, (time.monotonic() - began, "the end")]


def read_lines(process: "subprocess.Popen[bytes]") -> Iterator[str]:
    """Lines as they come, not in blocks."""
    assert process.stdout
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    rest = b""
    while True:
        selector.select()
        chunk = os.read(process.stdout.fileno(), 65536)
        if not chunk:
            break
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")


def row_of(case: str, lines: Sequence[tuple[float, str]]) -> dict[str, Any]:
    gaps = [(after - before, text) for (before, text), (after, _) in itertools.pairwise(lines)]
    silence, since = max(gaps)
    unnamed = max(gap for gap, text in gaps if not NAMES_A_PHASE.search(text) and not TRAINS.search(text))
    return {
        "case": case,
        "runs": "ganloom " + " ".join(CASES[case].command),
        "total": round(lines[-1][0], 1),
        "first": round(lines[1][0], 1),
        "silence": round(silence, 1),
        "unnamed": round(unnamed, 1),
        "after": since,
        "gaps": [{"seconds": round(gap, 1), "after": text} for gap, text in gaps if gap > MIN_LISTED],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=";".join(CASES), help="cases, separated by semicolons")
    parser.add_argument("--src", type=Path, default=Path(__file__).parent.parent / "src")
    parser.add_argument("--name", default="silence")
    arguments = parser.parse_args()
    chosen = arguments.only.split(";")
    path = machine.RESULTS / f"{arguments.name}.json"
    before = json.loads(path.read_text())["results"] if path.exists() else []
    rows: list[dict[str, Any]] = [row for row in before if row["case"] not in chosen]  # what was measured before stays
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-c", PICTURES, str(folder / "pictures")], check=True)
        for case in chosen:
            print(case, flush=True)
            lines = watch(CASES[case].command, folder, arguments.src.resolve(), CASES[case].until)
            rows.append(row_of(case, lines))
            machine.write(arguments.name, rows)
    print(f"{'':<20}{'total':>9}{'first':>9}{'silence':>9}{'unnamed':>9}  the longest silence began after")
    for row in rows:
        numbers = "".join(f"{row[name]:>9.1f}" for name in ("total", "first", "silence", "unnamed"))
        print(f"{row['case']:<20}{numbers}  {row['after']}")


if __name__ == "__main__":
    main()
