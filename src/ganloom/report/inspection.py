"""The findings of an inspection, as lines for a terminal and as one self-contained HTML file."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from ganloom.core.words import counted, printable
from ganloom.data.inspect import Findings
from ganloom.report.html import data_url, escape, table, write_page

__all__ = ["findings_as_text", "plan_as_text", "write_inspection"]

Reasons = Sequence[tuple[str, str, str]]  # what, value, why

FIRST = 5  # items of a long list shown on a terminal
MAX_LISTED = 200  # items of a long list in HTML
CONTACT = 96  # height and width of a picture on the contact sheet, in pixels
GAP = 4  # pixels between them
ACROSS = 10  # pictures in a row


def findings_as_text(findings: Findings) -> Iterator[str]:
    """One line per fact, then the problems with examples."""
    for name, text in facts(findings):
        yield f"{name:<10} {printable(text)}"
    for name, text, examples in problems(findings):
        yield f"{name:<10} {text}"
        yield from (f"{'':<13}{printable(example)}" for example in examples[:FIRST])
        if len(examples) > FIRST:
            yield f"{'':<13}and {len(examples) - FIRST} more"


def facts(findings: Findings) -> Iterator[tuple[str, str]]:
    """Neutral facts as (name, text)."""
    yield (
        "images",
        f"{findings.count:,} of {findings.name} ({_counts(findings.splits)}); {findings.ignored} other files",
    )
    if findings.classes:
        yield "classes", f"{len(findings.class_names)}: {_counts(findings.classes)}"
    yield from findings.remarks
    yield "sizes", _sizes(findings)
    ratios = sorted(height / width for height, width in findings.sizes)
    yield "ratios", f"height by width {ratios[0]:.2f} to {ratios[-1]:.2f}"
    bits = Counter({f"{depth} bits": count for depth, count in findings.depths.items()})
    yield "modes", f"{_counts(findings.modes)}; {_counts(bits)}"
    yield "colour", "all grey" if findings.is_grey else "yes"
    if findings.window:
        yield "window", f"values {findings.window[0]:g} to {findings.window[1]:g} become black to white"
    yield "mean", f"{_numbers(findings.mean)} of 255, standard deviation {_numbers(findings.std)}"


def problems(findings: Findings) -> Iterator[tuple[str, str, list[str]]]:
    """Problems that the user may want to fix, as (name, text, examples)."""
    lists = [
        ("corrupt", "files that cannot be used", [f"{name}: {reason}" for name, reason in findings.faults]),
        ("equal", "groups of equal images", [" = ".join(names) for names in findings.equal]),
        ("similar", "groups of images that look the same", [" ~ ".join(names) for names in findings.similar]),
        ("overlap", "groups of images are in train and in another split", findings.overlap),
        ("blank", "images of one colour", findings.blank),
        ("black", "images more than half of which is pure black", findings.black),
        ("white", "images more than half of which is pure white", findings.white),
    ]
    for name, text, examples in lists:
        if examples:
            yield name, f"{len(examples):,} {text}", examples


def plan_as_text(reasons: Reasons, command: str) -> Iterator[str]:
    """The proposed settings, one line each with the reason, and the command to type."""
    yield ""
    yield "proposed"
    for what, value, why in reasons:
        yield f"  {what:<12} {value:<14} {why}"
    yield f"  {command}"


def write_inspection(path: Path, findings: Findings, reasons: Reasons, command: str) -> Path:
    """Write findings and proposal as one HTML file, with a contact sheet. It loads nothing from elsewhere.

    Raises `StorageError` if `path` cannot be written.
    """
    parts = [f"<h1>{escape(findings.name)}: {counted(findings.count, 'image')}</h1>"]
    parts += ["<h2>Contents</h2>", table(facts(findings))]
    if findings.classes:
        most = max(findings.classes.values())
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{count:,}</td>"
            f'<td><span class="bar" style="width:{20 * count / most:.2f}rem"></span></td></tr>'
            for name, count in sorted(findings.classes.items())
        )
        parts += ["<h2>Classes</h2>", f"<table>{rows}</table>"]
    parts += ["<h2>Contact sheet</h2>", f'<img alt="some of the images" src="{data_url(_sheet(findings.contacts))}">']
    for name, text, examples in problems(findings):
        listed = "".join(f"<li>{escape(example)}</li>" for example in examples[:MAX_LISTED])
        more = f"<p>and {len(examples) - MAX_LISTED:,} more</p>" if len(examples) > MAX_LISTED else ""
        parts += [f"<h2>{escape(name.capitalize())}: {escape(text)}</h2><ul>{listed}</ul>{more}"]
    parts += ["<h2>Proposed</h2>", table(reasons), f"<p><code>{escape(command)}</code></p>"]
    return write_page(path, f"ganloom: {findings.name}", parts, "Name another file with --html.")


def _sheet(pictures: list[Image.Image]) -> Image.Image:
    """A contact sheet: pictures of any size in rows, each centred in its cell."""
    cell = CONTACT + GAP
    rows = -(-len(pictures) // ACROSS)
    sheet = Image.new("RGB", (min(ACROSS, len(pictures)) * cell, rows * cell), "white")
    for index, picture in enumerate(pictures):
        left, top = index % ACROSS * cell, index // ACROSS * cell
        sheet.paste(picture, (left + (CONTACT - picture.width) // 2, top + (CONTACT - picture.height) // 2))
    return sheet


def _sizes(findings: Findings) -> str:
    by_area = sorted(findings.sizes, key=lambda size: size[0] * size[1])
    (height, width), count = findings.sizes.most_common(1)[0]
    if len(by_area) == 1:
        return f"all {height}x{width} (height x width)"
    (low, left), (high, right) = by_area[0], by_area[-1]
    common = f"; {count:,} of {height}x{width}" if count > 1 else ""
    return f"{len(by_area):,} from {low}x{left} to {high}x{right} (height x width){common}"


def _counts(counter: Counter[str]) -> str:
    if len(counter) == 1:
        return f"all {next(iter(counter))}"
    said = ", ".join(f"{count:,} {name}" for name, count in counter.most_common(FIRST))
    return f"{said}, and {len(counter) - FIRST} other kinds" if len(counter) > FIRST else said


def _numbers(values: Iterable[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)
