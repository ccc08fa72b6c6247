"""When a run ends and what happens on the way, in images."""

from dataclasses import dataclass

from ganloom.config import Config
from ganloom.core.lengths import Length
from ganloom.runs import Facts

__all__ = ["NEVER", "Intervals"]

NEVER = Length(0, "images")


@dataclass(frozen=True)
class Intervals:
    """Images between two log rows, samples, evaluations, checkpoints and looks of the guard; 0 means never."""

    total: int  # images of the whole run; an estimate where it has `seconds`, which only schedules follow
    seconds: float | None  # of a length in time
    log: int
    sample: int
    evaluate: int
    checkpoint: int
    guard: int

    @classmethod
    def of(cls, config: Config, facts: Facts) -> "Intervals":
        """The intervals of a resolved configuration, whose lengths in epochs depend on the images of the run."""

        def images(length: Length | None) -> int:
            return (length or NEVER).images(epoch=facts.images, step=config.images_per_step)

        length, seconds = config.train.length, None
        if length.is_time:
            assert facts.images_per_minute is not None, "it was measured before"
            total, seconds = round(length.minutes * facts.images_per_minute), length.minutes * 60
        else:
            total = images(length)
        return cls(
            total=max(1, total),
            seconds=seconds,
            log=images(config.log.every),
            sample=images(config.sample.every),
            evaluate=images(config.evaluate.every),
            checkpoint=images(config.checkpoint.every),
            guard=images(config.guard.every),
        )
