"""Train, resume, and show what training would do."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from ganloom.api.images import remarks
from ganloom.api.run import Run
from ganloom.config import Config
from ganloom.core import distributed
from ganloom.core.device import choose_device
from ganloom.core.errors import ConfigError, DataError, RunError
from ganloom.core.flags import TrainFlags, settings_of, with_flags
from ganloom.core.terminal import log, shown
from ganloom.data.from_config import prepare_from_config
from ganloom.data.sources import absolute, find
from ganloom.planning.defaults import Reason
from ganloom.planning.request import check, make_request
from ganloom.runs import RunFolder, open_folder, refuse_existing
from ganloom.session import session
from ganloom.session.events import Callback, Notifier
from ganloom.session.session import Listeners
from ganloom.tracking import Tracker
from ganloom.training import checkpoint

__all__ = ["Plan", "plan", "resume", "train"]


@with_flags
def train(
    data: str | os.PathLike[str] | None = None,
    *,
    recipe: str | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    trackers: Sequence[Tracker] = (),
    callback: Callback | None = None,
    verbose: bool = False,
    **flags: Unpack[TrainFlags],
) -> Run:
    """Train a GAN on images, and return the run.

    Args:
        data: a folder, an archive, array files, a packed dataset, a dataset by name, or `FILE.py:ARGUMENT`, as for
            `ganloom train`. By default the built-in handwritten digits.
        recipe: a name from `ganloom recipes`, or a YAML file. Without one, the settings are derived from images, device
            and length: `ganloom.plan` shows which, and why.
        out: the run folder to create; by default `runs/NAME-OF-DATA`.
        device: auto, cpu, cuda, cuda:N or mps.
        settings: any keys of the configuration, such as {"train.length": "30 epochs", "ema.half_life": "20 kimg"}. They
            override the recipe and the flags.
        trackers: objects with the methods of `ganloom.Tracker`, in addition to those of the configuration.
        callback: called with a `ganloom.TrainingEvent` after each step, log row, grid of samples, evaluation, check by
            the guard and checkpoint; `event.stop()` ends the run.
        verbose: show on the terminal what the command line shows. Otherwise nothing is printed: lines go to the logger
            `ganloom`.
        flags: the short flags of `ganloom train`, such as `size=64`, `epochs=30`, `batch=64`, `lr_g=2e-4`. `start` is
            `--from`: a run folder or a model file to fine-tune; its network and image size are kept.

    Raises:
        GanloomError: for what the user can fix; the message names the remedy.
        Interrupted: a `KeyboardInterrupt`, after Ctrl-C or SIGTERM. The run was saved; `ganloom.resume` continues it.

    >>> import ganloom
    >>> run = ganloom.train("digits", out="runs/first", length="640 images", batch=32, device="cpu")
    >>> run
    Run('runs/first', finished, 640 images)
    >>> run.model().sample(4).shape
    torch.Size([4, 1, 32, 32])

    """
    with shown(verbose):
        listeners = _listeners(trackers, callback)
        given = settings_of(flags, settings)
        chosen_device = choose_device(device)
        request = make_request(data, recipe, chosen_device, given)
        config, source = request.config, request.source
        check(config, source)
        target = Path(out).expanduser() if out is not None else Path("runs") / source.name
        begun = distributed.read_note("run")
        if begun and (target / "run.json").exists() and RunFolder(target).facts.id == begun:  # torchrun restarted it
            return resume(target, device=device, trackers=trackers, callback=callback)
        refuse_existing(target)
        dataset = prepare_from_config(source, config.data)
        for line in remarks(dataset):
            log.info(line)
        if config.data.labels and not dataset.labelled and request.chose("labels"):
            log.info("labels    off: some images have none")
            config = config.with_overrides({"data.labels": False})
        return Run(session.begin(config, dataset, target, request.recipe, chosen_device, listeners))


def resume(
    run: str | os.PathLike[str] | Run,
    *,
    length: str | None = None,
    data: str | os.PathLike[str] | None = None,
    device: str = "auto",
    trackers: Sequence[Tracker] = (),
    callback: Callback | None = None,
    verbose: bool = False,
) -> Run:
    """Continue a run from its newest checkpoint: on a CPU bit-exactly as if it had never stopped.

    Args:
        run: a run, or its folder.
        length: the new length of the whole run, such as "60 epochs", to make it longer.
        data: the new location of its images, if they were moved.
        device: as for `ganloom.train`.
        trackers: as for `ganloom.train`.
        callback: as for `ganloom.train`.
        verbose: as for `ganloom.train`.

    Raises what `ganloom.train` raises.

    >>> import ganloom
    >>> ganloom.resume("runs/photos", length="640 images", device="cpu")
    Run('runs/photos', finished, 640 images)

    """
    with shown(verbose):
        listeners = _listeners(trackers, callback)
        chosen_device = choose_device(device)
        folder = open_folder(run.path if isinstance(run, Run) else Path(run).expanduser())
        changes = {} if length is None else {"train.length": length}
        if data is not None:
            changes["data.source"] = absolute(os.fspath(data))
        config = folder.config.with_overrides(changes)
        if length is not None:
            refuse_shorter(folder, config)
        folder.custom_code(config, folder.facts)  # raises if it has changed
        try:
            source = find(config.data.source, config.data.follow_links)
        except DataError as error:
            raise DataError(f"{error} If the images were moved, name their new location with --data.") from None
        check(config, source)
        dataset = prepare_from_config(source, config.data)
        return Run(session.resume(folder, config, dataset, chosen_device, listeners))


def _listeners(trackers: Sequence[Tracker], callback: Callback | None) -> Listeners:
    """Raises `ConfigError` for what cannot be called: better now than in the middle of a training."""
    if callback is not None and not callable(callback):
        raise ConfigError(f"callback must be a function of one event, not {type(callback).__name__}.")
    for tracker in trackers:
        lacking = [
            name for name in ("scalars", "event", "images", "close") if not callable(getattr(tracker, name, None))
        ]
        if lacking:
            raise ConfigError(f"the tracker {type(tracker).__name__} lacks {', '.join(lacking)}: see ganloom.Tracker.")
    return Listeners(tuple(trackers), Notifier(callback))


@dataclass(frozen=True, repr=False)
class Plan:
    """The settings that training would use. `print(plan)` shows one line per decision."""

    recipe: str
    config: Config
    reasons: Sequence[Reason]  # what, value, why

    def __repr__(self) -> str:
        return "\n".join(f"{what:<12} {value:<14} {why}" for what, value, why in self.reasons)


@with_flags
def plan(
    data: str | os.PathLike[str] | None = None,
    *,
    recipe: str | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    **flags: Unpack[TrainFlags],
) -> Plan:
    """What `ganloom.train` would do with the same arguments, and why. Nothing is trained or written.

    Raises `GanloomError`.

    >>> import ganloom
    >>> print(ganloom.plan("shapes", batch=8, device="cpu"))  # doctest: +ELLIPSIS
    size         64x64          their own size, nothing is lost
    ...
    """
    given = settings_of(flags, settings)
    request = make_request(data, recipe, choose_device(device), given)
    check(request.config, request.source)
    return Plan(request.recipe, request.config, request.all_reasons(given))


def refuse_shorter(folder: RunFolder, config: Config) -> None:
    """Raises `RunError` for a length that the run has passed: its configuration would no longer repeat it."""
    if config.train.length.is_time:
        return
    seen = checkpoint.reached(folder.checkpoints)
    if config.train.length.images(epoch=folder.facts.images, step=config.images_per_step) < seen:
        raise RunError(
            f"{folder.path} has seen {seen:,} images already, more than {config.train.length}: give a greater length."
        )
