"""Starting a run and going on with one: everything a training needs, put together."""

import contextlib
import datetime
import uuid
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path

import torch

from ganloom import __version__
from ganloom.config import Config
from ganloom.core.code import Code, read
from ganloom.core.device import device_name
from ganloom.core.distributed import World, connect, leave_note, read_note, reports_failure
from ganloom.core.errors import GanloomError, Interrupted, ModelError, RunError
from ganloom.core.lengths import Length
from ganloom.core.memory import is_out_of_memory
from ganloom.core.runtime import flushed_denormals
from ganloom.core.terminal import log
from ganloom.data.dataset import Dataset
from ganloom.guard.guard import Guard
from ganloom.metrics.scores import metric_of
from ganloom.models import modelfile
from ganloom.runs import Facts, Run, create_run
from ganloom.session import preflight as trial
from ganloom.session.changes import begins_healthy, caught_up, roll_back
from ganloom.session.loop import End, Plan, loop
from ganloom.session.memory import fitted
from ganloom.session.recorder import Recorder
from ganloom.session.scoring import NEVER, Scorer
from ganloom.session.timing import make_guard, make_scorer, timed
from ganloom.tracking import Tracker, Trackers
from ganloom.tracking.console import Console
from ganloom.tracking.jsonl import Jsonl
from ganloom.training import checkpoint
from ganloom.training.assembly import assemble, resolve
from ganloom.training.finetune import begin_with, open_trained
from ganloom.training.step import AdversarialStep

__all__ = ["begin", "connected", "go_on"]


def begin(config: Config, dataset: Dataset, out: Path, recipe: str, device: torch.device) -> Run:
    """Start a run in the new folder `out` and train it. Raises `GanloomError` before anything is written."""
    with connected(device) as world:
        config = resolve(config, dataset.shape, world.size)
        try_first(config, dataset, device, world)
        config = fitted(config, dataset, device, world)
        config, speed = timed(config, dataset, device, world, None)
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
            images_per_minute=speed,
            code={path: text.sha256 for path, text in code.items()},
        )
        announce(config, dataset, device, facts, out)
        if world.is_first:
            leave_note("run", facts.id)
            create_run(out, config, facts, code)
        run = Run(out)
        world.barrier()
        with run.alone() if world.is_first else contextlib.nullcontext():
            train(run, config, dataset, facts, device, world)
    return run


def try_first(config: Config, dataset: Dataset, device: torch.device, world: World) -> None:
    """Refuse what cannot be, before there is a folder, with networks that are thrown away. Raises `GanloomError`."""
    few = {f"train.{name}": trial.IMAGES for name in ("batch", "micro_batch", "batch_g", "micro_batch_g")}
    step = assemble(config.with_overrides(few), dataset, device, world, total=1)
    take_over(config, step)
    trial.try_out(step)


def take_over(config: Config, step: AdversarialStep) -> list[str]:
    """The weights that a fine-tuning begins with, if this is one; lines for people."""
    return [] if config.start is None else begin_with(open_trained(Path(config.start.model)), step)


def go_on(run: Run, config: Config, dataset: Dataset, device: torch.device) -> Run:
    """Continue a run where its newest whole checkpoint was made, or from the start if there is none.

    `config` is the run's own, with another length or another place of the same images.
    """
    if why := read_note("stopped"):  # by the guard: torchrun restarts whatever has ended with an error
        raise RunError(why)
    facts = run.facts
    if dataset.content_hash != facts.content_hash:
        raise RunError(
            f"the images of {config.data.source} are not those that {run.path} began with: put them back, "
            f"say where they are with --data, or start a new run."
        )
    with connected(device) as world, run.alone() if world.is_first else contextlib.nullcontext():
        config = resolve(caught_up(run, config), dataset.shape, world.size)
        config = fitted(config, dataset, device, world)
        config, speed = timed(config, dataset, device, world, facts.images_per_minute)
        facts = facts.model_copy(update={"images_per_minute": speed})
        if world.is_first:
            run.clean()
            run.save_config(config)
            run.save_facts(facts)
        announce(config, dataset, device, facts, run.path)
        if (facts.torch, facts.threads) != (torch.__version__, torch.get_num_threads()):
            log.info(
                f"note: the run began with torch {facts.torch} and {facts.threads} threads; with others it goes "
                "on well, but not bit for bit.",
            )
        train(run, config, dataset, facts, device, world)
    return run


