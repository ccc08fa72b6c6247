"""Weights & Biases (optional package `wandb`): losses, images and the configuration, online or offline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ganloom.core.markdown import plain
from ganloom.core.terminal import log
from ganloom.tracking import Event
from ganloom.tracking.background import BackgroundTracker
from ganloom.tracking.groups import grouped, picture_name

__all__ = ["WeightsAndBiases"]

# Timeouts of W&B, which its hook at the exit of the process respects too. Its defaults are 90 s and no limit.
INIT_SECONDS = 30.0
FINISH_SECONDS = 30.0


class WeightsAndBiases(BackgroundTracker["_Client"]):
    """W&B in its own thread, because its server may be unreachable or never answer."""

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
            made=lambda client: log.info(f"wandb     {client.url or _offline(client)}"),
            remedy=_remedy,
        )


class _Client:
    """One W&B run per ganloom run. It has the same id, so that a resumed training continues the same W&B run."""

    def __init__(self, folder: Path, given: Mapping[str, Any]) -> None:
        """`given` holds keyword arguments of `wandb.init`."""
        import wandb  # optional: planning has checked that it is installed

        self._wandb = wandb
        wandb.setup(wandb.Settings(silent=True))  # or it asks for a key on the terminal and waits
        self._run = wandb.init(
            dir=str(folder),
            **given,
            resume="allow",
            settings=wandb.Settings(
                silent=True,  # the console tracker owns the terminal
                console="off",
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
                finish_timeout_raises=True,
            ),
        )
        self.url: str | None = self._run.url
        self.folder = folder / "wandb"
        self.kept = f"{folder}/wandb/*run-*-{given['id']}"  # one folder per start or resume
        # The x axis is the image count: W&B's own step must never decrease, but resuming goes back to a checkpoint.
        self._run.define_metric("*", step_metric="nimg")

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        self._run.log({"nimg": nimg, **{grouped(name): value for name, value in values.items()}})

    def event(self, nimg: int, event: Event) -> None:
        self._run.log({"nimg": nimg, **{f"{event.name}/{name}": value for name, value in event.evidence.items()}})
        self._run.alert(title=event.name, text=plain(event.text))

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self._run.log({"nimg": nimg, picture_name(name): self._wandb.Image(picture.permute(1, 2, 0).numpy())})

    def close(self) -> None:
        self._run.finish()


def _offline(client: _Client) -> str:
    return f"offline, in {client.folder}; to upload it: wandb sync {client.kept}"


def _remedy(client: _Client | None) -> str:
    if client is None:
        return "set trackers.wandb.mode=offline, which needs no server; 'wandb sync' uploads the files later"
    return f"to upload what was recorded so far: wandb sync {client.kept}"
