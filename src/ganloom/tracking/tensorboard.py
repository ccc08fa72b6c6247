"""TensorBoard: scalars and grids of images over the image count.

`tensorboard --logdir runs` shows all runs by their names; with the folder of a single run, its name is not shown.
"""

import re
import time
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ganloom.core.markdown import plain
from ganloom.tracking import Event
from ganloom.tracking.groups import grouped, picture_name

__all__ = ["TensorBoard"]

NAME = re.compile(r"(events\.out\.tfevents\.)(\d{10}\..+)")  # the second of its creation, then host, process and number


class TensorBoard:
    """Writes event files. On resume, what was written after `resume_at` images is purged.

    `about` is the text, in Markdown, that a new run begins with.
    """

    def __init__(self, folder: Path, resume_at: int, about: str = "") -> None:
        _rename_future_files(folder)
        begins = not any(folder.glob("*"))
        self._writer = SummaryWriter(str(folder), purge_step=resume_at + 1)
        if about and begins:
            self._writer.add_text("run", about, 0)

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(grouped(name), value, nimg)

    def event(self, nimg: int, event: Event) -> None:
        self._writer.add_text(event.name, plain(event.text), nimg)
        self._writer.flush()

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self._writer.add_image(picture_name(name), picture, nimg)
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
