"""TensorBoard: `tensorboard --logdir RUN` shows scalars and grids of samples over the image count."""

import re
import time
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ganloom.tracking import Event

__all__ = ["TensorBoard"]

NAME = re.compile(r"(events\.out\.tfevents\.)(\d{10}\..+)")  # the second of its creation, then host, process and number


class TensorBoard:
    """Writes event files. On resume, what was written after `resume_at` images is purged."""

    def __init__(self, folder: Path, resume_at: int) -> None:
        _rename_future_files(folder)
        self._writer = SummaryWriter(str(folder), purge_step=resume_at + 1)

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, nimg)

    def event(self, nimg: int, event: Event) -> None:
        self._writer.add_text(event.name, event.text, nimg)
        self._writer.flush()

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self._writer.add_image(name, picture, nimg)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _rename_future_files(folder: Path) -> None:
    """Rename files whose names lie in the future because the clock has been set back since.

    TensorBoard reads files in the order of their names. It would take the file written now for the oldest, and purge
    what it holds.
    """
    names = [found for path in sorted(folder.glob("*")) if (found := NAME.fullmatch(path.name))]
    now = f"{int(time.time()):010d}."
    last = max((found[2][:10] for found in names if found[2][:11] <= now), default="0" * 10)
    for place, found in enumerate(names):
        if found[2][:11] > now:  # "~" sorts after the first letter of any host name
            (folder / found[0]).rename(folder / f"{found[1]}{last}.~{place:06d}.{found[2]}")