@contextlib.contextmanager
def connected(device: torch.device) -> Iterator[World]:
    """The processes of this training, with this one made ready for it."""
    world = connect(device)
    try:
        with flushed_denormals():
            yield world
    except GanloomError:
        reports_failure()  # ask now: the others fail as soon as this process has left them
        raise
    finally:
        world.close()


def make_plan(config: Config, facts: Facts) -> Plan:
    train = config.train

    def images(length: Length) -> int:
        return length.images(epoch=facts.images, step=config.images_per_step)

    every = {"log": images(config.log.every), "sample": images(config.sample.every)}
    every |= {"checkpoint": images(config.checkpoint.every), "evaluate": images(config.evaluate.every or NEVER)}
    every |= {"guard": images(config.guard.every or NEVER)}
    if not train.length.is_time:
        return Plan(total=max(1, images(train.length)), seconds=None, **every)
    assert facts.images_per_minute is not None
    total = max(1, round(train.length.minutes * facts.images_per_minute))
    return Plan(total=total, seconds=train.length.minutes * 60, **every)


def train(
    run: Run,
    config: Config,
    dataset: Dataset,
    facts: Facts,
    device: torch.device,
    world: World,
) -> None:
    """Train from the newest checkpoint on, and say how it ended. Raises `Interrupted` after a signal."""
    plan = make_plan(config, facts)
    scorer = make_scorer(config, dataset, device) if plan.evaluate and world.is_first else None
    guard = make_guard(config, dataset, device) if plan.guard and world.is_first else None
    while True:
        step, end = train_once(run, config, plan, dataset, facts, device, world, scorer, guard)
        if end.action != "rollback":
            break
        why_not = roll_back(run, end.verdict, step, end.seconds, plan.checkpoint) if end.verdict else None
        if world.any(why_not is not None, device):
            log.info(f"guard     not gone back: {why_not}")
            break
        world.barrier()
        config = run.config
        if end.stopped_by:
            break
        del step  # two of them may not fit into memory
    for name, made in (("pictures", run.newest_sample()), ("model", run.model)):
        if made is not None and made.exists():  # a training that was ruined at once has made neither
            log.info(f"{name:<9} {made}")
    with contextlib.suppress(ModelError):  # no best yet, or a damaged one, which the next best replaces
        best = modelfile.read_header(run.best).training
        score = ", ".join(
            f"{name} {value:.4g}" for name, value in best["best"].items() if metric_of(name) == config.evaluate.best
        )
        log.info(f"best      {run.best} ({best['nimg']:,} images; {score})")
    if end.verdict and not end.stopped_by:
        good = run.best if run.best.exists() else checkpoint.healthiest(run.checkpoints, step)
        who = "the guard has stopped" if plan.guard else "there is no guard, and nothing more to learn for"
        why = f"{who} the training at {step.nimg:,} images: {end.verdict.text} "
        why += f"What was good is kept: {good}." if good else "There was nothing good to be kept."
        leave_note("stopped", why)
        raise RunError(why)
    if end.stopped_by:
        reached = run.changes[-1].to if end.action == "rollback" else step.nimg
        log.info(f"stopped at {reached:,} images; go on with: ganloom resume {run.path}")
        raise Interrupted(end.stopped_by)


