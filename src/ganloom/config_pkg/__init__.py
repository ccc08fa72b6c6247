"""The configuration of a run: frozen, typed, closed. YAML in and out, dotted overrides on top."""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ganloom.core.errors import ConfigError
from ganloom.core.lengths import Interval, Length
from ganloom.core.names import check_name, nearest
from ganloom.core.plain_yaml import read_mapping, read_value
from ganloom.core.shapes import parse_size
from ganloom.core.shares import check_window, parse_share, parse_window

__all__ = ["Config", "parse_override", "recipe_names", "recipe_text"]

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


def _share(value: Any) -> Any:
    return parse_share(value) if isinstance(value, str) else value


Share = Annotated[float, BeforeValidator(_share), Field(ge=0, lt=1)]
WholeShare = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(Section):
    source: str
    size: tuple[PositiveInt, PositiveInt] | None = None  # height, width; null: the images' own size
    channels: Literal[1, 3, 4] | None = None  # null: as found, grey or colour
    resize: Literal["crop", "fit", "stretch"] = "crop"  # cut to the ratio, pad to it with black, or ignore it
    window: tuple[float, float] | None = None  # LOW:HIGH, what becomes black and white; null: percentiles; 8 bits: none
    fast: bool = False  # let the JPEG decoder shrink big images: quicker, and not right to the pixel
    holdout: Share = 0.05  # goes to `val`, never trained on, where the source has no splits
    group_by: str | None = None  # pattern in the files' names: what it finds alike stays on one side of the hold-out
    classes: tuple[str, ...] | None = None  # null: all of them
    drop_duplicates: bool = False  # of images equal to the last bit take only the first
    max_skipped: WholeShare = 0.05  # of the images' files; more than that cannot be used: an error
    follow_links: bool = False  # let symbolic links lead out of the folder
    labels: bool = False  # train with class labels
    mirror: bool = False  # flip half the images left to right (a heart has a side: off unless asked for)

    @field_validator("size", mode="before")
    @classmethod
    def _read_size(cls, value: Any) -> Any:
        return parse_size(value) if isinstance(value, int | str) else value

    @field_validator("classes", mode="before")
    @classmethod
    def _read_classes(cls, value: Any) -> Any:
        """`a,b`, or `["a, b", "c"]` where a name has a comma."""
        if not isinstance(value, str):
            return value
        return read_value(value) if value.startswith("[") else [part.strip() for part in value.split(",")]

    @field_validator("window", mode="before")
    @classmethod
    def _read_window(cls, value: Any) -> Any:
        return parse_window(value) if isinstance(value, str) else value

    @field_validator("window")
    @classmethod
    def _check_window(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None:
            check_window(value)
        return value

    @field_validator("group_by")
    @classmethod
    def _check_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from None
        return value


class Net(Section):
    name: str
    latent: PositiveInt = 100
    g: dict[str, Any] = {}  # keyword options of the network's Generator
    d: dict[str, Any] = {}  # keyword options of its Discriminator


class Loss(BaseModel):
    """A loss by name; every other key is a keyword option of that loss."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Penalty(Section):
    weight: NonNegative
    interval: PositiveInt = 1  # in D updates; a lazy penalty counts that many times over


SCHEDULES = ("constant", "linear", "cosine", "plateau")


class Schedule(Section):
    warmup: Interval = Length(0, "images")  # linear, from 0 to the full rate


class Constant(Schedule):
    name: Literal["constant"] = "constant"


class Linear(Schedule):
    name: Literal["linear"]
    final: Fraction = 0.0  # of the full rate, at the end of the run


class Cosine(Schedule):
    name: Literal["cosine"]
    final: Fraction = 0.0


class Plateau(Schedule):
    """Multiply the rate by `factor` when the network's loss has improved in none of more than `patience` intervals."""

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: NonNegativeInt = 5
    interval: Interval = Length(1, "epochs")
    threshold: NonNegative = 1e-4  # an improvement is a mean loss lower than the best by this share of it


def _named(value: Any) -> Any:
    """`net: mlp` for `net: {name: mlp}`."""
    return {"name": value} if isinstance(value, str) else value


def _schedule(value: Any) -> Any:
    value = _named(value)
    return {"name": "constant", **value} if isinstance(value, Mapping) else value


class Optimizer(Section):
    name: Literal["adam", "adamw"] = "adam"
    lr: Positive = 2e-4
    beta1: Beta = 0.5
    beta2: Beta = 0.999
    weight_decay: NonNegative = 0.0
    clip: Positive | None = None  # largest gradient norm
    schedule: Annotated[
        Annotated[Constant | Linear | Cosine | Plateau, Field(discriminator="name")], BeforeValidator(_schedule)
    ] = Constant()


class Optimizers(Section):
    g: Optimizer = Optimizer()
    d: Optimizer = Optimizer()


def _some(length: Length) -> Length:
    if length.amount <= 0:
        raise ValueError("a run needs a length of more than nothing")
    return length


class Train(Section):
    length: Annotated[Length, AfterValidator(_some)]
    batch: PositiveInt = 64
    micro_batch: PositiveInt | None = None  # null: the whole batch; BatchNorm sees one micro-batch
    batch_g: PositiveInt | None = None  # null: as for D
    micro_batch_g: PositiveInt | None = None  # null: as for D where it divides batch_g
    d_updates: PositiveInt = 1  # per G update
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on GPUs that have it
    compile: bool = False

    @model_validator(mode="after")
    def _divides(self) -> "Train":
        for batch, micro, key in (
            (self.batch, self.micro_batch, "micro_batch"),
            (self.batch_g or self.batch, self.micro_batch_g, "micro_batch_g"),
        ):
            if micro and batch % micro:
                divisors = ", ".join(str(n) for n in range(1, batch + 1) if batch % n == 0)
                raise ValueError(f"{key} {micro} does not divide the batch of {batch}: choose one of {divisors}")
        return self


class Ema(Section):
    half_life: Interval = Length(10, "kimg")  # 0: the average is G itself
    ramp_up: NonNegative = 0.05  # the half-life is at most this share of the images seen; 0: no ramp


class Checkpoint(Section):
    every: Interval = Length(50, "kimg")  # 0, here and below: only at the end
    keep: PositiveInt = 2


class Sample(Section):
    every: Interval = Length(20, "kimg")
    count: PositiveInt = 64  # pictures in a grid


class Log(Section):
    every: Interval = Length(4, "kimg")


class Wandb(Section):
    mode: Literal["off", "online", "offline"] = "off"
    project: str = "ganloom"


class Trackers(Section):
    tensorboard: bool = True
    wandb: Wandb = Wandb()


class Config(Section):
    """All that decides the outcome of a training; with the same images it is enough to repeat it."""

    seed: NonNegativeInt = 0
    data: Data
    net: Annotated[Net, BeforeValidator(_named)]
    loss: Annotated[Loss, BeforeValidator(_named)]
    penalties: dict[str, Penalty] = {}
    optimizer: Optimizers = Optimizers()
    train: Train
    ema: Ema = Ema()
    checkpoint: Checkpoint = Checkpoint()
    sample: Sample = Sample()
    log: Log = Log()
    trackers: Trackers = Trackers()

    @classmethod
    def build(cls, values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> "Config":
        """Lay dotted `overrides` over nested `values` and validate. Raises `ConfigError` with the remedy."""
        merged = merge(values, nested(overrides or {}))
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError(explain(error)) from None

    @classmethod
    def load(cls, path: Path) -> "Config":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {error}.") from None
        return cls.build(read_mapping(text, str(path)))

    def yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def with_overrides(self, overrides: Mapping[str, Any]) -> "Config":
        return Config.build(self.model_dump(mode="json"), overrides)


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """{'train.batch': 8} as {'train': {'batch': 8}}."""
    result: dict[str, Any] = {}
    for key, value in sorted(dotted.items(), key=_names_first):
        *parents, last = key.split(".")
        result = merge(result, _nest(parents, {last: value}))
    return result


def _names_first(item: tuple[str, Any]) -> tuple[int, bool]:
    """`net=mlp` brings new options, so it goes before `net.latent=64` in whatever order they were given."""
    key, _ = item
    return key.count("."), not key.endswith(".name")


def _nest(parents: Sequence[str], leaf: dict[str, Any]) -> dict[str, Any]:
    for parent in reversed(parents):
        leaf = {parent: leaf}
    return leaf


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mapping by mapping. Another network, loss or schedule does not inherit options."""
    result = dict(below)
    for key, value in above.items():
        old, new = result.get(key), value
        if key in OWN_OPTIONS:
            old, new = _named(old), _named(new)
            if isinstance(old, Mapping) and isinstance(new, Mapping) and _renamed(old, new):
                old = {shared: old[shared] for shared in old if shared in OWN_OPTIONS[key]}
        result[key] = merge(old, new) if isinstance(old, Mapping) and isinstance(new, Mapping) else new
    return result


OWN_OPTIONS: dict[str, tuple[str, ...]] = {"net": ("latent",), "loss": (), "schedule": ("warmup",)}
"""Sections whose keys depend on their `name`, each with the keys that mean the same under every name."""


def _renamed(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return "name" in new and "name" in old and new["name"] != old["name"]


def parse_override(text: str) -> tuple[str, Any]:
    """`train.batch=32` as its key and its value, read as YAML. Raises `ConfigError`."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"'{text}' is not KEY=VALUE; write, for example, --set train.batch=32")
    return key.strip(), read_value(value)


def explain(error: ValidationError, section: type[BaseModel] | None = None) -> str:
    """What pydantic found, one line a fault, unknown keys with the nearest known one."""
    lines = []
    for fault in error.errors():
        # A discriminated union puts its tag into the path; the person who wrote the file did not.
        place = ".".join(str(part) for part in fault["loc"] if part not in SCHEDULES)
        if fault["type"] == "extra_forbidden":
            own = str(fault["loc"][1]) if len(fault["loc"]) > 1 else "*"  # the r1 of penalties.r1.weight
            known = [key.replace("*", own) for key in known_keys(section or Config)]
            lines.append(f"unknown key '{place}'. {nearest(place, known)}")
        elif fault["type"] == "union_tag_invalid":
            lines.append(f"unknown {place} '{fault['ctx']['tag']}'. {nearest(fault['ctx']['tag'], SCHEDULES)}")
        elif fault["type"] == "missing":
            lines.append(f"'{place}' is missing.")
        elif isinstance(fault["input"], Mapping):  # a whole section: too much to show
            lines.append(f"{place}: {fault['msg'].removeprefix('Value error, ')}.")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            lines.append(f"{place}: {message} (got {fault['input']!r})." if place else f"{message}.")
    return "\n".join(dict.fromkeys(lines))


def known_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key of a section."""
    for name, field in section.model_fields.items():
        yield prefix + name
        free = ".*" if get_origin(field.annotation) is dict else ""  # a key of the user's choice: penalties.r1.weight
        for kind in _models_in(field.annotation):
            yield from known_keys(kind, f"{prefix}{name}{free}.")


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for inner in getattr(annotation, "__args__", ()) for kind in _models_in(inner)]


# Recipes: YAML files inside the package, or anywhere on the user's disk.


def recipe_names() -> list[str]:
    files = resources.files("ganloom.recipes").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """The YAML of a recipe: one of the package's by name, or a file ending in .yaml. Raises `ConfigError`."""
    if name.endswith((".yaml", ".yml")):
        try:
            return Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the recipe {name}: {error}.") from None
    check_name("recipe", name, recipe_names())
    return resources.files("ganloom.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def recipe_values(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe as nested values; `base: other` lays it over another recipe."""
    values = read_mapping(recipe_text(name), name)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str) or base in (*above, name):
        raise ConfigError(f"the base of recipe {name} should be the name of another recipe, not {base!r}.")
    return merge(recipe_values(base, (*above, name)), values)
