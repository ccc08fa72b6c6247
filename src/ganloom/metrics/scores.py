"""A score: a number with all that is needed to measure it again, and to decide what it may be compared with."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, overload

from pydantic import BaseModel, ConfigDict

from ganloom import metrics
from ganloom.core.errors import DataError
from ganloom.core.files import read_regular, write_atomically
from ganloom.core.names import nearest
from ganloom.core.sealed import seal, unseal
from ganloom.core.tables import html_table, text_table
from ganloom.core.words import printable
from ganloom.metrics.meanings import MEANINGS

__all__ = ["Score", "Scores", "differences", "label", "metric_of", "read_scores", "write_scores"]

PROTOCOL = {
    "extractor": "extractor",
    "weights": "the extractor's weights",
    "resize": "resize rule",
    "n_real": "real images",
    "n_generated": "generated images",
    "split": "split",
    "held_out": "held-out split",
    "content_hash": "real images' content",
}
"""Fields that two comparable scores have in common, and how messages call them."""


class Score(BaseModel):
    """One number and its provenance. `low` and `high` are its 95 % confidence interval, if it has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    metric: str  # such as "fd"
    label: str  # its full name, such as "fd[loomnet-1]@2000": metric, extractor, generated images
    value: float
    low: float | None
    high: float | None
    class_name: str | None  # the class, for a score of a single class
    extractor: str | None  # None for a metric that uses none
    weights: str | None  # sha256 of the extractor's weights
    resize: str | None  # the extractor's resize rule
    shape: str  # of the images, such as "32x32 RGB"
    n_real: int  # real images used
    n_generated: int  # generated images used
    split: str  # of the real images
    held_out: str | None  # split of the real images not used for training, for a metric that needs them
    seed: int
    model: str  # sha256 of the model file; content hash for a folder of images
    nimg: int | None  # training images that the model had seen
    generated: str  # what made the generated images, shown to users
    dataset: str  # name of the real images
    content_hash: str  # of the real images as prepared
    ganloom: str  # version
    torch: str  # version
    device: str
    created: str  # time in UTC, ISO 8601
    verified: bool | None = None  # whether content_hash was computed from the images; None: not recorded at the time
    converted: str = ""  # what was done to the images, such as "grey, compared as 32x32 RGB"; empty if nothing
    note: str = ""  # why the number says little about these images, if it does

    def __repr__(self) -> str:
        """In short; `model_dump()` has every field."""
        return f"Score({printable(self.name)} = {self.text})"

    __str__ = __repr__

    def __float__(self) -> float:
        return self.value

    @property
    def name(self) -> str:
        """The label, with the class if the score is of a single class: `fd[loomnet-1]@500 (cat)`."""
        return self.label if self.class_name is None else f"{self.label} ({self.class_name})"

    @property
    def interval(self) -> str:
        """The 95 % interval: `[11.5, 13.25]`; empty if there is none."""
        return "" if self.low is None or self.high is None else f"[{self.low:.4g}, {self.high:.4g}]"

    @property
    def text(self) -> str:
        """The value and its interval: `12.345  [11.5, 13.25]`."""
        return f"{self.value:.5g}  {self.interval}".rstrip()


