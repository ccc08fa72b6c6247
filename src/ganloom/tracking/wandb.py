"""Weights & Biases (extra `wandb`): losses, images and the configuration, online or offline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ganloom.tracking import Event

__all__ = ["WeightsAndBiases"]


class WeightsAndBiases:
    """One W&B run for one ganloom run: its id is ours, so a resumed training goes on in the same place."""

    def __init__(
        self,
        folder: Path,
        *,
        mode: Literal["online", "offline"],
        project: str,
        id: str,
        name: str,
        config: dict[str, Any],
    ) -> None:
        import wandb  # an extra: planning has looked whether it is there

        self._wandb = wandb
        self._run = wandb.init(
            dir=str(folder),
            mode=mode,
            project=project,
            id=id,
            name=name,
            config=config,
            resume="allow",
            settings=wandb.Settings(silent=True, console="off"),  # the terminal is ours
        )
        self.url: str | None = self._run.url
        # Our clock is the image count; W&B's own step may only grow, which a resumed run does not respect.
        self._run.define_metric("*", step_metric="nimg")

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        self._run.log({"nimg": nimg, **values})

    def event(self, nimg: int, event: Event) -> None:
        self._run.log({"nimg": nimg, **{f"{event.name}/{name}": value for name, value in event.evidence.items()}})
        self._run.alert(title=event.name, text=event.text)

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self._run.log({"nimg": nimg, name: self._wandb.Image(picture.permute(1, 2, 0).numpy())})

    def close(self) -> None:
        self._run.finish()
