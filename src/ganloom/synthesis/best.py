"""Which of a run's models to use: says so if the best one, kept in `best/`, is clearly better than the last one."""

import math
from pathlib import Path
from typing import NamedTuple

from ganloom.core.errors import GanloomError
from ganloom.core.words import counted
from ganloom.metrics.meanings import MEANINGS, is_better
from ganloom.metrics.scores import metric_of
from ganloom.models import modelfile
from ganloom.runs import RunFolder, open_folder
from ganloom.tracking.jsonl import read_log

__all__ = ["CLEARLY", "Lead", "advice", "lead_of_best"]

# Times the best score. Neighbouring evaluations of a healthy training differ by a tenth, and the intervals of a
# distance at the default number of images reach some 5 % to both sides.
CLEARLY = 1.25


class Lead(NamedTuple):
    """The best model of a run is clearly better than its last one."""

    run: Path
    label: str  # of the score that decides, such as fd[loomnet-1]@2000
    best: float
    best_at: int  # images that the best model has seen
    last: float
    last_at: int  # images at the newest evaluation

    @property
    def text(self) -> str:
        """A sentence with the numbers, and what to type."""
        better = MEANINGS[metric_of(self.label)].better
        times = max(self.last, self.best) / min(self.last, self.best) if min(self.last, self.best) > 0 else math.inf
        many = f"{times:.1f} times, " if math.isfinite(times) else ""
        return (
            f"the last model is clearly worse than the best one: {self.label} is {self.last:.4g} after "
            f"{counted(self.last_at, 'image')}, and was {self.best:.4g} after {self.best_at:,} ({many}{better} is "
            f"better). To use the best one: ganloom sample {self.run} --at best"
        )


def lead_of_best(folder: RunFolder) -> Lead | None:
    """How far the best model is ahead of the last one; None if not clearly, or if that is unknown.

    Clearly means a score `CLEARLY` times as good, by the score that chose the best model. The newest evaluation counts
    for the last model.
    """
    try:
        best, model = (modelfile.read_header(path).training for path in (folder.best, folder.model))
        chosen = folder.config.evaluate.best
    except GanloomError:  # one of them does not exist yet, or is damaged
        return None
    for label, value in best.get("best", {}).items():
        if metric_of(label) != chosen:
            continue
        seen = (int(best.get("nimg", 0)), int(model.get("nimg", 0)))
        rows = [row for row in read_log(folder.log) if seen[0] < row["nimg"] <= seen[1] and label in row]
        if not rows:
            return None
        last = rows[-1][label]
        if last is None or _is_clearly_better(chosen, value, last):  # NaN is stored as null
            return Lead(folder.path, label, value, seen[0], math.nan if last is None else last, rows[-1]["nimg"])
    return None


def advice(path: Path) -> str:
    """What to say where the model at `path` is used: the text of the lead if it is the last one of a run, or nothing.

    `path` is a run folder, or the model.safetensors in one.
    """
    folder = path.parent if path.name == "model.safetensors" else path
    if not (folder / "config.yaml").is_file():
        return ""
    lead = lead_of_best(open_folder(folder))
    return lead.text if lead else ""


def _is_clearly_better(metric: str, best: float, last: float) -> bool:
    if min(best, last) < 0:  # a kernel distance may be: it is about 0 then
        return False
    low, high = sorted((best, last))
    return is_better(metric, best, last) and high > CLEARLY * low