class Scores(Sequence[Score]):
    """An immutable sequence of scores whose values can also be looked up by name.

    `scores["fd"]` is the value of a metric, `scores["fd[loomnet-1]@2000"]` that of a label. Both mean the score of all
    classes together; that of a single class is `scores["fd[loomnet-1]@200 (cat)"]`. If a label was measured several
    times, for example with several seeds, the newest score counts. Raises `DataError` for a name that does not exist,
    and for a metric with several labels, such as two numbers of images.

    `print(scores)` shows a table, `to_dict()` has the values as numbers, and `pandas.DataFrame(scores.to_rows())` is a
    table with every field.
    """

    def __init__(self, scores: Iterable[Score] = ()) -> None:
        self._scores = tuple(scores)

    def __len__(self) -> int:
        return len(self._scores)

    @overload
    def __getitem__(self, key: str) -> float: ...
    @overload
    def __getitem__(self, key: int) -> Score: ...
    @overload
    def __getitem__(self, key: slice) -> "Scores": ...
    def __getitem__(self, key: str | int | slice) -> "float | Score | Scores":
        if isinstance(key, str):
            return self._find(key).value
        return Scores(self._scores[key]) if isinstance(key, slice) else self._scores[key]

    def __contains__(self, key: object) -> bool:
        """Whether a score is one of these, or whether a name can be looked up."""
        return bool(self._matching(key)) if isinstance(key, str) else key in self._scores

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Scores | list | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._scores)

    def __repr__(self) -> str:
        return "\n".join(text_table(self._rows())) if self else "no scores"

    def _repr_html_(self) -> str:
        """The table, in a notebook."""
        head, *rows = self._rows()
        return html_table(rows, head)

    def to_dict(self) -> dict[str, float]:
        """Values by full name, such as `fd[loomnet-1]@2000`; of scores with the same name, the last one's."""
        return {score.name: score.value for score in self}

    def to_rows(self) -> list[dict[str, str | float | int | None]]:
        """Every field of every score, a dict per score: rows of a table, for pandas."""
        return [{"name": score.name, **score.model_dump()} for score in self]

    def _rows(self) -> list[list[str]]:
        rows = [["score", "value", "95 % interval", "better"]]
        for score in self:
            meaning = MEANINGS.get(score.metric)
            rows.append([score.name, f"{score.value:.5g}", score.interval, (meaning and meaning.better) or "-"])
        return rows

    def _matching(self, name: str) -> list[Score]:
        """Scores of that full name, or else those without a class of that label or metric."""
        named = [score for score in self if score.name == name]
        whole = (score for score in self if score.class_name is None)
        return named or [score for score in whole if name in (score.metric, metric_of(score.label))]

    def _find(self, name: str) -> Score:
        found = self._matching(name)
        labels = dict.fromkeys(score.name for score in found)
        if len(labels) > 1:
            raise DataError(f"there are several scores '{name}': choose one of {', '.join(labels)}.")
        if not found and name in metrics.names():
            parts = [part for part in metrics.find(name).NUMBERS if self._matching(part)]
            if parts:
                raise DataError(f"{name} gives several numbers: choose one of {', '.join(parts)}.")
        if not found:
            known = {score.name for score in self} | {score.metric for score in self if score.class_name is None}
            raise DataError(f"there is no score '{name}'. {nearest(name, known)}")
        return max(found, key=lambda score: score.created)


def label(metric: str, extractor: str | None, n: int) -> str:
    """The full name of a number. Only the Frechet distance in the features of inception is called FID."""
    if metric == "fd" and extractor == "inception":
        return f"fid@{n}"
    return f"{metric}@{n}" if extractor is None else f"{metric}[{extractor}]@{n}"


def metric_of(label: str) -> str:
    """The metric in a label: `fd` for `fd[loomnet-1]@2000`, `fid` for `fid@2000`."""
    return label.partition("@")[0].partition("[")[0]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    scores: list[Score]


def differences(a: Score, b: Score) -> list[str]:
    """The reasons why two scores of one metric are not comparable; empty if they are."""
    return [
        f"{words}: {_short(getattr(a, field))} against {_short(getattr(b, field))}"
        for field, words in PROTOCOL.items()
        if getattr(a, field) != getattr(b, field)
    ]


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)


def read_scores(path: Path) -> Scores:
    """The scores in a file; none if there is no file. Raises `DataError` if the file is damaged or of another kind."""
    try:
        return Scores(_File.model_validate(unseal(read_regular(path))).scores)
    except FileNotFoundError:
        return Scores()
    except (OSError, ValueError) as error:  # pydantic's is a ValueError
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} holds no scores that this version of ganloom can read ({reason}). If it is a damaged file of "
            "scores, remove it and evaluate again."
        ) from None


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    """Write a file for `read_scores`, completely or not at all. Raises `StorageError`."""
    write_atomically(path, seal(json.loads(_File(scores=list(scores)).model_dump_json())))
