"""Compare scores of several runs in one table, as far as they are comparable."""

import html
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganloom.core.errors import DataError
from ganloom.core.tables import html_table, text_table
from ganloom.metrics.scores import Score, differences, read_scores
from ganloom.runs import open_folder

__all__ = ["Comparison", "as_text", "compare"]


@dataclass(frozen=True, repr=False)
class Comparison:
    """Comparable scores of several runs: one row per score, one column per run. `print` shows the table."""

    columns: list[str]  # the runs or files, as they were named
    rows: list[tuple[str, list[Score]]]  # name, and the score of each column
    refused: list[tuple[str, list[str]]]  # name of scores that are not comparable, and the reasons
    incomplete: list[str]  # names of scores that some of the columns lack
    versions: list[str]  # of ganloom that measured the scores in `rows`

    def __repr__(self) -> str:
        return "\n".join(as_text(self))

    def _repr_html_(self) -> str:
        """The table and the notes below it, in a notebook."""
        head, *rows = _cells(self)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in _notes(self))
        return (html_table(rows, head) if rows else "") + notes


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
    if isinstance(targets, str | os.PathLike) or len(targets) < 2:
        raise DataError("name at least two runs to compare.")
    columns = [_scores(Path(target).expanduser()) for target in targets]
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
            reasons = [reason for others in found[1:] for reason in differences(found[0][0], others[0])]
            refused.append((name, list(dict.fromkeys(reasons))))
    versions = sorted({score.ganloom for _, scores in rows for score in scores})
    return Comparison([str(target) for target in targets], rows, refused, incomplete, versions)


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


def _scores(target: Path) -> list[Score]:
    """Scores of a run or a file, the newest first."""
    if not target.exists():
        raise DataError(f"there is nothing at {target}: name a run folder, or a file written by 'evaluate --out'.")
    path = open_folder(target).scores if target.is_dir() else target
    scores = read_scores(path)
    if not scores:
        remedy = f"ganloom evaluate {target}" if target.is_dir() else "evaluate again with --out"
        raise DataError(f"{target} has no scores yet: {remedy}")
    return sorted(scores, key=lambda score: score.created, reverse=True)


def as_text(comparison: Comparison) -> Iterator[str]:
    """Lines of the table, then lines that say what it leaves out and why."""
    if comparison.rows:
        yield from text_table(_cells(comparison))
    yield from _notes(comparison)


def _cells(comparison: Comparison) -> list[list[str]]:
    """The head and the rows of the table."""
    rows = ([name, *(score.text for score in scores)] for name, scores in comparison.rows)
    return [["", *comparison.columns], *rows]


def _notes(comparison: Comparison) -> Iterator[str]:
    for name, reasons in comparison.refused:
        yield f"{name}: not comparable ({'; '.join(reasons)})"
    if len(comparison.versions) > 1:
        versions = ", ".join(comparison.versions)
        yield f"note: measured by different versions of ganloom ({versions}): see its changelog"
    if comparison.incomplete:
        yield f"missing in some of them: {', '.join(comparison.incomplete)}"
