"""Train, resume, and show what training would do."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from ganloom.api.costs import costs as measure_costs
from ganloom.api.images import remarks
from ganloom.api.run import Run
from ganloom.config import Config
from ganloom.core import distributed
from ganloom.core.device import choose_device
from ganloom.core.errors import ConfigError, DataError, RunError
from ganloom.core.files import safe_names, user_path
from ganloom.core.flags import FLAGS, TrainFlags, settings_of, with_flags
from ganloom.core.phases import phase
from ganloom.core.public import public
from ganloom.core.tables import html_table
from ganloom.core.terminal import log, shown
from ganloom.core.wording import for_caller
from ganloom.core.words import printable
from ganloom.data.from_config import prepare_from_config
from ganloom.data.inspect import enlarged
from ganloom.data.sources import absolute, find
from ganloom.planning.defaults import Reason
from ganloom.planning.request import check, make_request, placed
from ganloom.runs import RunFolder, checkpoints, open_folder, refuse_existing, reserved
from ganloom.session import session
from ganloom.session.events import Callback, Notifier
from ganloom.session.resumable import check_before
from ganloom.session.session import Listeners
from ganloom.tracking import Tracker

__all__ = ["Plan", "plan", "resume", "train"]


@public
@with_flags(FLAGS)
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
        out: the run folder to create; by default `runs/NAME-OF-DATA`, or if that exists `runs/NAME-OF-DATA-2` ...
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
    with shown(verbose), contextlib.ExitStack() as stack:
        listeners = _listeners(trackers, callback)
        given = settings_of(flags, settings)
        chosen_device = choose_device(device)
        with phase("looking at the images"):
            request = make_request(data, recipe, chosen_device, given)
            config, source = request.config, request.source
            check(config, source)
            size_note = enlarged(source, config.data.size)
        if (begun := session.begun_before()) is not None:  # torchrun restarted it
            return resume(begun, device=device, trackers=trackers, callback=callback)
        target = Path("runs") / safe_names([source.name])[0] if out is None else user_path(out)
        if out is not None:
            refuse_existing(target)
        elif distributed.is_first():  # which tells the other processes the name
            target = stack.enter_context(reserved(target))
        dataset = prepare_from_config(source, config.data)
        for line in remarks(dataset):
            log.info(line)
        if size_note:
            log.info(f"note: {size_note}")
        if config.data.labels and not dataset.labelled and request.chose("labels"):
            log.info("labels    off: some images have none")
            config = config.with_overrides({"data.labels": False})
        return Run(session.begin(config, dataset, target, request.recipe, chosen_device, listeners))


@public
def resume(
    run: str | os.PathLike[str],
    *,
    length: str | None = None,
    data: str | os.PathLike[str] | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
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
        settings: keys of the configuration to change from here on, as if they were edited in the run's config.yaml. A
            line names each; those that do not go with what was trained, such as the networks, are refused.
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
        folder = open_folder(user_path(run))
        changes = dict(settings or {})
        if length is not None:
            changes["train.length"] = length
        if data is not None:
            changes["data.source"] = absolute(os.fspath(data))
        config = folder.config.with_overrides(changes)
        if settings:
            config = placed(config)
        if length is not None:
            refuse_shorter(folder, config)
        check_before(folder, config, folder.facts)
        folder.custom_code(config, folder.facts)  # raises if it has changed
        with phase("looking at the images"):
            try:
                source = find(config.data)
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
    remarks: Sequence[tuple[str, str]] = ()  # topic and text: how the files were read

    def __repr__(self) -> str:
        config = self.config
        return (
            f"Plan({self.recipe}: {config.net.name}, {config.loss.name}, {config.train.length}; print it for reasons)"
        )

    def __str__(self) -> str:
        lines = [f"{topic:<12} {text}" for topic, text in self.remarks]
        lines += [f"{what:<12} {value:<14} {why}" for what, value, why in self.reasons]
        return for_caller("\n".join(map(printable, lines)))

    def _repr_html_(self) -> str:
        """The table, in a notebook."""
        return html_table(
            [(what, value, for_caller(why)) for what, value, why in self.reasons], ("what", "value", "why")
        )


@public
@with_flags(FLAGS)
def plan(
    data: str | os.PathLike[str] | None = None,
    *,
    recipe: str | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    costs: bool = False,
    **flags: Unpack[TrainFlags],
) -> Plan:
    """What `ganloom.train` would do with the same arguments, and why. Nothing is trained or written.

    With `costs`, also the time and memory that it takes on this device, and what other image sizes would take: some
    steps are timed on random images, which takes seconds. Raises `GanloomError`.

    >>> import ganloom
    >>> print(ganloom.plan("shapes", batch=8, device="cpu"))  # doctest: +ELLIPSIS
    size         64x64          their own size, nothing is lost
    ...
    """
    given = settings_of(flags, settings)
    chosen_device = choose_device(device)
    with phase("looking at the images"):
        request = make_request(data, recipe, chosen_device, given)
        check(request.config, request.source)
    reasons = request.all_reasons(given)
    if costs:
        reasons += measure_costs(request.config, request.source, chosen_device)
    return Plan(request.recipe, request.config, reasons, tuple(request.source.remarks))


def refuse_shorter(folder: RunFolder, config: Config) -> None:
    """Raises `RunError` for a length that the run has passed: its configuration would no longer repeat it."""
    if config.train.length.is_time:
        return
    seen = checkpoints.reached(folder.checkpoints)
    if config.train.length.images(epoch=folder.facts.images, step=config.images_per_step) < seen:
        raise RunError(
            f"{folder.path} has seen {seen:,} images already, more than {config.train.length}: give a greater length."
        )
