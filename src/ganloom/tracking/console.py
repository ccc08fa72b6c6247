"""Progress of a training: a live bar on a terminal, lines of the log anywhere else."""

import datetime
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rich.console import Console as Terminal
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text
from torch import Tensor

from ganloom.core.terminal import log, terminal
from ganloom.tracking import Event

__all__ = ["Console"]

PLAIN_SECONDS = 5.0  # between two lines of the log
REDRAW_SECONDS = 1.0  # between two drawings of the bar


class _Screen(Progress):
    """A progress bar with three lines below it."""

    losses = ""
    scores = ""
    newest = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.losses)
        yield Text(self.scores)
        yield Text(self.newest)


class Console:
    """Progress of a training of `total` images or, for a length in minutes, of so many `seconds`.

    `newest` gives the path of the grid of samples after so many images.
    """

    def __init__(
        self, total: int, seconds: float | None, newest: Callable[[int], Path], screen: Terminal | None = None
    ) -> None:
        self._total, self._seconds, self._path = total, seconds, newest
        self._terminal = screen or terminal()
        self._printed = self._drawn = -math.inf
        self._progress = _Screen(
            TextColumn("{task.fields[done]}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[rate]}"),
            console=self._terminal,
            disable=not self._terminal.is_terminal,
            auto_refresh=False,  # a drawing thread takes time from the training: 3 % on two cores
        )
        self._task = self._progress.add_task("", total=1.0, done="starting", rate="")
        self._progress.start()

    def advance(self, nimg: int, seconds: float, images_per_second: float) -> None:
        """Show how far the training is after `seconds`; called after every step."""
        if self._terminal.is_terminal:
            done, rate = self._progress_text(nimg, seconds, images_per_second)
            self._progress.update(self._task, completed=self._share(nimg, seconds), done=done, rate=rate)
            if time.monotonic() - self._drawn > REDRAW_SECONDS:
                self._progress.refresh()
                self._drawn = time.monotonic()

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        if "loss_d" not in values:
            if not any(name.startswith("guard_") for name in values):  # the guard's events say what these mean
                self._scores(nimg, values)
            return
        losses = (
            f"Loss_D {values['loss_d']:.3f}  Loss_G {values['loss_g']:.3f}  D(x) {values['d_real']:.3f}  "
            f"D(G(z)) {values['d_fake_before']:.3f} -> {values['d_fake_after']:.3f}"
        )
        self._progress.losses = losses
        ended = self._share(nimg, values["seconds"]) >= 1
        if not self._terminal.is_terminal and (ended or time.monotonic() - self._printed > PLAIN_SECONDS):
            self._printed = time.monotonic()
            done, rate = self._progress_text(nimg, values["seconds"], values["images_per_second"])
            log.info(f"{done}  {rate}  {losses}")

    def event(self, nimg: int, event: Event) -> None:
        log.info(f"event     at {nimg:,} images: {event.text}")

    def _scores(self, nimg: int, values: Mapping[str, float]) -> None:
        text = f"{nimg / 1000:,.1f} kimg  " + "  ".join(f"{name} {value:.3g}" for name, value in values.items())
        self._progress.scores = text
        if not self._terminal.is_terminal:
            log.info(text)

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self._progress.newest = f"newest samples: {self._path(nimg)}"

    def close(self) -> None:
        self._progress.stop()

    def _share(self, nimg: int, seconds: float) -> float:
        return min(1.0, seconds / self._seconds if self._seconds else nimg / self._total)

    def _progress_text(self, nimg: int, seconds: float, images_per_second: float) -> tuple[str, str]:
        if self._seconds:
            done, left = f"{nimg / 1000:,.1f} kimg", self._seconds - seconds
        else:
            done = f"{nimg / 1000:,.1f} / {self._total / 1000:,.1f} kimg"
            left = (self._total - nimg) / max(images_per_second, 1e-9)
        clock = datetime.timedelta(seconds=max(0, round(left)))
        return done, f"{images_per_second:,.0f} img/s, {clock} left"
