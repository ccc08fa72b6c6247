"""A training from its start, or from its newest checkpoint, to its end."""

import contextlib
import datetime
import uuid
from dataclasses import astuple, dataclass
from pathlib import Path

import torch

from ganloom.config import Config
from ganloom.core.code import read
from ganloom.core.device import cpu_instructions, device_name
from ganloom.core.distributed import leave_note, read_note
from ganloom.core.errors import ConfigError, Interrupted, RunError
from ganloom.core.memory import is_out_of_memory, memory_errors
from ganloom.core.phases import phase
from ganloom.core.terminal import log
from ganloom.core.version import __version__
from ganloom.core.words import counted
from ganloom.data.dataset import Dataset
from ganloom.guard.guard import Guard
from ganloom.models import modelfile
from ganloom.runs import Facts, RunFolder, checkpoints, create_folder
from ganloom.runs.status import State
from ganloom.session import messages
from ganloom.session.agreement import refuse_disagreement
from ganloom.session.changes import begins_healthy, caught_up, complete_rollback, roll_back
from ganloom.session.context import Context, connected
from ganloom.session.events import Notifier
from ganloom.session.intervals import Intervals
from ganloom.session.loop import End, train_until_end
from ganloom.session.preflight import preflight
from ganloom.session.progress import Progress
from ganloom.session.recorder import Recorder
from ganloom.session.resumable import (
    before_manifests,
    check_images,
    edits_in_words,
    from_model,
    networks_changed,
)
from ganloom.session.scoring import Scorer
from ganloom.session.trackers import CallersTrackers, make_trackers
from ganloom.session.watching import make_guard, make_scorer
from ganloom.tracking import Tracker, Trackers
from ganloom.tracking.console import Console
from ganloom.training import checkpoint
from ganloom.training.assembly import assemble, resolve
from ganloom.training.finetune import Pretrained, load_pretrained, open_pretrained
from ganloom.training.step import AdversarialStep

__all__ = ["Listeners", "Session", "begin", "begun_before", "resume"]


@dataclass(frozen=True)
class Listeners:
    """What the caller wants to know while it trains: trackers of their own, and a callback."""

    trackers: tuple[Tracker, ...] = ()
    notify: Notifier | None = None


def begin(
    config: Config, dataset: Dataset, out: Path, recipe: str, device: torch.device, listeners: Listeners
) -> RunFolder:
    """Start a run in the new folder `out` and train it. Raises `GanloomError` before anything is written."""
    with connected(device, dataset) as context:
        refuse_disagreement(config, context)
        out = Path(context.world.text_of_first(str(out), device))
        with messages.reported_if_interrupted(RunFolder(out)):
            messages.announce(resolve(config, dataset.shape, context.world.size), recipe, out, context)
            config, speed = preflight(config, context, pretrained=find_pretrained(config))
        code = {path: read(path) for path in config.own_files}
        facts = Facts(
            id=uuid.uuid4().hex[:12],
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            dataset=dataset.name,
            content_hash=dataset.content_hash,
            images=dataset.count(),
            shape=astuple(dataset.shape),
            class_names=dataset.class_names,
            recipe=recipe,
            ganloom=__version__,
            torch=torch.__version__,
            device=device_name(device),
            threads=torch.get_num_threads(),
            instructions=cpu_instructions(),
            images_per_minute=speed,
            code={path: text.sha256 for path, text in code.items()},
            config=config.model_dump(mode="json"),
        )
        messages.report_intervals(config)
        if context.world.is_first:
            leave_note("run", f"{facts.id} {out}")
            create_folder(out, config, facts, code)
        folder = RunFolder(out)
        context.world.barrier()
        with folder.alone() if context.world.is_first else contextlib.nullcontext():
            Session(folder, config, facts, context, listeners).train()
    return folder


def begun_before() -> Path | None:
    """The run that these processes have begun, if torchrun has restarted them since."""
    begun, _, out = (read_note("run") or "").partition(" ")
    return Path(out) if begun and (Path(out) / "run.json").exists() and RunFolder(Path(out)).facts.id == begun else None


