"""Train and resume: from what a person asked for to a complete configuration, and on to the training."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ganloom import augment, nets, objectives
from ganloom.config import Config, nested, recipe_values
from ganloom.core import code, distributed
from ganloom.core.device import choose_device
from ganloom.core.errors import ConfigError, DataError
from ganloom.core.terminal import make_terminal, say
from ganloom.data.inspect import look_at_sizes
from ganloom.data.opening import packed
from ganloom.data.sources import find, place
from ganloom.planning.finetuning import fine_tuning
from ganloom.planning.images import remarks
from ganloom.planning.proposal import choose_recipe
from ganloom.runs import Run, open_run, refuse_existing
from ganloom.training import scoring, session
from ganloom.training.starting import open_trained

__all__ = ["resume", "train"]

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
    recipe, which is chosen by the images' size when not named. With "start.model", a run folder or a model file, it is
    a fine-tuning: the network, the size and, of a run, everything else are those of the trained model. Raises
    `GanloomError` for what can be mended. Ctrl-C and SIGTERM save the run and end in `SystemExit`.
    """
    chosen_device = choose_device(device)
    terminal = make_terminal()
    settings = dict(settings or {})
    follow_links = bool(nested(settings).get("data", {}).get("follow_links"))
    source = find(os.fspath(data), follow_links) if data is not None else None
    start = (nested(settings).get("start") or {}).get("model")
    if start is not None and data is None:
        raise ConfigError(f"say which images {start} is to learn: ganloom train DATA --from {start}")
    if recipe is None and start is None and source is not None and data != DIGITS:
        recipe, size = choose_recipe(look_at_sizes(source))
        if size is not None:
            settings.setdefault("data.size", size)
    if start is not None:
        trained = open_trained(Path(start))
        settings["start.model"] = str(trained.path)
        if nested(settings)["start"].get("sha256") is None:
            settings["start.sha256"] = trained.sha256
        recipe, values = fine_tuning(trained, recipe)
    else:
        recipe = recipe or DIGITS
        values = recipe_values(recipe)
    if data is not None:
        settings["data.source"] = place(os.fspath(data))
    config = placed(Config.build(values, settings))
    check(config)
    source = source or find(config.data.source, config.data.follow_links)
    target = Path(out) if out is not None else Path("runs") / source.name
    begun = distributed.noted("run")
    if begun and (target / "run.json").exists() and Run(target).facts.id == begun:  # torchrun has started it anew
        return resume(target, device=device)
    refuse_existing(target)
    dataset = packed(source, config.data, terminal)
    for line in remarks(dataset):
        say(terminal, line)
    return session.begin(config, dataset, target, recipe, chosen_device, terminal)


def resume(
    run: str | os.PathLike[str],
    *,
    length: str | None = None,
    data: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> Run:
    """Go on with a run where it was. `length` makes it longer; `data` says where its images lie now."""
    chosen_device = choose_device(device)
    terminal = make_terminal()
    opened = open_run(Path(run))
    changes = {} if length is None else {"train.length": length}
    if data is not None:
        changes["data.source"] = place(os.fspath(data))
    config = opened.config.with_overrides(changes)
    opened.own_code(config, opened.facts)  # refuses what has changed
    check(config)
    try:
        source = find(config.data.source, config.data.follow_links)
    except DataError as error:
        raise DataError(f"{error} If the images were moved, say where they are with --data.") from None
    dataset = packed(source, config.data, terminal)
    return session.go_on(opened, config, dataset, chosen_device, terminal)


def placed(config: Config) -> Config:
    """With paths, of images and of the user's own code, that hold from any working folder."""
    data = config.data.model_copy(update={"source": place(config.data.source)})
    net = config.net.model_copy(update={"name": code.place(config.net.name)})
    loss = config.loss.model_copy(update={"name": code.place(config.loss.name)})
    start = config.start
    if start is not None:
        start = start.model_copy(update={"model": str(Path(start.model).expanduser().resolve())})
    return config.model_copy(update={"data": data, "net": net, "loss": loss, "start": start})


def check(config: Config) -> None:
    """Refuse unknown names and missing extras before images are prepared, which may take long."""
    if config.trackers.wandb.mode != "off" and find_spec("wandb") is None:
        raise ConfigError(
            "trackers.wandb needs the package wandb: pip install 'ganloom[wandb]', or set trackers.wandb.mode=off."
        )
    nets.family(config.net.name)
    objectives.loss(config.loss.name, config.loss.options)
    for name in config.penalties:
        objectives.penalty(name)
    if config.augment is not None:
        augment.build(config.augment.name, 3, config.augment.options)
    scoring.check(config.evaluate)
