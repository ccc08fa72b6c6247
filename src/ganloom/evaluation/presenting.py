"""Scores as lines for people: a verdict where they are clear, then each number, which way is better, what it says."""

from collections.abc import Iterator, Sequence

from ganloom.core.tables import text_table
from ganloom.metrics.meanings import explained
from ganloom.metrics.scores import Score
from ganloom.metrics.verdict import verdict

__all__ = ["lines", "notes"]


def lines(scores: Sequence[Score]) -> Iterator[str]:
    """For the scores of one evaluation."""
    if found := verdict(scores):
        yield f"verdict   {found}"
    whole = [score for score in scores if score.class_name is None]
    of_classes = [score for score in scores if score.class_name is not None]
    rows = [[score.name, f"{score.value:.5g}", score.interval, explained(score.metric)] for score in whole]
    yield from text_table(rows) if rows else ()
    rows = [[score.name, f"{score.value:.5g}", score.interval] for score in of_classes]
    yield from text_table(rows) if rows else ()
    yield from notes(scores)


def notes(scores: Sequence[Score]) -> Iterator[str]:
    """Each note once, with the numbers that it concerns."""
    for note in dict.fromkeys(score.note for score in scores if score.note):
        concerned = dict.fromkeys(score.metric for score in scores if score.note == note)
        yield f"note: {', '.join(concerned)}: {note}"
