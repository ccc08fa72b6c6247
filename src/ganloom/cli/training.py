"""The commands that train: `train`, `resume`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import ganloom
from ganloom.cli.options import DeviceOption, ProcessesOption, SetOption, as_option, load_torch
from ganloom.cli.output import say
from ganloom.core.errors import ConfigError
from ganloom.core.flags import FLAGS, settings_of, with_flags
from ganloom.core.runtime import tune_process

if TYPE_CHECKING:
    from ganloom.core.flags import TrainFlags

__all__ = ["EXAMPLES", "resume", "train"]


@with_flags(FLAGS, as_option)
def train(
    data: Annotated[str | None, typer.Argument(help="As for prepare, or a prepared dataset. [default: digits]")] = None,
    recipe: Annotated[str | None, typer.Option(help="A name from 'ganloom recipes', or a YAML file.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The run folder to create. [default: runs/NAME-OF-DATA, or that with -2, -3 ...]"),
    ] = None,
    device: DeviceOption = "auto",
    set: SetOption = None,
    processes: ProcessesOption = 1,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show the settings, why, and what they cost in time and memory; train nothing."),
    ] = False,
    **flags: Any,
) -> None:
    """Train on a folder of images, an archive, array files, or a dataset by its name."""
    from ganloom.api import early
    from ganloom.config import parse_override

    settings = dict(parse_override(text) for text in set or [])
    early.check_train(data, recipe, None if explain else out, device, settings_of(flags, settings))
    load_torch()
    if processes > 1 and not explain:
        _launch(processes, device)
    tune_process()

    if explain:
        plan = ganloom.plan(
            data, recipe=recipe, device=device, settings=settings, costs=True, **cast("TrainFlags", flags)
        )
        say(plan)
        return
    ganloom.train(data, recipe=recipe, out=out, device=device, settings=settings, **cast("TrainFlags", flags))


EXAMPLES = """\b
Examples:
  ganloom train photos/                                 any folder; settings follow from the images
  ganloom train photos/ --explain                       what it would do, and why
  ganloom train photos/ --length "2 hours" --size 64
  ganloom train photos/ --epochs 30 --batch 64 --lr-g 2e-4 --lr-d 1e-4
  ganloom train photos.zip --recipe sngan-32            see ganloom recipes
  ganloom train flowers/ --recipe sngan-projection-32   one folder per class: ask for a class afterwards
  ganloom train photos/ --recipe few-images-64          a few hundred images
  ganloom train medmnist:pathmnist --recipe mlp-pathmnist
  ganloom train more/ --from runs/photos --freeze-d 2   fine-tune
  ganloom train photos/ --set ema.half_life="20 kimg"   any setting: see ganloom config
  ganloom train photos/ --processes 2
More: docs/command-line.md
"""


def resume(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    length: Annotated[str | None, typer.Option(help="New length of the whole run, such as '60 epochs'.")] = None,
    data: Annotated[str | None, typer.Option(help="New location of the images, if they were moved.")] = None,
    device: DeviceOption = "auto",
    set: SetOption = None,
    processes: ProcessesOption = 1,
) -> None:
    """Continue a run from its newest checkpoint."""
    from ganloom.api import early
    from ganloom.config import parse_override

    settings = dict(parse_override(text) for text in set or [])
    early.check_resume(run, device, settings, length)
    load_torch()
    if processes > 1:
        _launch(processes, device)

    tune_process()

    ganloom.resume(run, length=length, data=data, device=device, settings=settings)


def _launch(processes: int, device: str) -> None:
    """Run this command in several processes, and end with their exit code."""
    if "WORLD_SIZE" in os.environ:
        raise ConfigError("--processes and torchrun do the same thing: use only one of them.")
    from ganloom.core.device import check_processes
    from ganloom.core.distributed import launch, without_processes

    check_processes(processes, device)
    raise SystemExit(launch(processes, without_processes(sys.argv[1:])))
