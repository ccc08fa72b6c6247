"""Scores: a sequence whose values are looked up by name, and only where the name is clear."""

from pathlib import Path
from typing import Any

import pytest

from ganloom.core.errors import DataError
from ganloom.metrics.scores import Score, Scores, read_scores, write_scores

SCORE = Score(
    metric="fd", label="fd[loomnet-1]@200", value=12.3456, low=11.5, high=13.25, class_name=None, extractor="loomnet-1",
    weights="a" * 64, resize="antialias-32", shape="32x32 grey", n_real=200, n_generated=200, split="train",
    held_out=None, seed=0, model="b" * 64, nimg=5000, generated="runs/a", dataset="digits", content_hash="c" * 64,
    ganloom="0.1.0", torch="2.13.0", device="cpu", created="2026-01-01T00:00:00+00:00",
)  # fmt: skip


def score(**changes: Any) -> Score:
    return SCORE.model_copy(update=changes)


CATS, DOGS = score(class_name="cat", value=30.0), score(class_name="<dog>", value=40.0)
KID = score(metric="kid", label="kid[loomnet-1]@200", value=0.5, low=None, high=None)
SCORES = Scores([CATS, SCORE, DOGS, KID])


def test_scores_are_an_immutable_sequence() -> None:
    assert len(SCORES) == 4 and SCORES[0] is CATS and SCORES[-1] is KID
    assert isinstance(SCORES[1:], Scores) and list(SCORES[1:]) == [SCORE, DOGS, KID]
    assert SCORES == [CATS, SCORE, DOGS, KID] and Scores(list(SCORES)) == SCORES and SCORES[1:] != SCORES
    assert hash(SCORES) == hash(Scores(list(SCORES))) and SCORES != 3
    with pytest.raises(TypeError, match="item assignment"):
        SCORES[0] = KID  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "value"),
    [("fd", 12.3456), ("fd[loomnet-1]@200", 12.3456), ("fd[loomnet-1]@200 (cat)", 30.0), ("kid", 0.5)],
)
def test_a_value_is_found_by_metric_label_and_class(name: str, value: float) -> None:
    assert SCORES[name] == value and name in SCORES


def test_fid_is_found_by_that_name() -> None:
    fid = Scores([score(label="fid@200", extractor="inception")])
    assert fid["fid"] == fid["fd"] == fid["fid@200"] == 12.3456


def test_of_one_label_the_newest_counts() -> None:
    newer = score(value=9.0, seed=1, created="2026-02-01T00:00:00+00:00")
    assert Scores([newer, SCORE])["fd"] == Scores([SCORE, newer])["fd"] == 9.0


def test_a_name_of_several_labels_is_refused_and_they_are_named() -> None:
    scores = Scores([SCORE, score(label="fd[loomnet-1]@500", value=8.0)])
    with pytest.raises(DataError, match=r"choose one of fd\[loomnet-1\]@200, fd\[loomnet-1\]@500"):
        scores["fd"]
    assert scores["fd[loomnet-1]@500"] == 8.0


def test_a_metric_of_several_numbers_names_them() -> None:
    parts = Scores([score(metric=name, label=f"{name}[loomnet-1]@200") for name in ("precision", "recall", "fd")])
    with pytest.raises(DataError, match="prdc gives several numbers: choose one of precision, recall"):
        parts["prdc"]
    with pytest.raises(DataError, match="no score 'prdc'"):
        SCORES["prdc"]


def test_scores_are_numbers_and_rows_of_a_table() -> None:
    assert float(SCORES["kid"]) == float(KID) == 0.5
    assert SCORES.to_dict()["fd[loomnet-1]@200 (cat)"] == 30.0
    rows = SCORES.to_rows()
    assert [row["name"] for row in rows] == [each.name for each in SCORES]
    assert len({tuple(row) for row in rows}) == 1 and rows[1]["value"] == 12.3456 and rows[1]["low"] == 11.5
    assert repr(SCORE) == str(SCORE) == "Score(fd[loomnet-1]@200 = 12.346  [11.5, 13.25])"


def test_an_unknown_name_is_refused_with_what_there_is() -> None:
    assert "fidd" not in SCORES and KID in SCORES and SCORE not in SCORES[2:]
    with pytest.raises(DataError, match=r"no score 'kidd'. Did you mean 'kid'"):
        SCORES["kidd"]
    with pytest.raises(DataError, match=r"no score 'fd'. Known: fd\[loomnet-1\]@200 \(cat\)"):
        Scores([CATS])["fd"]
    with pytest.raises(DataError, match="There are none"):
        Scores()["fd"]


def test_scores_show_themselves_as_a_table() -> None:
    head, cats, whole, dogs, kid = str(SCORES).splitlines()
    assert head.split("  ")[0] == "score" and head.endswith("better")
    assert whole.split() == ["fd[loomnet-1]@200", "12.346", "[11.5,", "13.25]", "lower"]
    assert "(cat)" in cats and "(<dog>)" in dogs and kid.split() == ["kid[loomnet-1]@200", "0.5", "lower"]
    assert len({line.index("lower") for line in (cats, whole, dogs, kid)}) == 1
    assert repr(SCORES) == str(SCORES) and repr(Scores()) == "no scores"
    html = SCORES._repr_html_()
    assert "<table>" in html and "&lt;dog&gt;" in html and "<dog>" not in html and "12.346" in html


def test_values_as_a_dictionary() -> None:
    assert Scores([CATS, SCORE]).to_dict() == {"fd[loomnet-1]@200 (cat)": 30.0, "fd[loomnet-1]@200": 12.3456}


def test_a_file_keeps_everything(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.json", SCORES)
    found = read_scores(tmp_path / "scores.json")
    assert isinstance(found, Scores) and found == SCORES
    nothing = read_scores(tmp_path / "none.json")
    assert isinstance(nothing, Scores) and not nothing
