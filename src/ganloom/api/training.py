"""Train and resume: from what a person asked for to a complete configuration, and on to the training."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ganloom import augment, nets, objectives
from ganloom.api.images import remarks
from ganloom.config import Config, check_sections, merge, nested, recipe_values
from ganloom.core import code, distributed
from ganloom.core.code import is_file
from ganloom.core.device import choose_device
from ganloom.core.errors import ConfigError, DataError, RunError
from ganloom.core.packages import is_installed
from ganloom.core.shapes import ImageShape
from ganloom.core.terminal import log
from ganloom.data.inspect import look_at_sizes
from ganloom.data.opening import packed
from ganloom.data.sources import Source, find, place
from ganloom.planning.defaults import AS_YOU_SAY, Case, derive, flat
from ganloom.planning.finetuning import fine_tuning
from ganloom.runs import Run, open_run, refuse_existing
from ganloom.session import scoring, session
from ganloom.training import checkpoint
from ganloom.training.assembly import without_labels
from ganloom.training.finetune import open_trained

__all__ = ["explain", "resume", "train"]

DIGITS = "digits"  # the dataset when there is none, and its recipe


def train(
    data: str | os.PathLike[str] | None = None,
    *,
    recipe: str | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """Train a GAN on `data`: a folder, an archive, array files, a packed or built-in dataset, `FILE.py:ARGUMENT`; the
    digits without any.

    `settings` are dotted configuration keys, such as {"train.length": "30 epochs", "data.size": 64}; they lie over the
    recipe, which is derived from images, device and length (`planning/defaults.py`) when none is named. With
    "start.model", a run folder or a model file, it is a fine-tuning: the network, the size and, of a run, everything
    else are those of the trained model. Raises `GanloomError` for what can be mended. Ctrl-C and SIGTERM save the run
    and end in `SystemExit`.
    """
    chosen_device = choose_device(device)
    planned = plan(data, recipe, chosen_device, settings or {})
    config = planned.config
    source = planned.source
    check(config, source)
    target = Path(out).expanduser() if out is not None else Path("runs") / source.name
    begun = distributed.read_note("run")
    if begun and (target / "run.json").exists() and Run(target).facts.id == begun:  # torchrun has started it anew
        return resume(target, device=device)
    refuse_existing(target)
    dataset = packed(source, config.data)
    for line in remarks(dataset):
        log.info(line)
    if config.data.labels and not dataset.labelled and planned.chose("labels"):
        log.info("labels    off: some images have none")
        config = config.with_overrides({"data.labels": False})
    return session.begin(config, dataset, target, planned.recipe, chosen_device)


def explain(
    data: str | os.PathLike[str] | None = None,
    *,
    recipe: str | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
) -> list[str]:
    """What `train` would do with the same arguments, and why: a line a decision. Raises `GanloomError`."""
    given = settings or {}
    planned = plan(data, recipe, choose_device(device), given)
    check(planned.config, planned.source)
    others = [(key, flat(value), AS_YOU_SAY) for key, value in given.items() if not {key, f"{key}.name"} & planned.said]
    rows = [*planned.reasons, *others]
    return [f"{what:<12} {value:<14} {why}" for what, value, why in rows]


class Planned(NamedTuple):
    """What a training is to be, before its images are prepared."""

    source: Source
    recipe: str
    config: Config
    reasons: list[tuple[str, str, str]]  # what, value, why
    said: frozenset[str]  # keys that a person has decided, in place of a rule, and `reasons` say so

    def chose(self, what: str) -> bool:
        """Whether a rule decided it, rather than a person or a recipe."""
        return any(what == each and why != AS_YOU_SAY for each, _, why in self.reasons)


def plan(
    data: str | os.PathLike[str] | None, recipe: str | None, device: torch.device, given: Mapping[str, Any]
) -> Planned:
    """Lay what a person asked for over the recipe that they named, that of a trained model, or the derived one."""
    settings = dict(given)
    check_sections(nested(settings))
    follow_links = bool(nested(settings).get("data", {}).get("follow_links"))
    source = find(os.fspath(data), follow_links) if data is not None else None
    said: frozenset[str] = frozenset()
    start = (nested(settings).get("start") or {}).get("model")
    if start is not None and data is None:
        raise ConfigError(f"say which images {start} is to learn: ganloom train DATA --from {start}")
    if start is not None:
        trained = open_trained(Path(start))
        settings["start.model"] = str(trained.path)
        if nested(settings)["start"].get("sha256") is None:
            settings["start.sha256"] = trained.sha256
        recipe, values = fine_tuning(trained, recipe)
        reasons = [("recipe", recipe, f"that of {trained.path}, which is trained further")]
    elif recipe is None and source is not None and data != DIGITS:
        case = Case(look_at_sizes(source), source.count, len(source.class_names), device, settings)
        derived = derive(case)
        recipe, reasons, said = derived.recipe, derived.reasons, derived.said
        values = merge(recipe_values(recipe), nested(derived.settings))
    else:
        why = "as you say: its settings stand" if recipe else "made for these images: its settings stand"
        recipe = recipe or DIGITS
        values, reasons = recipe_values(recipe), [("recipe", recipe, why)]
    if data is not None:
        settings["data.source"] = place(os.fspath(data))
    config = placed(Config.build(values, settings))
    return Planned(source or find(config.data.source, config.data.follow_links), recipe, config, reasons, said)


def resume(
    run: str | os.PathLike[str],
    *,
    length: str | None = None,
    data: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> Run:
    """Go on with a run where it was. `length` makes it longer; `data` says where its images lie now."""
    chosen_device = choose_device(device)
    opened = open_run(Path(run))
    changes = {} if length is None else {"train.length": length}
    if data is not None:
        changes["data.source"] = place(os.fspath(data))
    config = opened.config.with_overrides(changes)
    if length is not None:
        refuse_shorter(opened, config)
    opened.own_code(config, opened.facts)  # refuses what has changed
    try:
        source = find(config.data.source, config.data.follow_links)
    except DataError as error:
        raise DataError(f"{error} If the images were moved, say where they are with --data.") from None
    check(config, source)
    dataset = packed(source, config.data)
    return session.go_on(opened, config, dataset, chosen_device)


def refuse_shorter(run: Run, config: Config) -> None:
    """Raises `RunError` for a length that is behind the run: it would no longer say how to repeat it."""
    if config.train.length.is_time:
        return
    seen = checkpoint.reached(run.checkpoints)
    if config.train.length.images(epoch=run.facts.images, step=config.images_per_step) < seen:
        raise RunError(f"{run.path} has seen {seen:,} images already: {config.train.length} is shorter. Give more.")


def placed(config: Config) -> Config:
    """With paths, of images and of the user's own code, that hold from any working folder."""
    data = config.data.model_copy(update={"source": place(config.data.source)})
    net = config.net.model_copy(update={"name": code.place(config.net.name)})
    loss = config.loss.model_copy(update={"name": code.place(config.loss.name)})
    start = config.start
    if start is not None:
        start = start.model_copy(update={"model": str(Path(start.model).expanduser().resolve())})
    return config.model_copy(update={"data": data, "net": net, "loss": loss, "start": start})


def check(config: Config, source: Source) -> None:
    """Refuse what can be told before images are prepared, which may take long: unknown names and options, missing
    extras, labels of images without classes.
    """
    if config.trackers.wandb.mode != "off" and not is_installed("wandb"):
        raise ConfigError(
            "trackers.wandb needs the package wandb: pip install 'ganloom[wandb]', or set trackers.wandb.mode=off."
        )
    nets.check_options(config.net.name, config.net.g, config.net.d)
    if config.data.size and not is_file(config.net.name):
        with FakeTensorMode():  # nothing is computed, and no memory taken
            nets.build_generator(config.net.name, ImageShape(3, *config.data.size), config.net.latent, 0, config.net.g)
    objectives.loss(config.loss.name, config.loss.options)
    for name in config.penalties:
        objectives.penalty(name)
    if config.augment is not None:
        augment.build(config.augment.name, 3, config.augment.options)
    scoring.check(config.evaluate, [config.optimizer.g.schedule, config.optimizer.d.schedule])
    if config.data.labels and not source.class_names:
        raise without_labels([])
