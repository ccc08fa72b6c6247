"""The report of an inspection: all that was found, for a terminal and as one HTML file that loads nothing."""

import base64
import os
import re
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pages import Page
from PIL import Image
from typer.testing import CliRunner

from ganloom import cli
from ganloom.api import proposal
from ganloom.data.inspect import Findings, inspect
from ganloom.data.sources import find
from ganloom.report import inspection

REASONS = [("size", "64x64", "as <they> are"), ("mirror", "off", "a heart has a side")]
EVIL = "<script>alert(1)<|script>.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, with one of each trouble."""
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
        place = tmp_path / "in" / ("<b>bold" if number < 9 else "plain") / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    below = tmp_path / "in" / "plain"
    (below / EVIL).write_bytes(b"")
    Image.new("L", (16, 12), 90).save(below / "blank & <i>.png")
    Image.new("L", (16, 12), 0).save(below / "black.png")
    Image.new("L", (16, 12), 255).save(below / "white.png")
    Image.open(below / "10.png").save(below / "10 again.bmp")
    return tmp_path / "in"


@pytest.fixture
def findings(folder: Path) -> Findings:
    return inspect(find(str(folder)))


def test_the_text_has_what_was_found(findings: Findings) -> None:
    text = "\n".join(inspection.findings_as_text(findings))
    for part in (
        "16 of in",
        "2: 9 <b>bold",
        "12x16",
        "13 RGB, 3 L",
        "8 bits",
        f"plain/{EVIL}: cannot be read",
        "plain/10 again.bmp = plain/10.png",
        "plain/blank & <i>.png",
        "plain/black.png",
        "plain/white.png",
    ):
        assert part in text, part
    for name in ("corrupt", "equal", "blank", "black", "white"):
        assert re.search(f"^{name} ", text, re.MULTILINE)


def test_long_lists_are_cut_and_say_so() -> None:
    found = Findings("many", [], 0, sizes=Counter({(2, 2): 9}), blank=[f"{number}.png" for number in range(9)])
    lines = list(inspection.findings_as_text(found))
    assert sum(line.strip().endswith(".png") for line in lines) == inspection.FIRST
    assert lines[-1].strip() == f"and {9 - inspection.FIRST} more"


def page(path: Path, findings: Findings, command: str = "ganloom train in") -> Page:
    written = inspection.write_inspection(path, findings, REASONS, command)
    return Page(written.read_text(encoding="utf-8"))


def test_the_page_has_what_was_found_and_what_is_proposed(tmp_path: Path, findings: Findings) -> None:
    words = page(tmp_path / "deep" / "report.html", findings, "ganloom train 'a & b'").words
    for part in (EVIL, "10 again.bmp", "blank & <i>.png", "<b>bold", "as <they> are", "ganloom train 'a & b'", "12x16"):
        assert part in words, part


def test_names_are_escaped(tmp_path: Path, findings: Findings) -> None:
    tags = {tag for tag, _ in page(tmp_path / "report.html", findings).tags}
    assert not tags & {"script", "b", "i", "they", "|script"}


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path, findings: Findings) -> None:
    seen = page(tmp_path / "report.html", findings)
    loading = [value for _, given in seen.tags for key, value in given.items() if key in ("src", "href", "srcset")]
    assert loading and all(value and value.startswith("data:image/") for value in loading)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import|//[a-z]", text.replace(str(loading[0]), ""))


def test_the_contact_sheet_shows_the_images(tmp_path: Path, findings: Findings) -> None:
    tags = page(tmp_path / "report.html", findings).tags
    source = next(given["src"] for tag, given in tags if tag == "img")
    with Image.open(BytesIO(base64.b64decode(str(source).partition(",")[2]))) as sheet:
        assert sheet.width > 500 and sheet.height > 90
        assert (np.asarray(sheet.convert("L")) < 128).mean() > 0.005


def test_names_that_are_not_utf_8_or_would_control_a_terminal_are_shown_safely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (16, 16), "red").save(tmp_path / "good.png")
    for name in (b"caf\xe9.png", b"\x1b[31mred\x07.png", b"two\nlines.png"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    found = inspect(find(str(tmp_path)))
    lines = list(inspection.findings_as_text(found))
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if "caf" in line and "xe9" in line.replace("udce9", "xe9")]
    "\n".join(lines).encode("utf-8")
    inspection.write_inspection(tmp_path / "report.html", found, REASONS, "ganloom train in")
    assert "lines.png" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_inspect_prints_findings_and_plan_and_writes_the_page(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposal, "images_per_minute", lambda *arguments: 6000.0)
    arguments = ["inspect", str(folder), "--html", str(tmp_path / "report.html"), "--device", "cpu"]
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for part in ("16 of in", "proposed", "10.0 s per kimg", "ganloom train", str(tmp_path / "report.html")):
        assert part in result.output
    assert "10.0 s per kimg" in (tmp_path / "report.html").read_text()
