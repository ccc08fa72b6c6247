"""Compare scores of several runs in one table, as far as they are comparable."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ganloom.core.errors import DataError
from ganloom.core.files import read_regular, sha256, user_path
from ganloom.core.public import public
from ganloom.core.tables import escape, html_table, text_table
from ganloom.core.words import counted, printable_lines
from ganloom.evaluation.presenting import notes
from ganloom.metrics.meanings import MEANINGS, explained, is_better
from ganloom.metrics.scores import PROTOCOL, Score, differences, metric_of, read_scores
from ganloom.metrics.verdict import verdict
from ganloom.runs import open_folder

__all__ = ["Comparison", "as_text", "compare"]

REMEDY = (
    "To compare these, measure each run in the same way: ganloom evaluate RUN REAL-IMAGES --metrics ... --n N "
    "--n-real N --split SPLIT"
)


@dataclass(frozen=True, repr=False)
class Comparison:
    """Comparable scores of several runs: one row per score, one column per run.

    `print` shows a verdict where the numbers are clear, the table, and why other scores are not in it.
    """

    columns: list[str]  # the runs or files, as they were named
    rows: list[tuple[str, list[Score]]]  # name, and the score of each column
    refused: list[tuple[str, list[str]]]  # name of scores that are not comparable, and the reasons
    incomplete: list[str]  # names of scores that some of the columns lack
    versions: list[str]  # of ganloom that measured the scores in `rows`
    verdicts: list[str] = field(default_factory=list)  # which column is better, and what is wrong with one

    def __repr__(self) -> str:
        return printable_lines("\n".join(as_text(self)))

    def _repr_html_(self) -> str:
        """The table and the notes below it, in a notebook."""
        head, *rows = _cells(self)
        above, below = ("".join(f"<p>{escape(line)}</p>" for line in part) for part in (self.verdicts, _notes(self)))
        return above + (html_table(rows, head) if rows else "") + below


@public
def compare(targets: Sequence[str | os.PathLike[str]]) -> Comparison:
    """Compare the stored scores of several runs, and say why others are not comparable.

    Two scores are comparable if they have the same metric, extractor, weights, resize rule, numbers of real and
    generated images, splits and real images. Of several such scores of a run, the newest counts.

    Args:
        targets: at least two run folders that `ganloom.evaluate` has measured, or files written by its `out`.

    Returns:
        A `Comparison`. Its `rows` may be empty.

    Raises:
        DataError: for fewer than two targets, and for one that does not exist or has no scores.
        RunError: for a folder that is not a run.

    >>> import ganloom
    >>> for name in ("runs/photos", "runs/other"):
    ...     scores = ganloom.evaluate(name, metrics="fd", n=100, device="cpu")
    >>> comparison = ganloom.compare(["runs/photos", "runs/other"])
    >>> [name for name, _ in comparison.rows]
    ['fd[loomnet-1]@100']

    """
    if len(targets) < 2:
        raise DataError("name at least two runs to compare.")
    read = [_scores(user_path(target)) for target in targets]
    columns = [scores for scores, _ in read]
    rows: list[tuple[str, list[Score]]] = []
    refused: list[tuple[str, list[str]]] = []
    metrics = dict.fromkeys((score.metric, score.class_name) for column in columns for score in column)
    incomplete = []
    for metric, class_name in metrics:
        name = metric if class_name is None else f"{metric} ({class_name})"
        found = [[s for s in column if (s.metric, s.class_name) == (metric, class_name)] for column in columns]
        if not all(found):
            incomplete.append(name)
            continue
        matched: list[tuple[str, list[Score]]] = []  # one row for each protocol that all columns have
        for first in found[0]:
            equals = [next((s for s in others if not differences(first, s)), None) for others in found]
            if None not in equals:
                matched.append((first.name, [score for score in equals if score is not None]))
        rows += _distinct(matched)
        if not matched:
            reasons = [reason for others in found[1:] for reason in _plainly(found[0][0], others[0])]
            refused.append((name, list(dict.fromkeys(reasons))))
    versions = sorted({score.ganloom for _, scores in rows for score in scores})
    names = [os.fspath(target) for target in targets]
    earlier = [f"{name}: {stale}" for name, (_, stale) in zip(names, read, strict=True) if stale]
    return Comparison(names, rows, refused, incomplete, versions, [*earlier, *_verdicts(names, columns, rows)])


def _verdicts(names: list[str], columns: list[list[Score]], rows: list[tuple[str, list[Score]]]) -> Iterator[str]:
    """Lines on what is clear: that two columns are the same images, what one column is, and which one is better."""
    for place, name in enumerate(names):
        models = [{score.model for score in columns[each]} for each in range(place + 1)]
        same = [names[each] for each in range(place) if models[each] & models[place]]
        if same:
            yield f"{name} and {same[0]}: some of their scores are of the same model, or of the same images"
    for name, column in zip(names, columns, strict=True):
        if found := verdict(column):
            yield f"{name}: {found}"
    ahead: dict[str, list[str]] = {}
    for label, scores in rows:
        winner = _clear_winner(scores)
        if winner is not None:
            ahead.setdefault(names[winner], []).append(metric_of(label))
    if len(ahead) == 1:
        ((name, numbers),) = ahead.items()
        yield f"better: {name} ({', '.join(dict.fromkeys(numbers))}); no metric clearly favours another"
    elif ahead:
        parts = (f"{name} in {', '.join(dict.fromkeys(numbers))}" for name, numbers in ahead.items())
        yield f"better: {'; '.join(parts)}"


def _clear_winner(scores: Sequence[Score]) -> int | None:
    """The column whose 95 % interval is better than all others'; None if they overlap, or there are none."""
    metric = scores[0].metric
    if scores[0].class_name is not None or any(score.note for score in scores):
        return None
    if not ((known := MEANINGS.get(metric)) and known.better):
        return None
    intervals = [(score.low, score.high) for score in scores]
    for place, (low, high) in enumerate(intervals):
        others = [each for index, each in enumerate(intervals) if index != place]
        worst = high if known.better == "lower" else low
        ends = [other[0] if known.better == "lower" else other[1] for other in others]
        if worst is not None and all(end is not None and is_better(metric, worst, end) for end in ends):
            return place
    return None


