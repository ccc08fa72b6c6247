"""A score: a number with everything that is needed to repeat it, and to know what it may be compared with."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ganloom.core.errors import DataError
from ganloom.core.files import write_atomically

__all__ = ["Score", "differences", "label", "metric_of", "read_scores", "write_scores"]

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
"""Fields in which two scores must agree to be comparable, in words."""


class Score(BaseModel):
    """One number. `low` and `high` are its 95 % interval, where it has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    metric: str  # such as "fd"
    label: str  # how it is quoted, such as "fd[loomnet-1]@2000"
    value: float
    low: float | None
    high: float | None
    class_name: str | None  # of a score of one class
    extractor: str | None  # None: the metric needs none
    weights: str | None  # sha256 of the extractor's weights
    resize: str | None
    shape: str  # of the images compared, such as "32x32 RGB"
    n_real: int
    n_generated: int
    split: str  # of the real images
    held_out: str | None  # the split of real images not trained on, for a metric that asks for them
    seed: int
    model: str  # sha256 of the model's file; of a folder of images, their content hash
    nimg: int | None  # images that the model was trained with
    generated: str  # for people: where the generated images came from
    dataset: str
    content_hash: str  # of the real images, as prepared
    ganloom: str
    torch: str
    device: str
    created: str

    @property
    def name(self) -> str:
        """The label, and the class it is of."""
        return self.label if self.class_name is None else f"{self.label} ({self.class_name})"

    @property
    def text(self) -> str:
        """The number as people read it."""
        interval = f"  [{self.low:.4g}, {self.high:.4g}]" if self.low is not None and self.high is not None else ""
        return f"{self.value:.5g}{interval}"


def label(metric: str, extractor: str | None, n: int) -> str:
    """How a number is quoted. Only the Frechet distance in inception's own features is called FID."""
    if metric == "fd" and extractor == "inception":
        return f"fid@{n}"
    return f"{metric}@{n}" if extractor is None else f"{metric}[{extractor}]@{n}"


def metric_of(label: str) -> str:
    """`fd` of a label such as fd[loomnet-1]@2000; `fid` of fid@2000."""
    return label.partition("@")[0].partition("[")[0]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    scores: list[Score]


def differences(a: Score, b: Score) -> list[str]:
    """Why two scores of one metric must not be compared; nothing when they may be."""
    return [
        f"{words}: {_short(getattr(a, field))} against {_short(getattr(b, field))}"
        for field, words in PROTOCOL.items()
        if getattr(a, field) != getattr(b, field)
    ]


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)


def read_scores(path: Path) -> list[Score]:
    """The scores of a file; none where there is no file. Raises `DataError` for another kind of file."""
    try:
        return _File.model_validate_json(path.read_bytes()).scores
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} holds no scores that this ganloom can read ({reason}). If it is a damaged file of scores, remove "
            "it and evaluate anew."
        ) from None


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    write_atomically(path, _File(scores=list(scores)).model_dump_json(indent=2).encode())
