"""What a run folder holds, for its report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ganloom.config import Config
from ganloom.core.errors import DataError, ModelError
from ganloom.metrics.scores import Score, Scores, metric_of, read_scores
from ganloom.models import modelfile
from ganloom.report.history import History, read_history
from ganloom.runs import Facts, RunFolder

__all__ = ["Story", "read"]


@dataclass(frozen=True)
class Story:
    """What a run folder holds, as far as it can be read."""

    run: RunFolder
    config: Config
    facts: Facts
    history: History
    saved_seconds: float | None  # of training, at the newest checkpoint
    grids: dict[int, Path]  # of samples, by image count
    scores: Sequence[Score]
    best: modelfile.Header | None  # header of the model with the best score
    problems: Sequence[str]  # what could not be read

    @property
    def nimg(self) -> int:
        """The image count that the training reached."""
        return max([self.history.nimg, *self.grids])

    @property
    def seconds(self) -> float | None:
        """Of training, from the log or the newest checkpoint: the last step of a timed training may have no row."""
        logged = self.history["seconds"].latest(self.nimg)
        known = [each for each in (logged, self.saved_seconds) if each is not None]
        return max(known, default=None)

    def measured(self, metric: str) -> Score | None:
        """The newest score of the whole set of images; those of the training's own scores are in `history`."""
        found = [score for score in self.scores if score.metric == metric and score.class_name is None]
        return max(found, key=lambda score: score.created, default=None)

    def while_training(self, metric: str) -> str | None:
        """The column of the log with that score, such as fd[loomnet-1]@2000."""
        return next((name for name in self.history.scores if metric_of(name) == metric), None)

    def latest_while_training(self, metric: str) -> float | None:
        """The newest score of the training itself; None if there is none."""
        name = self.while_training(metric)
        return self.history[name].latest(self.nimg) if name else None

    def epochs(self, nimg: float) -> float:
        return nimg / max(1, self.facts.images)


def read(run: RunFolder) -> Story:
    """Read as much as is readable; `problems` of the result names the rest."""
    history, problems = read_history(run.log), []
    if history.unread:
        lines = "its last line is" if history.unread == 1 else f"its last {history.unread:,} lines are"
        problems.append(f"log.jsonl is damaged: {lines} left out.")
    found = Scores()
    try:
        found = read_scores(run.scores)
    except DataError as error:
        problems.append(str(error))
    best = None
    try:
        best = modelfile.read_header(run.best) if run.best.exists() else None
    except ModelError as error:
        problems.append(str(error))
    return Story(run, run.config, run.facts, history, run.saved_seconds(), run.grids(), found, best, problems)