def resume(
    folder: RunFolder, config: Config, dataset: Dataset, device: torch.device, listeners: Listeners
) -> RunFolder:
    """Continue a run from its newest whole checkpoint, or from the start if it has none.

    `config` is the run's own, with another length or another location of the same images.
    """
    if why := read_note("stopped"):  # by the guard: torchrun restarts whatever has ended with an error
        raise RunError(why)
    facts, before = folder.facts, folder.status
    check_images(folder, config, facts, dataset)
    with connected(device, dataset) as context, folder.alone() if context.world.is_first else contextlib.nullcontext():
        refuse_disagreement(config, context)
        with messages.reported_if_interrupted(folder):
            config = resolve(caught_up(folder, config), dataset.shape, context.world.size)
            messages.announce(config, facts.recipe, folder.path, context)
            config, speed = preflight(config, context, speed=facts.images_per_minute)
        facts = facts.model_copy(update={"images_per_minute": speed})
        if context.world.is_first and before.state == "running":  # on another machine
            log.warning(
                f"status.json says that {before.host} was training this run at {before.updated}: stop it there."
            )
        if context.world.is_first:
            folder.clean()
            folder.save_facts(facts)
            complete_rollback(folder)
        context.world.barrier()  # none may load what the first process removes
        messages.report_intervals(config)
        messages.report_inexact(facts, device)
        Session(folder, config, facts, context, listeners).train()
    return folder


def find_pretrained(config: Config) -> Pretrained | None:
    """What a fine-tuning starts from, if this is one. Raises `GanloomError`."""
    return None if config.start is None else open_pretrained(Path(config.start.model))


