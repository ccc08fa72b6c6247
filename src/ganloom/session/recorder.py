"""What a training leaves behind: log rows, samples, checkpoints, the model, its status."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ganloom.config import Config
from ganloom.core.files import storage_errors, sync
from ganloom.core.phases import phase
from ganloom.core.pictures import class_columns, grid, save_png
from ganloom.core.words import counted
from ganloom.guard.guard import Guard, Verdict
from ganloom.models import modelfile
from ganloom.models.generate import generate
from ganloom.runs import RunFolder
from ganloom.session import changes
from ganloom.session.changes import OUT_OF_MEMORY
from ganloom.session.events import Notifier
from ganloom.session.progress import Progress
from ganloom.session.scoring import Scorer
from ganloom.tracking import Event, Trackers
from ganloom.tracking.console import Console
from ganloom.tracking.jsonl import read_log
from ganloom.training import checkpoint
from ganloom.training.step import AdversarialStep, Stats

__all__ = ["Recorder"]

NO_GUIDE = "scores that are no guide"  # the name of an event


@dataclass(frozen=True)
class Recorder:
    """Writes into the run folder, calls trackers and callback. Of several processes only the first has one."""

    folder: RunFolder
    config: Config
    header: modelfile.Header
    trackers: Trackers
    console: Console | None = None
    scorer: Scorer | None = None
    guard: Guard | None = None
    notify: Notifier = field(default_factory=Notifier)
    progress: Progress | None = None
    checkpoint_every: int = 0  # images between two checkpoints

    def advanced(self, step: AdversarialStep, seconds: float, images_per_second: float) -> None:
        """A step has been made."""
        if self.console is not None:
            self.console.advance(step.nimg, seconds, images_per_second)
        self.notify("step", step.nimg, {"seconds": seconds, "images_per_second": images_per_second})

    def log(self, step: AdversarialStep, stats: Stats, seconds: float, images_per_second: float) -> None:
        """A row of the log. All but its last two columns are the same in every repetition of the run."""
        row = {
            "epoch": round(step.nimg / step.stream.dataset.count(), 4),
            **{name: float(value) for name, value in stats.items()},
            "lr_g": step.g.optimizer.param_groups[0]["lr"],  # as the update had it: plateau may have moved on since
            "lr_d": step.d.optimizer.param_groups[0]["lr"],
            "seconds": round(seconds, 3),
            "images_per_second": round(images_per_second, 2),
        }
        self.trackers.scalars(step.nimg, row)
        if self.progress is not None:
            self.progress.update(step.nimg, seconds, images_per_second)
        self.notify("log", step.nimg, row)

    def save(self, step: AdversarialStep, seconds: float) -> None:
        """The checkpoint, then the model it makes."""
        if self.guard is None:
            step.health.well_at.fill_(step.nimg)  # nobody looks, so every checkpoint counts as healthy
        sync(self.folder.log)  # a checkpoint must not be ahead of the rows that led to it, even after a power cut
        self.refresh(step)  # first: what a checkpoint holds must not depend on when samples were last made
        with phase("saving"):
            checkpoint.save(
                self.folder.checkpoints,
                step,
                seconds=seconds,
                keep=self.config.checkpoint.keep,
                every=self.checkpoint_every,
            )
            self._write_model(self.folder.model, step)
        if self.progress is not None:
            self.progress.update(step.nimg, seconds)
        self.notify("saved", step.nimg, path=self.folder.model)

    def report_changes(self, nimg: int) -> float:
        """Log each change of settings after `nimg` images once; returns the seconds of training spent until then."""
        made = [change for change in self.folder.changes if change.to == nimg and change.reason != OUT_OF_MEMORY]
        logged = sum(row.get("event") == "rollback" and row["nimg"] == nimg for row in read_log(self.folder.log))
        for change in made[logged:]:
            known = {name: value for name, value in change.evidence.items() if value is not None}
            back = f"Rolled back from {change.nimg:,} to {counted(nimg, 'image')}"
            text = f"{change.verdict} {back}; now with {change.text}."
            self._alert(nimg, Event("rollback", text, {**known, "from": change.nimg}))
        return max((change.seconds for change in made), default=0.0)

    def report_edits(self, nimg: int, lines: Sequence[str]) -> None:
        """Log, once, what the user has changed since the checkpoint at `nimg` images."""
        known = {row.get("text") for row in read_log(self.folder.log) if row["nimg"] == nimg}
        for text in lines:
            if text not in known:
                self._alert(nimg, Event("settings", text, {}))

    def halved(self, step: AdversarialStep, seconds: float) -> None:
        """Micro-batches have just become smaller."""
        self.save(step, seconds)  # first: what came before had larger ones
        text = changes.halve(self.folder, step, seconds)
        self._alert(step.nimg, Event(OUT_OF_MEMORY, text, {"micro_batch": step.d.micro_batch}))

    def look(self, step: AdversarialStep, stats: Stats) -> Verdict | None:
        """A row of what the guard sees, and its verdicts; returns the gravest one that asks for an action."""
        assert self.guard is not None, "intervals with a guard have one"
        with phase("checking the training"):
            signals, verdicts = self.guard.look(step, stats)
        self.trackers.scalars(step.nimg, signals.row())
        self.notify("guard", step.nimg, signals.row())
        for verdict in verdicts:
            if self.progress is not None:
                self.progress.verdict(verdict.text)
            self._alert(step.nimg, Event(verdict.suspicion, verdict.text, verdict.evidence))
        return next((verdict for verdict in verdicts if verdict.action != "warn"), None)

    def refresh(self, step: AdversarialStep) -> None:
        """Update the statistics of the EMA generator to its weights, before it is saved, scored or sampled."""
        with phase("re-estimating statistics of the EMA generator"):
            step.ema.refresh(self.config.seed, self.config.net.latent, step.g.micro_batch, step.stream.labels)

    @property
    def evaluated_at(self) -> int:
        """The image count of the last scores in the log."""
        assert self.scorer is not None, "intervals that evaluate have a scorer"
        return self.scorer.evaluated_at(self.folder)

    def measure(self, step: AdversarialStep) -> dict[str, float]:
        """Scores of the refreshed EMA generator. Nothing is written yet: it may be interrupted."""
        assert self.scorer is not None, "intervals that evaluate have a scorer"
        return self.scorer.measure(step.ema.G, step.stream.labels(0, self.config.evaluate.n))

    def judge(self, step: AdversarialStep, scores: dict[str, float], seconds: float) -> tuple[bool, float]:
        """Log the scores; keep the model and its checkpoint if they are the best so far.

        Returns whether early stopping wants to end the training, and the cost that schedules observe.
        """
        assert self.scorer is not None, "intervals that evaluate have a scorer"
        self.trackers.scalars(step.nimg, scores)
        self.notify("scores", step.nimg, scores)
        self._explain(step.nimg, scores)
        cost = self.scorer.cost(scores)
        if self.scorer.is_best(scores, self.folder.best):
            with phase("saving the best model"):
                with storage_errors(self.folder.best):
                    self.folder.best_checkpoint.mkdir(parents=True, exist_ok=True)
                checkpoint.save(self.folder.best_checkpoint, step, seconds=seconds, keep=2)
                checkpoint.leave_only(self.folder.best_checkpoint, step.nimg)
                self._write_model(self.folder.best, step, best=scores)
            return False, cost
        waited, patience = self.scorer.since_best(self.folder), self.config.evaluate.patience
        if patience is None or waited < patience:
            return False, cost
        text = f"{self.config.evaluate.best} has not improved for {counted(waited, 'evaluation')}: stopped."
        self._alert(step.nimg, Event("early stopping", text, {"evaluations": waited}))
        return True, cost

    def _explain(self, nimg: int, scores: dict[str, float]) -> None:
        """Say once in a run why some scores stay near 0, if it is not the generator's fault."""
        assert self.scorer is not None, "intervals that evaluate have a scorer"
        text = self.scorer.no_guide(scores)
        if text and not any(row.get("event") == NO_GUIDE for row in read_log(self.folder.log)):
            self._alert(nimg, Event(NO_GUIDE, text, {}))

    def samples(self, step: AdversarialStep) -> None:
        """A grid of the same latents every time; one column per class where there are not too many."""
        self.refresh(step)
        count, classes = self.config.sample.count, len(self.header.class_names)
        y = self._sample_labels(step, count)
        with phase("drawing samples") as progress:
            made: list[Tensor] = []
            for batch in generate(step.ema.G, self.config.net.latent, count, self.config.seed, y):
                made.append(batch)
                progress(sum(map(len, made)), count)
            picture = grid(torch.cat(made), columns=None if y is None else class_columns(classes))
            save_png(self.folder.sample(step.nimg), picture)
        self.trackers.images(step.nimg, "samples", picture)
        self.notify("samples", step.nimg, path=self.folder.sample(step.nimg))

    def reals(self, step: AdversarialStep) -> None:
        """The first images of the training, once."""
        path = self.folder.samples / "reals.png"
        if not path.exists():
            with phase("drawing real images"):
                picture = grid(step.stream.images(0, self.config.sample.count))
                save_png(path, picture)
            self.trackers.images(step.nimg, "reals", picture)

    def _alert(self, nimg: int, event: Event) -> None:
        self.trackers.event(nimg, event)
        self.notify("alert", nimg, event.evidence, text=event.text)

    def _write_model(self, path: Path, step: AdversarialStep, **more: object) -> None:
        training = {**self.header.training, "nimg": step.nimg, **more}
        modelfile.write(path, step.ema.G, self.header.model_copy(update={"training": training}))

    def _sample_labels(self, step: AdversarialStep, count: int) -> Tensor | None:
        """Each class in turn; where classes overlap, the labels of the first training images."""
        labels = step.stream.labels(0, count)
        if labels is None or labels.is_floating_point():
            return labels
        return torch.arange(count) % len(self.header.class_names)
