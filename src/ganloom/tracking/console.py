"""What a person sees while it trains: a live bar on a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor

__all__ = ["Console"]

PLAIN_SECONDS = 5.0  # between plain lines


class Console:
    """Progress of a training of `total` images (or, for a length in minutes, of that many seconds)."""

    def __init__(self, terminal: Terminal, total: int, seconds: float | None, newest: Callable[[int], Path]) -> None:
        self._terminal, self._total, self._seconds = terminal, total, seconds
        self._path, self._newest = newest, ""
        self._printed = 0.0
        self._progress = Progress(
            TextColumn("[bold]{task.fields[done]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[rate]}\n{task.fields[losses]}\n{task.fields[newest]}"),
            console=terminal,
            disable=not terminal.is_terminal,
        )
        self._task = self._progress.add_task("", total=1.0, done="", rate="", losses="starting", newest="")
        self._progress.start()

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        share = values["seconds"] / self._seconds if self._seconds else nimg / self._total
        done = f"{nimg / 1000:,.1f} kimg" if self._seconds else f"{nimg / 1000:,.1f} / {self._total / 1000:,.1f} kimg"
        rate = f"{values['images_per_second']:,.0f} img/s, {self._left(nimg, values)} left"
        losses = (
            f"Loss_D {values['loss_d']:.3f}  Loss_G {values['loss_g']:.3f}  D(x) {values['d_real']:.3f}  "
            f"D(G(z)) {values['d_fake_before']:.3f} -> {values['d_fake_after']:.3f}"
        )
        if self._terminal.is_terminal:
            self._progress.update(
                self._task, completed=min(1.0, share), done=done, rate=rate, losses=losses, newest=self._newest
            )
        elif share >= 1 or time.monotonic() - self._printed > PLAIN_SECONDS:
            self._printed = time.monotonic()
            self._terminal.print(f"{done}  {rate}  {losses}", highlight=False, soft_wrap=True)

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self._newest = f"newest pictures: {self._path(nimg)}"

    def close(self) -> None:
        self._progress.stop()

    def _left(self, nimg: int, values: Mapping[str, float]) -> str:
        if self._seconds:
            left = self._seconds - values["seconds"]
        else:
            left = (self._total - nimg) / max(values["images_per_second"], 1e-9)
        minutes, seconds = divmod(max(0, round(left)), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{seconds:02d}"
