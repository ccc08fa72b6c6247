"""Names and other text from files that anybody may have written: nothing in them is markup, or steers a terminal."""

import logging
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from pages import Page
from PIL import Image
from test_run_report import MADE, SCORE, append, begin, log, sheet
from typer.testing import CliRunner

import ganloom
from ganloom import cli
from ganloom.core.errors import DataError
from ganloom.core.markdown import code_block, plain
from ganloom.core.tables import escape
from ganloom.core.words import printable
from ganloom.data.inspect import Findings
from ganloom.evaluation.comparing import Comparison
from ganloom.metrics.scores import Scores, write_scores
from ganloom.report.inspection import write_inspection
from ganloom.report.run import write_report

HOSTILE = [
    "<script>alert(1)</script>",
    "</style></title><img src=x onerror=alert(1)>",
    "\" onmouseover='alert(1)' x=\"",
    "<a href=javascript:alert(1)>x</a>",
    "\x1b[31mred\x1b]0;title\x07\x9b2J",
    "gnp.\u202eexe\u2066\u200f",
    "one\rtwo\x00\x85\u2028",
    "$\\frac{ =1+1, \u0430\u0300",
]
NAME = " ".join(HOSTILE)
NO_TEXT = "caf\udce9"  # a name on a disk in another encoding


def check(shown: str) -> None:
    """Nothing steers a terminal, or changes the order of text. Lines may end."""
    bad = {c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not bad, bad


def check_page(path: Path) -> None:
    text = path.read_text()
    check(text)
    seen = Page(text)
    assert not {tag for tag, _ in seen.tags} & {"script", "a", "iframe", "link", "object", "form"}
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert all(source.startswith("data:") for source in seen.sources)
    assert len(re.findall("<style", text)) == len(re.findall("<title", text)) == 1


def test_a_report_shows_hostile_text_as_text(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31m<b>run\u202e"
    run = begin(path, dataset=NAME, class_names=HOSTILE, device=NAME, recipe=NAME, ganloom=NAME, torch=NAME)
    log(run)
    append(run, 960, **{f"{NAME}@3": 1.5, f"penalty_{NAME}": 2.0})
    append(run, 970, event="guard", text=NAME)
    sheet(run.sample(960), MADE)
    changed = {"label": NAME, "note": NAME, "generated": NAME, "dataset": NAME, "weights": NAME, "extractor": NAME}
    write_scores(run.scores, [SCORE.model_copy(update={**changed, "class_name": name}) for name in (None, *HOSTILE)])
    check_page(write_report(run.path, tmp_path / "report.html"))
    opened = ganloom.open_run(run.path)
    (tmp_path / "notebook.html").write_text(f"<style></style><title></title>{opened._repr_html_()}", "utf-8")
    check_page(tmp_path / "notebook.html")
    check(f"{opened!r} {opened.scores()!r} {opened.scores()[0]!r}")


def test_an_inspection_shows_hostile_names_as_text(tmp_path: Path) -> None:
    findings = Findings(NAME, HOSTILE, 0, splits=Counter(train=2), classes=Counter(dict.fromkeys(HOSTILE, 1)))
    findings.sizes, findings.modes, findings.depths = Counter({(8, 8): 2}), Counter({"L": 2}), Counter({8: 2})
    findings.mean, findings.std, findings.faults = [0.0], [0.0], [(name, name) for name in (*HOSTILE, NO_TEXT)]
    findings.equal, findings.contacts = [HOSTILE], [Image.new("L", (8, 8))]
    check_page(write_inspection(tmp_path / "page.html", findings, [(NAME, NAME, NAME)], NAME))
    check(repr(findings))


def test_tables_and_comparisons_show_hostile_names_as_text() -> None:
    scores = [SCORE.model_copy(update={"label": name, "class_name": name}) for name in HOSTILE]
    compared = Comparison([NAME, "b"], [(NAME, [scores[0]] * 2)], [(NAME, [NAME])], [NAME], [NAME], [NAME])
    for shown in (repr(Scores(scores)), Scores(scores)._repr_html_(), repr(compared), compared._repr_html_()):
        check(shown)
    assert "<script" not in compared._repr_html_() and "<img" not in Scores(scores)._repr_html_()


def test_messages_and_lines_of_the_log_show_hostile_names_as_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(str(DataError(f"{NAME} {NO_TEXT}\nsecond line")))
    monkeypatch.setattr(logging.getLogger("ganloom"), "propagate", False)  # pytest cannot send it between processes
    with ganloom.core.terminal.shown():
        logging.getLogger("ganloom").info(NAME + NO_TEXT)
    check(capsys.readouterr().out)


def test_commands_show_hostile_paths_as_text(tmp_path: Path) -> None:
    folder = tmp_path / "\x1b[31mred\u202e[bold]"
    folder.mkdir()
    for index in range(20):
        Image.new("L", (8, 8), index).save(folder / f"\x1b[2J{index}.png")
    for command in (
        ["prepare", str(folder), str(tmp_path / "\x1b[5mpacked")],
        ["inspect", str(folder), "--html", str(tmp_path / "\x1b[5mpage.html")],
        ["unpack", str(tmp_path / "\x1b[5mpacked"), str(tmp_path / "\x1b[5mfolder")],
        ["sample", str(folder)],
    ):
        result = CliRunner().invoke(cli.app, command)
        check(result.output + (str(result.exception) if result.exception else ""))
        assert "\\x1b[" in result.output + str(result.exception)


def test_commands_print_with_the_function_that_escapes() -> None:
    source = Path(sys.modules["ganloom.cli"].__file__ or "").parent
    files = {path.name for path in source.glob("*.py") if re.search(r"typer\.echo|\bprint\(", path.read_text())}
    assert files == {"output.py"}


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_has_no_markup_of_a_name(text: str) -> None:
    made = plain(text)
    check(made)
    assert "<" not in made and not re.search(r"(?<!\\)[\[\]*_`]", made.replace("\\\\", ""))
    assert code_block(f"a: ```\n# {text}").startswith("````\n")


def test_what_people_write_in_any_language_stays_readable() -> None:
    for text in ("Zürich", "猫", "кошка", "قطة", "חתול", "แมว", "a & b"):
        assert printable(text) == text and escape(text).replace("&amp;", "&") == text
