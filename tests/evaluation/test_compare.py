"""ganloom compare: only comparable scores share a row of the table."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import ganloom
from ganloom.cli import app
from ganloom.core.errors import DataError, RunError
from ganloom.evaluation.comparing import compare
from ganloom.metrics.scores import PROTOCOL, Score, write_scores

SCORE = Score(
    metric="fd",
    label="fd[loomnet-1]@1000",
    value=3.0,
    low=2.5,
    high=3.5,
    class_name=None,
    extractor="loomnet-1",
    weights="a" * 64,
    resize="antialias-32",
    shape="32x32 grey",
    n_real=1000,
    n_generated=1000,
    split="train",
    held_out=None,
    seed=0,
    model="b" * 64,
    nimg=5000,
    generated="runs/a",
    dataset="digits",
    content_hash="c" * 64,
    ganloom="0.1.0",
    torch="2.13.0",
    device="cpu",
    created="2026-01-01T00:00:00+00:00",
)


def file(path: Path, *changes: dict[str, Any]) -> Path:
    write_scores(path, [SCORE.model_copy(update=change) for change in changes])
    return path


def test_comparable_scores_share_a_row(tmp_path: Path) -> None:
    a, b = file(tmp_path / "a.json", {}), file(tmp_path / "b.json", {"value": 2.0, "model": "d" * 64, "nimg": 9000})
    table = compare([a, b])
    ((name, scores),) = table.rows
    assert name == "fd[loomnet-1]@1000" and [score.value for score in scores] == [3.0, 2.0]
    assert not table.refused and not table.incomplete
    text = str(table)
    assert "3  [2.5, 3.5]" in text and str(a) in text and str(b) in text


CHANGED: dict[str, Any] = {
    "extractor": "inception",
    "weights": "e" * 64,
    "resize": "clean-32",
    "n_real": 999,
    "n_generated": 999,
    "split": "test",
    "held_out": "val",
    "content_hash": "f" * 64,
}


@pytest.mark.parametrize("field", PROTOCOL)
def test_each_difference_of_protocol_is_refused_and_named(tmp_path: Path, field: str) -> None:
    table = compare([file(tmp_path / "a.json", {}), file(tmp_path / "b.json", {field: CHANGED[field]})])
    assert not table.rows
    ((name, reasons),) = table.refused
    assert name == "fd" and len(reasons) == 1 and PROTOCOL[field] in reasons[0]


def test_the_comparable_one_of_several_is_found(tmp_path: Path) -> None:
    a = file(tmp_path / "a.json", {"n_generated": 50, "label": "fd[loomnet-1]@50"}, {})
    b = file(tmp_path / "b.json", {"value": 1.0}, {"n_generated": 70, "label": "fd[loomnet-1]@70"})
    assert [name for name, _ in compare([a, b]).rows] == ["fd[loomnet-1]@1000"]


def test_equal_labels_of_different_protocols_are_distinguished(tmp_path: Path) -> None:
    old = {"created": "2025-01-01T00:00:00+00:00", "value": 9.0}
    a, b = (file(tmp_path / f"{name}.json", {}, {"split": "val"}, old) for name in "ab")
    table = compare([a, b])
    assert [name for name, _ in table.rows] == [
        "fd[loomnet-1]@1000, split: train",
        "fd[loomnet-1]@1000, split: val",
    ]
    assert [score.value for _, scores in table.rows for score in scores] == [3.0] * 4


def test_a_score_that_one_of_them_lacks_is_named(tmp_path: Path) -> None:
    a, b = file(tmp_path / "a.json", {}, {"metric": "kid", "label": "kid@1"}), file(tmp_path / "b.json", {})
    assert compare([a, b]).incomplete == ["kid"]


def test_the_table_is_shown_with_what_it_leaves_out_and_why(tmp_path: Path) -> None:
    """The same on a terminal and, escaped, in a notebook."""
    kid = {"metric": "kid", "label": "kid[loomnet-1]@1000"}
    first = file(tmp_path / "<a>.json", {}, kid, {"metric": "cas", "label": "cas@1"})
    table = compare([first, file(tmp_path / "b.json", {}, {**kid, "n_real": 900})])
    head, row, *notes = str(table).splitlines()[len(table.verdicts) :]
    assert head.split() == [str(first), str(tmp_path / "b.json")]
    assert row.split("  ")[0] == "fd[loomnet-1]@1000" and row.count("3  [2.5, 3.5]") == 2
    assert row.rindex("3  [2.5") == head.rindex(str(tmp_path))
    assert row.endswith("lower is better; distance to the real images: quality and variety")
    reason, remedy, missing = notes
    assert reason == "not comparable: kid (real images: 1,000 against 900)"
    assert "ganloom evaluate RUN" in remedy and missing == "missing in some of them: cas"
    assert repr(table) == str(table)
    html = table._repr_html_()
    assert "&lt;a&gt;.json" in html and "<a>" not in html and "[2.5, 3.5]" in html
    assert all(f"<p>{note}</p>" in html for note in notes)


def test_the_command_fails_when_nothing_may_be_compared(tmp_path: Path) -> None:
    a, b = file(tmp_path / "a.json", {}), file(tmp_path / "b.json", {"n_generated": 500})
    result = CliRunner().invoke(app, ["compare", str(a), str(b)])
    assert result.exit_code == 2
    assert "not comparable: fd (generated images: 1,000 against 500)" in result.output


def test_unlike_runs_get_the_plain_reason_once(tmp_path: Path) -> None:
    """In words: the names of the images, not their hashes, and not once for each metric."""
    metrics = [{"metric": name, "label": f"{name}[loomnet-1]@1000"} for name in ("fd", "kid", "recall")]
    other = {"content_hash": "f" * 64, "dataset": "shapes", "n_real": 500}
    a, b = file(tmp_path / "a.json", *metrics), file(tmp_path / "b.json", *(each | other for each in metrics))
    lines = str(compare([a, b])).splitlines()
    (reason,) = [line for line in lines if "not comparable" in line]
    assert "fd, kid, recall" in reason and "digits against shapes" in reason and "500" not in reason
    assert "fff" not in reason


def test_scores_of_images_that_were_not_verified_are_named(tmp_path: Path) -> None:
    a, b = file(tmp_path / "a.json", {"verified": False}), file(tmp_path / "b.json", {"verified": True})
    (line,) = [line for line in str(compare([a, b])).splitlines() if "not verified" in line]
    assert "runs/a" in line and "data.verify=false" in line
    assert "not verified" not in str(compare([b, b]))


def test_a_changed_number_in_stored_scores_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path / "a.json", {})
    path.write_text(path.read_text().replace('"value": 3.0', '"value": 2.0'))
    with pytest.raises(DataError, match="does not match its checksum"):
        compare([path, file(tmp_path / "b.json", {})])


def numbers(**values: tuple[float, float, float]) -> list[dict[str, Any]]:
    """Scores by metric: value and interval."""
    return [
        {"metric": name, "label": f"{name}[loomnet-1]@1000", "value": value, "low": low, "high": high}
        for name, (value, low, high) in values.items()
    ]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"fd": (3, 2.5, 3.5)}, {"fd": (2, 1.8, 2.2)}, "b.json (fd); no metric clearly favours another"),
        ({"recall": (0.9, 0.8, 0.95)}, {"recall": (0.2, 0.1, 0.3)}, "a.json (recall)"),
        ({"fd": (3, 2.5, 3.5)}, {"fd": (2.8, 2.2, 3.2)}, None),  # within the intervals
        ({"ms_ssim": (0.3, 0.2, 0.4)}, {"ms_ssim": (0.6, 0.5, 0.7)}, None),  # neither direction is better
        (
            {"fd": (3, 2.5, 3.5), "recall": (0.9, 0.8, 0.95)},
            {"fd": (2, 1.8, 2.2), "recall": (0.2, 0.1, 0.3)},
            "a.json in recall",
        ),
    ],
)
def test_the_better_run_is_named_first_where_intervals_do_not_overlap(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], expected: str | None
) -> None:
    a = file(tmp_path / "a.json", *numbers(**first))
    b = file(tmp_path / "b.json", *({**each, "model": "d" * 64} for each in numbers(**second)))
    line = str(compare([a, b])).splitlines()[0]
    assert line.startswith("better: ") and expected in line if expected else not line.startswith("better: ")


def test_the_same_model_on_both_sides_is_said(tmp_path: Path) -> None:
    a, b = file(tmp_path / "a.json", {}), file(tmp_path / "b.json", {})
    assert "same model" in str(compare([a, b])).splitlines()[0]
    assert "same model" not in str(compare([a, file(tmp_path / "c.json", {"model": "d" * 64})]))


def test_a_collapsed_run_is_named_before_the_table(tmp_path: Path) -> None:
    sick = numbers(vendi=(1.6, 1.5, 1.7), vendi_real=(82.6, 82, 83), precision=(0.9, 0.85, 0.95), recall=(0, 0, 0.01))
    a, b = file(tmp_path / "a.json", *sick), file(tmp_path / "b.json", *numbers(vendi=(80, 79, 81)))
    first = str(compare([a, b])).splitlines()[1]
    assert str(a) in first and "collapsed" in first and "Vendi 1.6 of 82.6" in first and "recall 0" in first


def test_one_alone_nothing_there_and_no_scores_are_refused(tmp_path: Path) -> None:
    a = file(tmp_path / "a.json", {})
    with pytest.raises(DataError, match="at least two runs"):
        ganloom.compare([a])
    with pytest.raises(DataError, match="nothing at"):
        compare([a, tmp_path / "b.json"])
    with pytest.raises(RunError, match="no run at"):
        compare([a, tmp_path])
    with pytest.raises(DataError, match="no scores yet"):
        compare([a, file(tmp_path / "empty.json")])
    (tmp_path / "other.json").write_text('{"some": "thing"}')
    with pytest.raises(DataError, match="holds no scores"):
        compare([a, tmp_path / "other.json"])