class Session:
    """Trains a run in this process: owns its folder, configuration, intervals, scorer, guard and recorder."""

    def __init__(self, folder: RunFolder, config: Config, facts: Facts, context: Context, listeners: Listeners) -> None:
        self.folder, self.config, self.facts, self.context = folder, config, facts, context
        self.intervals = Intervals.of(config, facts)
        first = context.world.is_first
        self.progress = Progress(folder, self.intervals) if first else None
        self.trackers = CallersTrackers(listeners.trackers if first else ())
        self.notify = listeners.notify or Notifier()
        self.begun = False  # whether the checkpoint was loaded; what is refused before leaves the run as it was
        self.scorer: Scorer | None = None
        self.guard: Guard | None = None

    def train(self) -> None:
        """Train from the newest checkpoint to the end, and report it.

        Raises `Interrupted` after a signal, and `RunError` where the guard has stopped the training; both have saved.
        """
        try:
            with contextlib.ExitStack() as at_the_end:
                at_the_end.callback(self.trackers.end)
                self._prepare()
                step, end = self._train_with_rollbacks()
            nimg = self.folder.changes[-1].to if end.action == "rollback" else step.nimg
            messages.report_files(self.folder, self.config.evaluate.best)
        except KeyboardInterrupt:  # a second Ctrl-C, or one before the first step
            self._ended("stopped", "SIGINT, without saving")
            messages.report_interrupt(self.folder)
            raise
        except BaseException as error:
            refused = isinstance(error, RunError | ConfigError) and not self.begun
            if refused and (self.progress is None or self.progress.undo()):
                raise
            self._ended("crashed", f"{type(error).__name__}: {error}".strip(": "))
            raise
        if end.stopped_by:
            self._ended("stopped", end.stopped_by.name, nimg)
            log.info(f"stopped at {counted(nimg, 'image')}; continue with: ganloom resume {self.folder.path}")
            raise Interrupted(end.stopped_by)
        if end.verdict:
            why = messages.why_stopped(self.folder, step, end.verdict, guarded=bool(self.intervals.guard))
            self._ended("stopped", why, nimg)
            leave_note("stopped", why)
            raise RunError(why)
        if end.asked is not None:
            self._ended("stopped", end.asked, nimg)
            log.info(
                f"stopped at {counted(nimg, 'image')} ({end.asked}); continue with: ganloom resume {self.folder.path}"
            )
            return
        self._ended("finished", "early stopping" if end.action == "stop" else None, nimg)

    def _prepare(self) -> None:
        """Say that it runs, then compute the features of real images for scorer and guard, which may take minutes."""
        if self.progress is None:
            return
        self.progress.update(checkpoints.reached(self.folder.checkpoints), self.folder.saved_seconds() or 0.0)
        made = self.config, self.context.dataset, self.context.device
        with memory_errors("computing features of the real images", "Use fewer of them (guard.n, evaluate.n)."):
            self.scorer = make_scorer(*made) if self.intervals.evaluate else None
            self.guard = make_guard(*made) if self.intervals.guard else None

    def _train_with_rollbacks(self) -> tuple[AdversarialStep, End]:
        """Train until it ends otherwise than by a rollback, or no further rollback is possible."""
        world, device = self.context.world, self.context.device
        while True:
            step, end = self._train_once()
            if end.action != "rollback":
                return step, end
            every, verdict = self.intervals.checkpoint, end.verdict
            why_not = roll_back(self.folder, verdict, step, end.seconds, every) if verdict else None
            if world.any(why_not is not None, device):
                if why_not is not None:  # known to the first process
                    log.info(f"guard     no rollback: {why_not}")
                return step, end._replace(action="stop")
            world.barrier()
            self.config = self.folder.config
            if end.stopped_by:
                return step, end
            del step  # two of them may not fit into memory

    def _train_once(self) -> tuple[AdversarialStep, End]:
        """From the newest checkpoint until it ends, or must be rolled back."""
        config, folder, context = self.config, self.folder, self.context
        with phase("building the networks"):
            step = assemble(config, context.dataset, context.device, context.world, self.intervals.total)
        header = self._header()  # of the network's code as it was when the run started, although it is loaded by now
        with phase("loading the checkpoint"):
            loaded = self._load_newest(step)
        self.begun = True
        manifest = loaded.manifest
        begins_healthy(folder, step)
        for damage in loaded.skipped:
            log.warning(f"damaged checkpoint skipped: {damage}")
        edits = list(edits_in_words(folder, config, loaded.edits, step.nimg))
        if loaded.afresh:
            edits.append(f"with these settings, {' and '.join(loaded.afresh)} start afresh")
        if context.world.is_first:
            folder.save_config(config)  # only now: one that the checkpoint refuses must not replace the run's
        fine_tunes = manifest is None and self._load_pretrained(step)
        messages.report_start(step, self.intervals, folder)
        if context.world.is_first:
            folder.forget_samples(after=step.nimg)

        console = Console(self.intervals.total, self.intervals.seconds, folder.sample)
        recorder, spent = None, manifest.seconds if manifest else 0.0
        try:
            if context.world.is_first:
                with phase("starting the trackers"):
                    trackers = Trackers([*make_trackers(folder, config, step.nimg), self.trackers, console])
                recorder = Recorder(
                    folder=folder,
                    config=config,
                    header=header,
                    trackers=trackers,
                    console=console,
                    scorer=self.scorer,
                    guard=self.guard,
                    notify=self.notify,
                    progress=self.progress,
                    checkpoint_every=self.intervals.checkpoint,
                )
                recorder.reals(step)
                recorder.report_edits(step.nimg, edits)
                spent = max(spent, recorder.report_changes(step.nimg))
                if fine_tunes:
                    recorder.save(step, spent)  # the pretrained model may not stay where it is
                if self.progress:
                    self.progress.update(step.nimg, spent)
            return step, train_until_end(step, self.intervals, recorder, spent)
        except (RuntimeError, MemoryError) as error:  # torch raises the one; numpy, in scores, the other
            if not is_out_of_memory(error):
                raise
            raise messages.out_of_memory(error, step) from error
        finally:
            with phase("closing the trackers"):
                try:
                    if recorder is not None:
                        recorder.trackers.close()
                finally:
                    console.close()

    def _load_newest(self, step: AdversarialStep) -> checkpoint.Loaded:
        """What `checkpoint.load_newest` returns. Raises `RunError` with the remedy."""
        try:
            before = before_manifests(self.folder, self.facts)
            return checkpoint.load_newest(self.folder.checkpoints, step, before)
        except checkpoint.MismatchError as error:
            raise RunError(f"{error}: {networks_changed(error.edits)}") from None
        except checkpoint.DamagedError as error:
            raise RunError(f"{error}. Restore one, or {from_model(self.folder, self.config)}") from None

    def _load_pretrained(self, step: AdversarialStep) -> bool:
        """Load the weights that a fine-tuning starts from; returns whether this is one."""
        pretrained = find_pretrained(self.config)
        if pretrained is None:
            return False
        for line in load_pretrained(pretrained, step):
            log.info(line)
        return True

    def _header(self) -> modelfile.Header:
        """What the model file says of itself."""
        config, facts = self.config, self.facts
        code = self.folder.custom_code(config, facts).get(config.net.name)
        return modelfile.Header(
            net=code.name if code else config.net.name,
            latent=config.net.latent,
            options=config.net.g,
            shape=facts.shape,
            labels=config.data.labels,
            class_names=facts.class_names,
            training={
                "dataset": facts.dataset,
                "content_hash": facts.content_hash,
                "recipe": facts.recipe,
                "ganloom": facts.ganloom,
            },
            code=code,
        )

    def _ended(self, state: State, reason: str | None, nimg: int | None = None) -> None:
        """Write how it ended. Where even that cannot be written, the error that ended it matters more."""
        if self.progress is None:
            return
        failed = nimg is None
        with contextlib.suppress(Exception) if failed else contextlib.nullcontext():
            self.progress.end(state, reason, nimg)
