"""What a training leaves behind: log rows, pictures, checkpoints, the model."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganloom.config import Config
from ganloom.core.files import storage_errors
from ganloom.core.pictures import class_columns, grid, save_png
from ganloom.guard.guard import Guard, Verdict
from ganloom.models import modelfile
from ganloom.models.generate import generate
from ganloom.runs import Run
from ganloom.session import changes
from ganloom.session.changes import OUT_OF_MEMORY
from ganloom.session.scoring import Scorer
from ganloom.tracking import Event, Trackers
from ganloom.tracking.jsonl import read_log
from ganloom.training import checkpoint
from ganloom.training.step import AdversarialStep, Stats

__all__ = ["Recorder"]


@dataclass(frozen=True)
class Recorder:
    """Writes into the run folder and tells the trackers. Of several processes only the first has one."""

    run: Run
    config: Config
    header: modelfile.Header
    trackers: Trackers
    scorer: Scorer | None = None
    guard: Guard | None = None
    every: int = 0  # images between two checkpoints

    def log(self, step: AdversarialStep, stats: Stats, seconds: float, images_per_second: float) -> None:
        """A row of the log. All but its last two columns are the same in every repetition."""
        row = {
            "epoch": round(step.nimg / step.stream.dataset.count(), 4),
            **{name: float(value) for name, value in stats.items()},
            "lr_g": step.g.optimizer.param_groups[0]["lr"],  # as the update had it: plateau may have moved on since
            "lr_d": step.d.optimizer.param_groups[0]["lr"],
            "seconds": round(seconds, 3),
            "images_per_second": round(images_per_second, 2),
        }
        self.trackers.scalars(step.nimg, row)

    def save(self, step: AdversarialStep, seconds: float) -> None:
        """The checkpoint, then the model it makes."""
        if self.guard is None:
            step.health.well_at.fill_(step.nimg)  # nobody looks: what is saved is as well as anything before it
        self.refresh(step)  # first: what a checkpoint holds must not depend on when pictures were last made
        checkpoint.save(self.run.checkpoints, step, seconds=seconds, keep=self.config.checkpoint.keep, every=self.every)
        self._write_model(self.run.model, step)

    def tell_changes(self, nimg: int) -> float:
        """Of settings that were changed for what follows `nimg` images, once; returns the seconds spent until then."""
        made = [change for change in self.run.changes if change.to == nimg and change.reason != OUT_OF_MEMORY]
        told = sum(row.get("event") == "rollback" and row["nimg"] == nimg for row in read_log(self.run.log))
        for change in made[told:]:
            known = {name: value for name, value in change.evidence.items() if value is not None}
            text = f"{change.verdict} Gone back from {change.nimg:,} to {nimg:,} images, and on with {change.text}."
            self.trackers.event(nimg, Event("rollback", text, {**known, "from": change.nimg}))
        return max((change.seconds for change in made), default=0.0)

    def halved(self, step: AdversarialStep, seconds: float) -> None:
        """Micro-batches have just become smaller."""
        self.save(step, seconds)  # first: what came before had larger ones
        text = changes.halve(self.run, step, seconds)
        self.trackers.event(step.nimg, Event(OUT_OF_MEMORY, text, {"micro_batch": step.d.micro_batch}))

    def look(self, step: AdversarialStep, stats: Stats) -> Verdict | None:
        """A row of what the guard sees, and its verdicts; returns the gravest that is to be acted upon."""
        assert self.guard is not None, "a plan with a guard has one"
        signals, verdicts = self.guard.look(step, stats)
        self.trackers.scalars(step.nimg, signals.row())
        for verdict in verdicts:
            self.trackers.event(step.nimg, Event(verdict.suspicion, verdict.text, verdict.evidence))
        return next((verdict for verdict in verdicts if verdict.action != "warn"), None)

    def refresh(self, step: AdversarialStep) -> None:
        """Bring the statistics of the averaged G up to its weights, before it is saved, scored or drawn."""
        step.ema.refresh(self.config.seed, self.config.net.latent, step.g.micro_batch, step.stream.labels)

    @property
    def evaluated_at(self) -> int:
        """The images of the last scores in the log."""
        assert self.scorer is not None, "a plan that evaluates has a scorer"
        return self.scorer.evaluated_at(self.run)

    def measure(self, step: AdversarialStep) -> dict[str, float]:
        """Scores of the average as it was refreshed. To leave it in its midst leaves no trace."""
        assert self.scorer is not None, "a plan that evaluates has a scorer"
        return self.scorer.measure(step.ema.G, step.stream.labels(0, self.config.evaluate.n))

    def judge(self, step: AdversarialStep, scores: dict[str, float], seconds: float) -> tuple[bool, float]:
        """A row of scores; the model, and all of its training, are kept when they are the best so far.

        Says whether they have been no better for as many evaluations as the configuration has patience, and what a
        schedule is to hear of them.
        """
        assert self.scorer is not None, "a plan that evaluates has a scorer"
        self.trackers.scalars(step.nimg, scores)
        cost = self.scorer.cost(scores)
        if self.scorer.is_best(scores, self.run.best):
            with storage_errors(self.run.best):
                self.run.best_checkpoint.mkdir(parents=True, exist_ok=True)
            checkpoint.save(self.run.best_checkpoint, step, seconds=seconds, keep=2)
            checkpoint.leave_only(self.run.best_checkpoint, step.nimg)
            self._write_model(self.run.best, step, best=scores)
            return False, cost
        waited, patience = self.scorer.since_best(self.run), self.config.evaluate.patience
        if patience is None or waited < patience:
            return False, cost
        text = f"{self.config.evaluate.best} has not been better in {waited} evaluations: stopped."
        self.trackers.event(step.nimg, Event("early stopping", text, {"evaluations": waited}))
        return True, cost

    def samples(self, step: AdversarialStep) -> None:
        """A grid of the same latents every time; one class a column where there are not too many."""
        self.refresh(step)
        count, classes = self.config.sample.count, len(self.header.class_names)
        y = self._sample_labels(step, count)
        pictures = torch.cat(list(generate(step.ema.G, self.config.net.latent, count, self.config.seed, y)))
        picture = grid(pictures, columns=None if y is None else class_columns(classes))
        save_png(self.run.sample(step.nimg), picture)
        self.trackers.images(step.nimg, "samples", picture)

    def reals(self, step: AdversarialStep) -> None:
        """The first images of the training, once."""
        path = self.run.samples / "reals.png"
        if not path.exists():
            save_png(path, grid(step.stream.images(0, self.config.sample.count)))

    def _write_model(self, path: Path, step: AdversarialStep, **more: object) -> None:
        training = {**self.header.training, "nimg": step.nimg, **more}
        modelfile.write(path, step.ema.G, self.header.model_copy(update={"training": training}))

    def _sample_labels(self, step: AdversarialStep, count: int) -> Tensor | None:
        """Each class in turn; where an image has several, the labels of the first training images."""
        labels = step.stream.labels(0, count)
        if labels is None or labels.is_floating_point():
            return labels
        return torch.arange(count) % len(self.header.class_names)