def train_once(
    run: Run,
    config: Config,
    plan: Plan,
    dataset: Dataset,
    facts: Facts,
    device: torch.device,
    world: World,
    scorer: Scorer | None,
    guard: Guard | None,
) -> tuple[AdversarialStep, End]:
    """From the newest checkpoint on until it ends, or is to go back."""
    step = assemble(config, dataset, device, world, plan.total)
    net = run.own_code(config, facts).get(config.net.name)  # as it was when the run began, also now that it is loaded
    voucher, passed_over = checkpoint.load_newest(run.checkpoints, step)
    begins_healthy(run, step)
    for damage in passed_over:
        log.warning(f"damaged checkpoint passed over: {damage}")
    for line in take_over(config, step) if voucher is None else []:
        log.info(line)
    if step.nimg:
        log.info(f"going on from {step.nimg:,} images")
    if plan.seconds is None and step.nimg >= plan.total:
        log.info(f"this run is complete; to make it longer: ganloom resume {run.path} --length '...'")
    if step.growth is not None:
        log.info(f"growth    whole images from {step.growth.grown_at:,} images on")
        if step.growth.grown_at > plan.total:
            log.warning(
                f"the training ends at {plan.total:,} images, before that: what it makes stays coarse. "
                "Make it longer (--length), or growth.hold and growth.fade shorter.",
            )
    if world.is_first:
        run.forget_samples(after=step.nimg)

    console = Console(plan.total, plan.seconds, run.sample)
    recorder, spent = None, voucher.seconds if voucher else 0.0
    try:
        if world.is_first:
            trackers = Trackers([*make_trackers(run, config, facts, step.nimg), console])
            recorder = Recorder(run, config, make_header(config, facts, net), trackers, scorer, guard, plan.checkpoint)
            recorder.reals(step)
            spent = max(spent, recorder.tell_changes(step.nimg))
            if config.start is not None and voucher is None:
                recorder.save(step, spent)  # what it began with may not lie there for ever
        return step, loop(step, plan, recorder, console.advance, spent)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        elsewhere = "" if device.type == "cpu" else ", or take --device cpu, which is slow"
        raise RunError(
            f"out of memory at {step.nimg:,} images, and smaller micro-batches do not help "
            f"({str(error).splitlines()[0]}). Make room, or take smaller networks (net.g.width, net.d.width), "
            "optimizers that keep less (optimizer.g.name=rmsprop, optimizer.d.name=rmsprop), fewer images to look at "
            f"(guard.n, evaluate.n, sample.count){elsewhere}. What was saved is whole."
        ) from error
    finally:
        (recorder.trackers if recorder else console).close()


def make_header(config: Config, facts: Facts, code: Code | None) -> modelfile.Header:
    """What the model file says of itself; `code` is that of a network of the user's own."""
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


def make_trackers(run: Run, config: Config, facts: Facts, nimg: int) -> list[Tracker]:
    """The log, and what the configuration asks for besides; all forget what came after `nimg`."""
    trackers: list[Tracker] = [Jsonl(run.log, nimg)]
    if config.trackers.tensorboard:
        from ganloom.tracking.tensorboard import TensorBoard  # its import takes a second

        trackers += start(lambda: TensorBoard(run.events, nimg), "TensorBoard")
    if (settings := config.trackers.wandb).mode != "off":
        from ganloom.tracking.wandb import WeightsAndBiases

        trackers.append(
            WeightsAndBiases(
                run.path,
                mode=settings.mode,
                project=settings.project,
                id=facts.id,
                name=run.path.name,
                config=config.model_dump(mode="json"),
            )
        )
    return trackers


def start(make: Callable[[], Tracker], name: str) -> list[Tracker]:
    """A tracker, or none and a warning: a file in the way. The training matters more."""
    try:
        return [make()]
    except Exception as error:
        log.warning(f"{name} could not start ({error}); training continues without it.")
        return []


def announce(
    config: Config,
    dataset: Dataset,
    device: torch.device,
    facts: Facts,
    out: Path,
) -> None:
    """What was chosen, before anything else."""
    plan = make_plan(config, facts)
    classes = f" in {len(dataset.class_names)} classes" if dataset.class_names else ""
    used = "with labels" if config.data.labels else "labels not used" if dataset.class_names else "no labels"
    # Of a growing network the speed is that at full size: small images go faster.
    estimate = "" if plan.seconds is None else "about " if config.growth is None else "at least "
    length = f"{config.train.length}, {estimate}{plan.total:,} images"
    lines = {
        "data": f"{config.data.source}: {dataset.count():,} training images{classes} ({used})",
        "shape": str(dataset.shape),
        "recipe": f"{facts.recipe} ({config.net.name}, {config.loss.name}, batch {config.train.batch})",
        "length": length,
        "device": device_name(device),
        "scores": f"{', '.join(config.evaluate.metrics)} every {config.evaluate.every}" if plan.evaluate else "none",
        "guard": f"looks every {config.guard.every}" if plan.guard else "none",
        "run": str(out),
    }
    for name, text in lines.items():
        log.info(f"{name:<9} {text}")