def _plainly(one: Score, other: Score) -> Iterator[str]:
    """Why two scores are not comparable, in words: names of images instead of hashes, and numbers as they are read.

    Where the real images differ, nothing else matters.
    """
    shown = {"content_hash": "dataset", "weights": "extractor"}
    differing = [key for key in PROTOCOL if getattr(one, key) != getattr(other, key)]
    for key in ["content_hash"] if "content_hash" in differing else differing:
        words = PROTOCOL[key]
        a, b = (getattr(score, shown.get(key, key)) for score in (one, other))
        if a == b:  # of the same name, but with another content
            yield f"other {words} ({a} in both)"
        else:
            a, b = (f"{each:,}" if isinstance(each, int) else "none" if each is None else each for each in (a, b))
            yield f"{words}: {a} against {b}"


def _distinct(rows: Sequence[tuple[str, list[Score]]]) -> Iterator[tuple[str, list[Score]]]:
    """The first row of each name and protocol. Rows of one name get the fields in which their protocols differ."""
    kept: list[tuple[str, list[Score]]] = []
    for name, scores in rows:
        if all(differences(scores[0], others[0]) for label, others in kept if label == name):
            kept.append((name, scores))
    for name, scores in kept:
        others = [each[0] for label, each in kept if label == name]
        how = dict.fromkeys(text.partition(" against ")[0] for each in others for text in differences(scores[0], each))
        yield ", ".join([name, *how]), scores


def _scores(target: Path) -> tuple[list[Score], str]:
    """Scores of a run's present model, or of a file, the newest first; and what is said of those of earlier models."""
    if not target.exists():
        raise DataError(f"there is nothing at {target}: name a run folder, or a file written by 'evaluate --out'.")
    path = open_folder(target).scores if target.is_dir() else target
    scores = read_scores(path)
    if not scores:
        remedy = f"ganloom evaluate {target}" if target.is_dir() else "evaluate again with --out"
        raise DataError(f"{target} has no scores yet: {remedy}")
    newest = sorted(scores, key=lambda score: score.created, reverse=True)
    model = _present(target)
    present = [score for score in newest if model is None or score.model == model]
    if len(present) == len(newest):
        return present, ""
    again = f"ganloom evaluate {target}"
    if not present:
        raise DataError(f"the scores of {target} are of an earlier model, which is gone. To measure again: {again}")
    earlier = counted(len(newest) - len(present), "score")
    return present, f"{earlier} of earlier models left out. To measure the present one: {again}"


def _present(target: Path) -> str | None:
    """The hash of the model that a run has now; None for a file, and for a run without its model."""
    try:
        return sha256(read_regular(target / "model.safetensors")) if target.is_dir() else None
    except OSError:
        return None


def as_text(comparison: Comparison) -> Iterator[str]:
    """The verdicts, the table, then lines that say what it leaves out and why."""
    yield from comparison.verdicts
    if comparison.rows:
        yield from text_table(_cells(comparison))
    yield from _notes(comparison)


def _cells(comparison: Comparison) -> list[list[str]]:
    """The head and the rows of the table."""
    rows = ([name, *(score.text for score in scores), explained(scores[0].metric)] for name, scores in comparison.rows)
    return [["", *comparison.columns, ""], *rows]


def _notes(comparison: Comparison) -> Iterator[str]:
    compared = [score for _, scores in comparison.rows for score in scores]
    yield from notes(compared)
    if unverified := dict.fromkeys(score.generated for score in compared if score.verified is False):
        yield (
            f"note: the real images of {', '.join(unverified)} were not verified (data.verify=false): their hash is "
            "the one that was stored when they were prepared"
        )
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, reasons in comparison.refused:
        groups.setdefault(tuple(reasons), []).append(name)
    for why, metrics in groups.items():
        yield f"not comparable: {', '.join(metrics)} ({'; '.join(why)})"
    if groups:
        yield REMEDY
    if len(comparison.versions) > 1:
        versions = ", ".join(comparison.versions)
        yield f"note: measured by different versions of ganloom ({versions}): see its changelog"
    if comparison.incomplete:
        yield f"missing in some of them: {', '.join(comparison.incomplete)}"
