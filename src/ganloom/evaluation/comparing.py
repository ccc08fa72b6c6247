"""Compare: scores of several runs in one table, as far as they are comparable."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganloom.core.errors import DataError
from ganloom.metrics.scores import Score, differences, read_scores
from ganloom.runs import open_folder

__all__ = ["Table", "as_text", "compare"]


@dataclass(frozen=True)
class Table:
    """Scores side by side: a row a label, a column a run."""

    columns: list[str]
    rows: list[tuple[str, list[Score]]]
    refused: list[tuple[str, list[str]]]  # label, and why its scores must not stand side by side
    alone: list[str]  # labels that not every column has
    versions: list[str]  # of ganloom that measured them


def compare(targets: Sequence[str | os.PathLike[str]]) -> Table:
    """Scores of runs, or of the files that `evaluate --out` wrote. Raises `GanloomError` where there are none."""
    if len(targets) < 2:
        raise DataError("name two runs or more to compare.")
    columns = [_scores(Path(target)) for target in targets]
    rows: list[tuple[str, list[Score]]] = []
    refused: list[tuple[str, list[str]]] = []
    metrics = dict.fromkeys((score.metric, score.class_name) for column in columns for score in column)
    alone = []
    for metric, class_name in metrics:
        name = metric if class_name is None else f"{metric} ({class_name})"
        found = [[s for s in column if (s.metric, s.class_name) == (metric, class_name)] for column in columns]
        if not all(found):
            alone.append(name)
            continue
        matched: list[tuple[str, list[Score]]] = []  # scores of another protocol may stand in another row
        for first in found[0]:
            equals = [next((s for s in others if not differences(first, s)), None) for others in found]
            if None not in equals:
                matched.append((first.name, [score for score in equals if score is not None]))
        rows += _told_apart(matched)
        if not matched:
            reasons = [reason for others in found[1:] for reason in differences(found[0][0], others[0])]
            refused.append((name, list(dict.fromkeys(reasons))))
    versions = sorted({score.ganloom for _, scores in rows for score in scores})
    return Table([str(target) for target in targets], rows, refused, alone, versions)


def _told_apart(rows: Sequence[tuple[str, list[Score]]]) -> Iterator[tuple[str, list[Score]]]:
    """Of several of one label and protocol the first; of one label and several protocols what sets them apart."""
    kept: list[tuple[str, list[Score]]] = []
    for name, scores in rows:
        if all(differences(scores[0], others[0]) for label, others in kept if label == name):
            kept.append((name, scores))
    for name, scores in kept:
        others = [each[0] for label, each in kept if label == name]
        how = dict.fromkeys(told.partition(" against ")[0] for each in others for told in differences(scores[0], each))
        yield ", ".join([name, *how]), scores


def _scores(target: Path) -> list[Score]:
    """Newest first of each name: an older one of another seed is not what was asked for."""
    if not target.exists():
        raise DataError(f"there is nothing at {target}: name a run folder or a file that 'evaluate --out' wrote.")
    path = open_folder(target).scores if target.is_dir() else target
    scores = read_scores(path)
    if not scores:
        remedy = f"ganloom evaluate {target}" if target.is_dir() else "evaluate anew with --out"
        raise DataError(f"{target} has no scores yet: {remedy}")
    return sorted(scores, key=lambda score: score.created, reverse=True)


def as_text(table: Table) -> Iterator[str]:
    """The table for a terminal, then what it leaves out and why."""
    lines = [["", *table.columns], *([name, *(score.text for score in scores)] for name, scores in table.rows)]
    if table.rows:
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        for line in lines:
            yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
    for name, reasons in table.refused:
        yield f"{name}: not comparable ({'; '.join(reasons)})"
    if len(table.versions) > 1:
        yield f"note: measured by different versions of ganloom ({', '.join(table.versions)}): see its changelog"
    if table.alone:
        yield f"only in some of them: {', '.join(table.alone)}"
