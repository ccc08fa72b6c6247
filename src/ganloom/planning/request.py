"""From what the user asked for to a complete request: images, recipe, configuration, and the reason for each choice."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch._subclasses.fake_tensor import FakeTensorMode

from ganloom import augment, nets, objectives
from ganloom.config import NO_FILE, Config, Reading, check_sections, explain, merge, nested, recipe_names, recipe_values
from ganloom.core import code, rng
from ganloom.core.code import is_file
from ganloom.core.errors import ConfigError
from ganloom.core.files import user_path
from ganloom.core.names import in_its_case
from ganloom.core.packages import is_installed
from ganloom.core.shapes import ImageShape
from ganloom.data.inspect import look_at_sizes
from ganloom.data.sources import Source, absolute, find
from ganloom.data.sources.tables import absolute_table
from ganloom.planning.defaults import AS_YOU_SAY, Case, Reason, derive, flat
from ganloom.planning.finetuning import fine_tuning
from ganloom.session import scoring
from ganloom.training.assembly import without_labels
from ganloom.training.finetune import open_pretrained

__all__ = ["Request", "check", "make_request", "placed"]


DIGITS = "digits"  # the dataset if none is named, and its recipe


class Request(NamedTuple):
    """A training, before its images are prepared."""

    source: Source
    recipe: str
    config: Config
    reasons: list[Reason]
    said: frozenset[str]  # keys that the user has set, where `reasons` say so already

    def chose(self, what: str) -> bool:
        """Whether a rule decided it, rather than the user or a recipe."""
        return any(what == each and why != AS_YOU_SAY for each, _, why in self.reasons)

    def all_reasons(self, given: Mapping[str, Any]) -> list[Reason]:
        """The reasons, and a row for each further setting that was `given`."""
        others = [key for key in given if not {key, f"{key}.name"} & self.said]
        return [*self.reasons, *(Reason(key, flat(given[key]), AS_YOU_SAY) for key in others)]


def make_request(
    data: str | os.PathLike[str] | None, recipe: str | None, device: torch.device, given: Mapping[str, Any]
) -> Request:
    """Lay the user's settings over the recipe that they named, that of a pretrained model, or the derived one.

    Raises `GanloomError`.
    """
    settings = dict(given)
    check_sections(nested(settings))
    recipe = recipe and in_its_case(recipe, recipe_names())
    source = None
    said: frozenset[str] = frozenset()
    start = (nested(settings).get("start") or {}).get("model")
    if start is not None and data is None:
        raise ConfigError(f"name the images to fine-tune {start} on: ganloom train DATA --from {start}")
    if start is not None:
        trained = open_pretrained(Path(start))
        settings["start.model"] = str(trained.path)
        if nested(settings)["start"].get("sha256") is None:
            settings["start.sha256"] = trained.sha256
        recipe, values = fine_tuning(trained, recipe)
        reasons = [Reason("recipe", recipe, f"that of {trained.path}, which is fine-tuned")]
    elif recipe is None and data is not None and data != DIGITS:
        source = find(reading(data, nested(settings).get("data") or {}))
        case = Case(look_at_sizes(source), source.count, len(source.class_names), device, settings)
        derived = derive(case)
        recipe, reasons, said = derived.recipe, derived.reasons, derived.said
        values = merge(recipe_values(recipe), nested(derived.settings))
    else:
        why = "your choice: its settings apply" if recipe else "made for these images: its settings apply"
        recipe = recipe or DIGITS
        values, reasons = recipe_values(recipe), [Reason("recipe", recipe, why)]
    if data is not None:
        settings["data.source"] = absolute(os.fspath(data))
    config = placed(Config.build(values, settings))
    return Request(source or find(config.data), recipe, config, reasons, said)


def reading(data: str | os.PathLike[str], section: Mapping[str, Any]) -> Reading:
    """Where the images are and how they are read, before the other settings are known. Raises `ConfigError`."""
    values = {key: value for key, value in section.items() if key in Reading.model_fields}
    try:
        return Reading.model_validate({**values, "source": os.fspath(data)})
    except ValidationError as error:
        raise ConfigError(explain(error, Reading)) from None


def placed(config: Config) -> Config:
    """With absolute paths of images and custom code, so that the run can be resumed from any folder."""
    labels = config.data.label_file
    if labels is not None and labels != NO_FILE:
        images = user_path(config.data.source)
        labels = absolute_table(labels, images if images.is_dir() else None)
    data = config.data.model_copy(update={"source": absolute(config.data.source), "label_file": labels})
    net = config.net.model_copy(update={"name": code.absolute(config.net.name)})
    loss = config.loss.model_copy(update={"name": code.absolute(config.loss.name)})
    start = config.start
    if start is not None:
        start = start.model_copy(update={"model": str(user_path(start.model).resolve())})
    return config.model_copy(update={"data": data, "net": net, "loss": loss, "start": start})


def check(config: Config, source: Source) -> None:
    """Refuse what is wrong before images are prepared, which may take long: unknown names and options, missing extras,
    labels where images have no classes, sizes that the network does not take. Raises `ConfigError`.
    """
    if config.trackers.wandb.mode != "off" and not is_installed("wandb"):
        raise ConfigError(
            "trackers.wandb needs the package wandb: pip install 'ganloom[wandb]', or set trackers.wandb.mode=off."
        )
    nets.check_options(config.net.name, config.net.g, config.net.d)
    if not is_file(config.net.name):
        size = config.data.size or look_at_sizes(source).common
        with rng.preserved(), FakeTensorMode():  # computes nothing and takes no memory
            nets.build_generator(config.net.name, ImageShape(3, *size), config.net.latent, 0, config.net.g)
            nets.build_discriminator(config.net.name, ImageShape(3, *size), 0, config.net.d)
    objectives.loss(config.loss.name, config.loss.options)
    for name in config.penalties:
        objectives.penalty(name)
    if config.augment is not None:
        augment.build(config.augment.name, 3, config.augment.options)
    scoring.check(config.evaluate, [config.optimizer.g.schedule, config.optimizer.d.schedule])
    if config.data.labels and not source.class_names:
        raise without_labels([])
