"""A run that can be used: its models, log, scores, samples and state."""

import contextlib
import os
from pathlib import Path

from ganloom.config import Config
from ganloom.core.files import read_regular, user_path
from ganloom.core.public import public
from ganloom.metrics.scores import Scores, read_scores
from ganloom.report.html import png_url, table
from ganloom.runs import RunFolder, Status, open_folder
from ganloom.synthesis.model import Model, load
from ganloom.tracking.jsonl import read_log

__all__ = ["Run", "open_run"]


class Run:
    """A run, finished or still training in this or another process. Its files are read when they are asked for."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder  # the paths of all its files

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def config(self) -> Config:
        """Its complete configuration. Raises `ConfigError` if config.yaml is damaged."""
        return self.folder.config

    @property
    def status(self) -> Status:
        """What its training is doing now, or how it ended."""
        return self.folder.status

    @public
    def model(self, at: int | str = "last", *, device: str = "auto", trust_code: bool = False) -> Model:
        """Its EMA generator: the newest, the one with the best score (at="best"), or that of the nearest checkpoint.

        `at` is as for `ganloom.load`, such as 20000. Raises `ModelError` before the first checkpoint, and of the best
        model if nothing has been scored.
        """
        return load(self.path, at=at, device=device, trust_code=trust_code)

    def history(self) -> dict[str, list[float | None]]:
        """The log as columns of one length, ready for `pandas.DataFrame` or matplotlib: a row per image count.

        `nimg` is the number of training images seen. Losses, rates and speed come with log rows, scores such as
        `fd[loomnet-1]@2000` with evaluations, `guard_...` with checks by the guard. None in all other rows, and instead
        of NaN and infinity.
        """
        rows: dict[int, dict[str, float | None]] = {}
        for row in read_log(self.folder.log):
            if "event" not in row:
                rows[row["nimg"]] = rows.get(row["nimg"], {}) | row
        names = dict.fromkeys(name for row in rows.values() for name in row)
        return {name: [row.get(name) for row in rows.values()] for name in names}

    def scores(self) -> Scores:
        """The stored scores of `ganloom.evaluate`, if there are any. Raises `DataError` if scores.json is damaged."""
        return read_scores(self.folder.scores)

    def samples(self) -> dict[int, Path]:
        """The grids of samples, PNG files of the same latents, by the number of training images seen."""
        return self.folder.grids()

    def __fspath__(self) -> str:
        """A run is a path: it may be given wherever its folder may."""
        return os.fspath(self.path)

    def __repr__(self) -> str:
        status = self.status
        return f"Run({str(self.path)!r}, {status.state}, {status.nimg:,} images)"

    def _repr_html_(self) -> str:
        """In a notebook: its state, its scores and its newest grid of samples."""
        status, newest = self.status, self.folder.newest_sample()
        progress = f"{status.nimg:,}" + (f" of {status.total:,}" if status.total else "")
        rows = [("run", str(self.path)), ("state", status.state), ("images", progress)]
        rows += [("reason", status.reason)] if status.reason else []
        # A score while training has its extractor and count in its name, such as fd[loomnet-1]@2000.
        newest_scores = {
            name: next((value for value in reversed(column) if value is not None), None)
            for name, column in self.history().items()
            if "@" in name
        }
        rows += [(name, f"{value:.4g} (while training)") for name, value in newest_scores.items() if value is not None]
        rows += [(score.name, score.text) for score in self.scores()]
        picture = ""
        with contextlib.suppress(OSError):  # such as a pipe of that name
            picture = "" if newest is None else f'<img src="{png_url(read_regular(newest))}">'
        return table(rows) + picture


@public
def open_run(path: str | os.PathLike[str]) -> Run:
    """A run folder as a `Run`. Raises `RunError` if there is none.

    >>> import ganloom
    >>> run = ganloom.open_run("runs/photos")
    >>> run.status.state, run.history()["nimg"][-1]
    ('finished', 320)
    """
    return Run(open_folder(user_path(path)))
