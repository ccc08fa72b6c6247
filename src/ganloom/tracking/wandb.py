"""Weights & Biases (extra `wandb`): losses, images and the configuration, online or offline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ganloom.core.terminal import log
from ganloom.tracking import Event
from ganloom.tracking.background import BackgroundTracker

__all__ = ["WeightsAndBiases"]

# W&B's own limits, which its hook at the exit of the process keeps too; without them it waits 90 s and for ever.
INIT_SECONDS = 30.0
FINISH_SECONDS = 30.0


class WeightsAndBiases(BackgroundTracker["_Client"]):
    """W&B in a thread of its own, as its server may be out of reach, or silent."""

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
        given = {"mode": mode, "project": project, "id": id, "name": name, "config": config}
        super().__init__(
            lambda: _Client(folder, given),
            made=lambda client: log.info(f"wandb     {client.url or 'offline'}"),
            remedy=_remedy,
        )


class _Client:
    """One W&B run for one ganloom run: its id is ours, so a resumed training goes on in the same place."""

    def __init__(self, folder: Path, given: Mapping[str, Any]) -> None:
        """`given` is what `wandb.init` takes."""
        import wandb  # an extra: planning has looked whether it is there

        self._wandb = wandb
        wandb.setup(wandb.Settings(silent=True))  # or it asks for a key, on a terminal where nobody may answer
        self._run = wandb.init(
            dir=str(folder),
            **given,
            resume="allow",
            settings=wandb.Settings(
                silent=True,  # the terminal is ours
                console="off",
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
                finish_timeout_raises=True,
            ),
        )
        self.url: str | None = self._run.url
        self.kept = f"{folder}/wandb/*run-*-{given['id']}"  # a folder for every time that the training went on
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


def _remedy(client: _Client | None) -> str:
    if client is None:
        return "trackers.wandb.mode=offline needs no server, and 'wandb sync' sends what it wrote"
    return f"what it was told lies here, and this sends it: wandb sync {client.kept}"
