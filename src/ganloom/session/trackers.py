"""The trackers of a run: its log, and what the configuration and the caller ask for besides."""

from collections.abc import Callable, Sequence

from ganloom.config import Config
from ganloom.core.terminal import log
from ganloom.runs import RunFolder
from ganloom.tracking import Tracker
from ganloom.tracking.jsonl import Jsonl

__all__ = ["make_trackers"]


def make_trackers(folder: RunFolder, config: Config, nimg: int, more: Sequence[Tracker] = ()) -> list[Tracker]:
    """All of them drop what came after `nimg` images, but for those of the caller's, `more`, which know best."""
    trackers: list[Tracker] = [Jsonl(folder.log, nimg)]
    if config.trackers.tensorboard:
        from ganloom.tracking.tensorboard import TensorBoard  # its import takes a second

        trackers += _started(lambda: TensorBoard(folder.events, nimg), "TensorBoard")
    if (settings := config.trackers.wandb).mode != "off":
        from ganloom.tracking.wandb import WeightsAndBiases

        trackers.append(
            WeightsAndBiases(
                folder.path,
                mode=settings.mode,
                project=settings.project,
                id=folder.facts.id,
                name=folder.path.name,
                config=config.model_dump(mode="json"),
            )
        )
    return [*trackers, *more]


def _started(make: Callable[[], Tracker], name: str) -> list[Tracker]:
    """A tracker, or none and a warning, such as for a file in its way: the training matters more."""
    try:
        return [make()]
    except Exception as error:
        log.warning(f"{name} could not start ({error}); training continues without it.")
        return []
