"""The trackers of a run: its log, those of the configuration, and those of the caller."""

from collections.abc import Callable

from ganloom.config import Config
from ganloom.core.markdown import code_block, plain
from ganloom.core.terminal import log
from ganloom.core.words import printable
from ganloom.runs import RunFolder
from ganloom.tracking import Tracker, Trackers
from ganloom.tracking.jsonl import Jsonl

__all__ = ["CallersTrackers", "make_trackers"]


class CallersTrackers(Trackers):
    """Those of the caller. A rollback closes all others and makes them again; nobody here can make these again."""

    def close(self) -> None:
        """Nothing: the training may continue after a rollback."""

    def end(self) -> None:
        """Close them: the training has ended."""
        super().close()


def make_trackers(folder: RunFolder, config: Config, nimg: int) -> list[Tracker]:
    """The log, and what the configuration asks for. All of them drop what came after `nimg` images."""
    trackers: list[Tracker] = [Jsonl(folder.log, nimg)]
    if config.trackers.tensorboard:
        from ganloom.tracking.tensorboard import TensorBoard  # its import takes a second

        facts = folder.facts
        about = f"**{plain(folder.path.name)}**: {plain(facts.dataset)}, recipe {plain(facts.recipe)}"
        about += f"\n\n{code_block(config.yaml())}"
        trackers += _started(lambda: TensorBoard(folder.events, nimg, about), "TensorBoard")
        log.info(f"curves    tensorboard --logdir {folder.path.parent}")  # of the folder of runs: it shows their names
    if (settings := config.trackers.wandb).mode != "off":
        from ganloom.tracking.wandb import WeightsAndBiases

        trackers.append(
            WeightsAndBiases(
                folder.path,
                mode=settings.mode,
                project=settings.project,
                id=folder.facts.id,
                name=printable(folder.path.name),
                config=config.model_dump(mode="json"),
            )
        )
    return trackers


def _started(make: Callable[[], Tracker], name: str) -> list[Tracker]:
    """A tracker, or none and a warning, such as for a file in its way: the training matters more."""
    try:
        return [make()]
    except Exception as error:
        log.warning(f"{name} could not start ({error}); training continues without it.")
        return []
