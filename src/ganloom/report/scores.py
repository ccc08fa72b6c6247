"""The scores of a run as HTML: what each means, whether higher or lower is better, and its provenance."""

from collections.abc import Iterator, Sequence

from ganloom.metrics.meanings import MEANINGS, Meaning
from ganloom.metrics.scores import Score, metric_of
from ganloom.report.html import escape, table

__all__ = ["in_words", "main_score", "meaning", "score_tables"]

MAIN = ("fid", "fd", "kid", "is")  # the score to mention if only one is: the first of these that was measured
PROVENANCE = {
    "generated": "generated images of",
    "model": "hash of the model",
    "nimg": "training images seen",
    "dataset": "real images of",
    "content_hash": "hash of their content",
    "verified": "compared with the images",
    "split": "split",
    "held_out": "held-out split",
    "extractor": "extractor",
    "weights": "hash of its weights",
    "resize": "resize",
    "shape": "images compared at",
    "n_generated": "generated images",
    "n_real": "real images",
    "seed": "seed",
    "ganloom": "ganloom",
    "torch": "PyTorch",
    "device": "device",
    "created": "measured",
}
HASHES = ("weights", "model", "content_hash")
SHORT = 12  # characters of a hash that are shown; the tooltip has all


def meaning(label: str) -> Meaning | None:
    """The meaning of a score, from its label or its column in the log, such as `fd[loomnet-1]@2000`."""
    return MEANINGS.get(metric_of(label))


def main_score(found: Sequence[Score], content_hash: str, nimg: int) -> Score | None:
    """The score to mention in a sentence: preferably against the run's own images, then of its last model, then of the
    first metric in `MAIN`. Of several equal ones it is the newest.
    """
    ranks = {metric: rank for rank, metric in enumerate(MAIN)}
    newest = sorted((score for score in found if score.class_name is None), key=lambda score: score.created)[::-1]

    def rank(score: Score) -> tuple[bool, bool, int]:
        others = score.content_hash != content_hash, score.nimg != nimg
        return *others, ranks.get(metric_of(score.label), len(MAIN))

    return min(newest, key=rank, default=None)


def in_words(score: Score) -> str:
    """`the Fréchet distance fd[loomnet-1]@2000 is 12.3 (95 % interval 11.9 to 12.8; lower is better)`."""
    known = meaning(score.label)
    remarks = [f"95 % interval {interval}"] if (interval := _interval(score)) else []
    remarks += [known.which_way] if known and known.which_way else []
    name = f"the {known.name} " if known else ""
    return f"{name}{score.label} is {score.value:.4g}" + (f" ({'; '.join(remarks)})" if remarks else "")


def score_tables(found: Sequence[Score]) -> Iterator[str]:
    """Tables of scores, of scores by class, and of their provenance."""
    whole = [score for score in found if score.class_name is None]
    if whole:
        rows = [[score.label, f"{score.value:.4g}", _interval(score), *_explained(score)] for score in whole]
        shown = table(rows, ["score", "value", "95 % interval", "better", "meaning"])
        yield f'<div class="numbers">{shown}</div>'
    classes = [score for score in found if score.class_name is not None]
    if classes:
        yield "<h3>By class</h3>"
        rows = [[score.class_name or "", score.label, f"{score.value:.4g}", _interval(score)] for score in classes]
        yield table(rows, ["class", "score", "value", "95 % interval"])
    yield "<h3>Where these numbers come from</h3>"
    yield from _provenance(found)


def _explained(score: Score) -> tuple[str, str]:
    known = meaning(score.label)
    return (known.better or known.goal or "–", known.sentence) if known else ("", "")


def _interval(score: Score) -> str:
    return "" if score.low is None or score.high is None else f"{score.low:.4g} to {score.high:.4g}"


def _provenance(found: Sequence[Score]) -> Iterator[str]:
    """A table of what differs between scores, with one row per provenance, then one of what all scores share."""
    shared = [field for field in PROVENANCE if len({_cell(field, score) for score in found}) == 1]
    apart = [field for field in PROVENANCE if field not in shared]
    groups: dict[tuple[str, ...], list[Score]] = {}
    for score in found:
        groups.setdefault(tuple(_cell(field, score) for field in apart), []).append(score)
    if apart:
        rows = [["<br>".join(_names(group)), *cells] for cells, group in groups.items()]
        yield f'<div class="wide">{table(rows, ["score", *(PROVENANCE[field] for field in apart)], escaped=True)}</div>'
        yield "<p>For all of them:</p>"
    yield table([[PROVENANCE[field], _cell(field, found[0])] for field in shared], escaped=True)


def _names(group: Sequence[Score]) -> Iterator[str]:
    """Each label once, with its classes."""
    for label in dict.fromkeys(score.label for score in group):
        classes = [score.class_name for score in group if score.label == label and score.class_name is not None]
        whole = any(score.label == label and score.class_name is None for score in group)
        of = f"of {', '.join(classes)}" if classes else ""
        yield escape(" and ".join(part for part in (label if whole else "", f"{label} {of}" if of else "") if part))


def _cell(field: str, score: Score) -> str:
    value = getattr(score, field)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in HASHES:
        return f'<code title="{escape(str(value))}">{escape(str(value)[:SHORT])}</code>'
    if field == "created":
        return escape(value[:16].replace("T", " ") + " UTC")  # to the minute: one evaluation takes some seconds
    return escape(f"{value:,}" if isinstance(value, int) and field != "seed" else str(value))
