"""From what a person asked for to a complete configuration, and on to the training."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console as Terminal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ganloom import nets, objectives
from ganloom.config import Config, recipe_values
from ganloom.core.device import choose_device
from ganloom.core.errors import ConfigError, DataError
from ganloom.core.names import check_name
from ganloom.data.inspect import look_at_sizes
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import BUILT_IN, Source, find
from ganloom.runs import Run, open_run, refuse_existing
from ganloom.training import session

__all__ = ["resume", "train"]

BUILT_IN_RECIPE = "digits"
SMALL = 48  # images with a shorter side below this are trained at 32 pixels, others at 64
LARGEST_OWN_SIZE = 64  # images all of one size up to this are not resized at all


def train(
    data: str | os.PathLike[str] | None = None,
    *,
    recipe: str | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """Train a GAN on `data`: a folder, an array file, or the built-in dataset when there is none.

    `settings` are dotted configuration keys, such as {"train.length": "30 epochs", "data.size": 64}; they lie over the
    recipe, which is chosen by the images' size when not named. Raises `GanloomError` for what can be mended. Ctrl-C and
    SIGTERM save the run and end in `SystemExit`.
    """
    chosen_device = choose_device(device)
    terminal = make_terminal()
    settings = dict(settings or {})
    source = find(os.fspath(data)) if data is not None else None
    if recipe is None:
        recipe, size = (BUILT_IN_RECIPE, None) if source is None or data in BUILT_IN else propose(source)
        if size is not None:
            settings.setdefault("data.size", size)
    if data is not None:
        settings["data.source"] = place(data)
    config = Config.build(recipe_values(recipe), settings)
    check(config)
    source = source or find(config.data.source)
    target = Path(out) if out is not None else Path("runs") / source.name
    refuse_existing(target)
    dataset = packed(source, config, terminal)
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
        changes["data.source"] = place(data)
    config = opened.config.with_overrides(changes)
    check(config)
    try:
        source = find(config.data.source)
    except DataError as error:
        raise DataError(f"{error} If the images were moved, say where they are with --data.") from None
    dataset = packed(source, config, terminal)
    return session.go_on(opened, config, dataset, chosen_device, terminal)


def place(data: str | os.PathLike[str]) -> str:
    """What the configuration says of where the images are: a built-in name, or a path that holds from any folder."""
    spec = os.fspath(data)
    return spec if spec in BUILT_IN else str(Path(spec).expanduser().resolve())


def propose(source: Source) -> tuple[str, tuple[int, int] | None]:
    """A recipe for these images and, where the recipe's own size would only lose detail, a size."""
    sizes = look_at_sizes(source)
    recipe = "dcgan-32" if min(sizes.common) < SMALL else "dcgan-64"
    keep = sizes.uniform and max(sizes.common) <= LARGEST_OWN_SIZE
    return recipe, sizes.common if keep else None


def check(config: Config) -> None:
    """Refuse unknown names and missing extras before images are prepared, which may take long."""
    if config.trackers.wandb.mode != "off" and find_spec("wandb") is None:
        raise ConfigError(
            "trackers.wandb needs the package wandb: pip install 'ganloom[wandb]', or set trackers.wandb.mode=off."
        )
    check_name("network", config.net.name, nets.names())
    objectives.loss(config.loss.name, config.loss.options)
    for name in config.penalties:
        objectives.penalty(name)


def packed(source: Source, config: Config, terminal: Terminal) -> PackedDataset:
    """The prepared images, with a progress bar while they are prepared."""
    columns = (TextColumn("preparing {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task(source.name, total=None, visible=False)
        return prepare(
            source,
            Preprocessing(config.data.size, config.data.channels),
            lambda done, total: bar.update(task, completed=done, total=total, visible=True),
        )


def make_terminal() -> Terminal:
    """Where a training speaks; of several processes only the first does."""
    return Terminal(quiet=os.environ.get("RANK", "0") != "0")
