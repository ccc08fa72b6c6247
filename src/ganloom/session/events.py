"""The events that a run sends to a callback."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Callback", "Kind", "Notifier", "TrainingEvent"]

Kind = Literal["step", "log", "samples", "scores", "guard", "alert", "saved"]


@dataclass(frozen=True)
class TrainingEvent:
    """Something that has just happened in a run.

    - `step`: an update of both networks. `values`: seconds, images_per_second.
    - `log`: a row of the log. `values`: its columns.
    - `samples`: a grid of generated images, at `path`.
    - `scores`: an evaluation. `values`: scores by label, such as fd[loomnet-1]@2000.
    - `guard`: a check by the guard. `values`: its signals.
    - `alert`: the guard's verdict, a rollback, early stopping, or smaller micro-batches. `text`: what happened.
    - `saved`: a checkpoint and the model, at `path`.
    """

    kind: Kind
    nimg: int  # training images seen
    values: Mapping[str, float] = field(default_factory=dict)
    text: str = ""
    path: Path | None = None
    _stop: Callable[[str], None] = field(default=lambda reason: None, repr=False)

    def stop(self, reason: str = "a callback asked for it") -> None:
        """End the run after this step. It is saved first, and `ganloom.resume` continues it."""
        self._stop(reason)


Callback = Callable[[TrainingEvent], object]


class Notifier:
    """Calls the callback, if there is one, and remembers whether it asked for a stop."""

    def __init__(self, callback: Callback | None = None) -> None:
        self._callback = callback
        self.stop_reason: str | None = None

    def __call__(
        self,
        kind: Kind,
        nimg: int,
        values: Mapping[str, float] | None = None,
        *,
        text: str = "",
        path: Path | None = None,
    ) -> None:
        if self._callback is not None:
            self._callback(TrainingEvent(kind, nimg, dict(values or {}), text, path, self._ask))

    def _ask(self, reason: str) -> None:
        self.stop_reason = reason
