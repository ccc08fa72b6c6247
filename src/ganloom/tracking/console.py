"""Progress of a training: a live bar on a terminal, lines of the log anywhere else."""

import contextlib
import datetime
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text
from torch import Tensor

from ganloom.core.phases import phase
from ganloom.core.terminal import log, terminal
from ganloom.core.words import counted, printable
from ganloom.tracking import Event

__all__ = ["Console"]

PLAIN_SECONDS = 5.0  # between two lines of the log


class Console:
    """Progress of a training of `total` images or, for a length in minutes, of so many `seconds`.

    `newest` gives the path of the grid of samples after so many images.
    """

    def __init__(self, total: int, seconds: float | None, newest: Callable[[int], Path]) -> None:
        self._total, self._seconds, self._path = total, seconds, newest
        self._on_terminal = terminal().is_terminal
        self._printed_at = -math.inf
        self._reached: tuple[int, float, float] | None = None  # images, seconds, images per second
        self._losses = self._scores = self._newest = ""
        self._bar = Progress(
            TextColumn("{task.fields[done]}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[rate]}"),
            auto_refresh=False,
        )
        self._task = self._bar.add_task("", total=1.0, done="the first step", rate="")
        self._open = contextlib.ExitStack()
        training = self._open.enter_context(phase("the first step"))
        training.screen, training.words = self._screen, self._words

    def advance(self, nimg: int, seconds: float, images_per_second: float) -> None:
        """Remember how far the training is after `seconds`; called after every step, and shown now and then."""
        self._reached = nimg, seconds, images_per_second

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        if "loss_d" not in values:
            if not any(name.startswith("guard_") for name in values):  # the guard's events say what these mean
                self._show_scores(nimg, values)
            return
        losses = (
            f"Loss_D {values['loss_d']:.3f}  Loss_G {values['loss_g']:.3f}  D(x) {values['d_real']:.3f}  "
            f"D(G(z)) {values['d_fake_before']:.3f} -> {values['d_fake_after']:.3f}"
        )
        self._losses = losses
        ended = self._share(nimg, values["seconds"]) >= 1
        if not self._on_terminal and (ended or time.monotonic() - self._printed_at > PLAIN_SECONDS):
            self._printed_at = time.monotonic()
            done, rate = self._progress_text(nimg, values["seconds"], values["images_per_second"])
            log.info(f"{done}  {rate}  {losses}")

    def event(self, nimg: int, event: Event) -> None:
        log.info(f"event     at {counted(nimg, 'image')}: {event.text}")

    def _show_scores(self, nimg: int, values: Mapping[str, float]) -> None:
        text = f"{nimg / 1000:,.1f} kimg  " + "  ".join(f"{name} {value:.3g}" for name, value in values.items())
        self._scores = text
        if not self._on_terminal:
            log.info(text)

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        if name == "samples":
            self._newest = f"newest samples: {self._path(nimg)}"

    def close(self) -> None:
        """The training has ended, or is cut short."""
        self._open.close()

    def _screen(self) -> Iterable[RenderableType]:
        """A bar and three lines, drawn a moment later by the thread that looks at phases."""
        if self._reached is not None:
            nimg, seconds, _ = self._reached
            done, rate = self._progress_text(*self._reached)
            self._bar.update(self._task, completed=self._share(nimg, seconds), done=done, rate=rate)
        yield self._bar.make_tasks_table(self._bar.tasks)
        yield from (Text(printable(line)) for line in (self._losses, self._scores, self._newest))

    def _words(self) -> str:
        """The same for a file, where no row of the log has come for long: steps may take seconds."""
        return "" if self._reached is None else "  ".join(self._progress_text(*self._reached))

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
