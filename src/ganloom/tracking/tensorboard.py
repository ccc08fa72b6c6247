"""TensorBoard: `tensorboard --logdir RUN` shows scalars and image grids over the image count."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ganloom.tracking import Event

__all__ = ["TensorBoard"]


class TensorBoard:
    """Writes event files; on resume, what came after `resume_at` images is purged."""

    def __init__(self, folder: Path, resume_at: int) -> None:
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
