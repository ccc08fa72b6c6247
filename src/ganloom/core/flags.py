"""Short names for the settings that are set most often: flags of `ganloom train`, and keywords of `ganloom.train`.

One table serves both, so they cannot differ. Nothing here imports torch.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypedDict, TypeVar, get_args, get_type_hints

from ganloom.core.errors import ConfigError
from ganloom.core.names import nearest

__all__ = ["FLAGS", "READ_FLAGS", "Flag", "ReadFlags", "TrainFlags", "settings_of", "with_flags"]

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Flag:
    """One row of the table."""

    help: str
    keys: tuple[str, ...]  # the settings that it sets, all to the same value
    option: str = ""  # on the command line, where it is not --name-of-the-keyword
    metavar: str | None = None
    min: int | None = None
    format: str = "{}"  # how the value is written into the settings
    annotation: Any = None  # of the keyword
    kind: Any = str  # its type on the command line


class ReadFlags(TypedDict, total=False):
    """How the files of a source are read. None leaves each to what is recognised."""

    splits: Annotated[
        str | Mapping[str, str] | None,
        Flag("Split folders: Training=train,Testing=test; or none.", ("data.splits",), metavar="FOLDER=SPLIT,..."),
    ]
    class_level: Annotated[
        int | None, Flag("Level of the folders that are classes; 0: none.", ("data.class_level",), min=0)
    ]
    keep_masks: Annotated[bool | None, Flag("Take segmentation masks as images, too.", ("data.keep_masks",))]
    labels: Annotated[
        str | os.PathLike[str] | None,
        Flag("Table of file names with labels, splits or groups: CSV, JSONL.", ("data.label_file",), metavar="FILE"),
    ]
    label_column: Annotated[str | None, Flag("Its column of labels.", ("data.label_column",), metavar="NAME")]
    group_column: Annotated[
        str | None, Flag("Its column of groups, such as patients.", ("data.group_column",), metavar="NAME")
    ]
    any_suffix: Annotated[bool | None, Flag("Also take images without the suffix of one.", ("data.any_suffix",))]
    frames: Annotated[
        str | None, Flag("first or all: pages of TIFF stacks, frames of animations.", ("data.frames",), metavar="WHICH")
    ]
    follow_links: Annotated[bool | None, Flag("Follow symbolic links out of the folder.", ("data.follow_links",))]


class TrainFlags(ReadFlags, total=False):
    """The flags of `train`. None, the default of each, leaves the setting to the recipe."""

    seed: Annotated[int | None, Flag("Seed of everything random.", ("seed",))]
    length: Annotated[
        str | None, Flag("'30 epochs', '200 kimg', '5000 steps', '10 minutes', '2 hours' ...", ("train.length",))
    ]
    epochs: Annotated[float | None, Flag("The same as --length 'N epochs'.", ("train.length",), format="{} epochs")]
    batch: Annotated[int | None, Flag("Images per update.", ("train.batch",))]
    micro_batch: Annotated[
        int | None, Flag("Images per forward pass; gradients accumulate over a batch.", ("train.micro_batch",))
    ]
    lr_g: Annotated[float | None, Flag("Learning rate of the generator.", ("optimizer.g.lr",))]
    lr_d: Annotated[float | None, Flag("Learning rate of the discriminator.", ("optimizer.d.lr",))]
    beta1: Annotated[float | None, Flag("Adam's beta1, for both networks.", ("optimizer.g.beta1", "optimizer.d.beta1"))]
    beta2: Annotated[float | None, Flag("Adam's beta2, for both networks.", ("optimizer.g.beta2", "optimizer.d.beta2"))]
    latent: Annotated[int | None, Flag("Size of z.", ("net.latent",))]
    size: Annotated[
        int | str | tuple[int, int] | None, Flag("Size of the images in pixels.", ("data.size",), metavar="N|HxW")
    ]
    compile: Annotated[bool | None, Flag("Compile both networks.", ("train.compile",))]
    start: Annotated[
        str | os.PathLike[str] | None,
        Flag("Fine-tune: a run folder, or a model.safetensors.", ("start.model",), option="--from", metavar="MODEL"),
    ]
    freeze_d: Annotated[
        int | None, Flag("With --from: freeze the first N stages of the discriminator.", ("start.freeze_d",), min=0)
    ]
    freeze_g: Annotated[
        int | None, Flag("With --from: freeze the first N stages of the generator.", ("start.freeze_g",), min=0)
    ]


def _table(flags: type[ReadFlags] | type[TrainFlags]) -> dict[str, Flag]:
    """Each flag by its keyword, with its type on the command line."""
    table = {}
    for name, hint in get_type_hints(flags, include_extras=True).items():
        annotation, flag = get_args(hint)
        kind = next((each for each in (int, float, bool) if get_args(annotation) == (each, type(None))), str)
        table[name] = replace(
            flag, kind=kind, option=flag.option or f"--{name.replace('_', '-')}", annotation=annotation
        )
    return table


READ_FLAGS = _table(ReadFlags)
FLAGS = {name: flag for name, flag in _table(TrainFlags).items() if name not in READ_FLAGS} | READ_FLAGS


def settings_of(flags: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Flags as dotted settings, with `settings` on top. Raises `ConfigError` for flags that contradict each other."""
    given = {name: value for name, value in flags.items() if value is not None}
    for name in given:
        if name not in FLAGS:
            raise ConfigError(f"unknown keyword '{name}'. {nearest(name, FLAGS)} Other settings go into settings=...")
    if "length" in given and "epochs" in given:
        raise ConfigError("--length and --epochs set the same thing: give one of them.")
    starts = "start" in given or any(key.partition(".")[0] == "start" for key in settings or {})
    if not starts and (given.get("freeze_d") or given.get("freeze_g")):
        raise ConfigError("--freeze-d and --freeze-g freeze parts of a pretrained model: name it with --from.")
    result: dict[str, Any] = {}
    for name, value in given.items():
        flag = FLAGS[name]
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        result |= dict.fromkeys(flag.keys, value if flag.format == "{}" else flag.format.format(value))
    return result | dict(settings or {})


def with_flags(
    flags: Mapping[str, Flag], annotate: Callable[[Flag], Any] = lambda flag: flag.annotation
) -> Callable[[F], F]:
    """A decorator: let the signature of a function that takes `**flags` list them, for help(), notebooks and the
    command line. `annotate` gives the annotation of each.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        listed = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotate(flag))
            for name, flag in flags.items()
        ]
        function.__signature__ = signature.replace(parameters=[*own, *listed])  # type: ignore[attr-defined]
        return function

    return decorate
