"""The sections of a configuration. Every key stands here, with its default and what it means."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ganloom.core.lengths import Interval, Length
from ganloom.core.plain_yaml import read_value
from ganloom.core.shapes import parse_size
from ganloom.core.shares import check_window, parse_share, parse_window

__all__ = [
    "SCHEDULES",
    "BurnIn",
    "Checkpoint",
    "Data",
    "Ema",
    "Evaluate",
    "Growth",
    "Guard",
    "Log",
    "Named",
    "Net",
    "NonNegativeInt",
    "Optimizer",
    "Optimizers",
    "Penalty",
    "Plateau",
    "Sample",
    "Schedule",
    "Section",
    "Start",
    "Trackers",
    "Train",
    "named",
]

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
        """`a,b`, or `["a, b", "c"]` where a name has a comma. Names may be numbers."""
        if isinstance(value, str):
            value = read_value(value) if value.startswith("[") else [part.strip() for part in value.split(",")]
        names = value if isinstance(value, list | tuple) else [value] if isinstance(value, int) else None
        if names is None:
            return value
        if any(isinstance(name, bool) for name in names):
            raise ValueError("a class may be called yes or no, but only in quotes: data.classes='[\"yes\"]'")
        return [str(name) if isinstance(name, int) else name for name in names]

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


class Named(BaseModel):
    """A loss or an augmentation by name; every other key is a keyword option of it."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Penalty(Section):
    weight: NonNegative | None  # null, of r1: StyleGAN2's rule, from size and batch
    interval: PositiveInt = 1  # in updates of the network it teaches; a lazy penalty counts that many times over


def _lengths(value: Any) -> Any:
    return [value] if isinstance(value, str | Length) else value


Lengths = Annotated[tuple[Interval, ...], BeforeValidator(_lengths), Field(min_length=1)]


class Growth(Section):
    """Resolutions in their order, from about 4 pixels up, each twice the one before, for networks that grow.

    One length stands for all levels; of several the first is that of the smallest images, and the last goes on.
    """

    hold: Lengths  # images at each resolution before the next begins
    fade: Lengths  # images in which that one fades in


class BurnIn(Section):
    """How a run begins: settings move, along half a cosine, from here to their own values (Huang et al. 2024).

    As schedules do, it follows the length of the run: one that is made longer afterwards has a longer burn-in too.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 0.1  # of the run
    lr: Positive = 1.0  # times the learning rates
    beta2: Beta | None = None  # in place of the optimizers' own; null: theirs
    penalties: NonNegative = 1.0  # times their weights
    half_life: Fraction = 1.0  # times that of the moving average
    augment: Fraction = 1.0  # times the p of ada, where it does not adapt


class Start(Section):
    """Fine-tuning: what the networks are before the first step."""

    model: str  # a run folder, whose D is taken too, or a model.safetensors
    sha256: str | None = None  # of the weights, filled in at the start: a run is repeated with the same or not at all
    optimizers: bool = False  # go on with a run's optimizers: for more of the same images, not for others
    freeze_d: NonNegativeInt = 0  # stages of D that do not learn, from the image on (Mo et al. 2020)
    freeze_g: NonNegativeInt = 0  # stages of G that do not learn, from z on


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
    score: bool = False  # look at evaluate.best, at every evaluation while training, in place of the loss
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: NonNegativeInt = 5
    interval: Interval = Length(1, "epochs")
    threshold: NonNegative = 1e-4  # an improvement is a mean loss lower than the best by this share of it


def named(value: Any) -> Any:
    """`net: mlp` for `net: {name: mlp}`."""
    return {"name": value} if isinstance(value, str) else value


def _schedule(value: Any) -> Any:
    value = named(value)
    return {"name": "constant", **value} if isinstance(value, Mapping) else value


class Optimizer(Section):
    name: Literal["adam", "adamw", "rmsprop"] = "adam"
    lr: Positive = 2e-4
    beta1: Beta = 0.5  # not of rmsprop
    beta2: Beta = 0.999  # of rmsprop: what is kept of the mean square
    weight_decay: NonNegative = 0.0
    clip: Positive | None = None  # largest gradient norm
    clip_weights: Positive | None = None  # largest size of a weight, cut to it after each update (Arjovsky et al. 2017)
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
    batch: PositiveInt | None = 64  # null: StyleGAN2's rule, from the size
    micro_batch: PositiveInt | None = None  # null: the whole batch; BatchNorm sees one micro-batch
    batch_g: PositiveInt | None = None  # null: as for D
    micro_batch_g: PositiveInt | None = None  # null: as for D where it divides batch_g
    d_updates: PositiveInt = 1  # per G update
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on GPUs that have it
    compile: bool = False
    recompute: bool = False  # keep fewer maps and make them again in the backward pass

    @model_validator(mode="after")
    def _divides(self) -> "Train":
        for batch, micro, key in (
            (self.batch, self.micro_batch, "micro_batch"),
            (self.batch_g or self.batch, self.micro_batch_g, "micro_batch_g"),
        ):
            if batch and micro and batch % micro:
                divisors = ", ".join(str(n) for n in range(1, batch + 1) if batch % n == 0)
                raise ValueError(f"{key} {micro} does not divide the batch of {batch}: choose one of {divisors}")
        return self


class Ema(Section):
    half_life: Interval | None = Length(10, "kimg")  # 0: the average is G itself; null: StyleGAN2's rule
    ramp_up: NonNegative = 0.05  # the half-life is at most this share of the images seen; 0: no ramp


class Checkpoint(Section):
    every: Interval = Length(50, "kimg")  # 0 images, here and below: only at the end
    keep: PositiveInt = 2


class Sample(Section):
    every: Interval = Length(20, "kimg")
    count: PositiveInt = 64  # pictures in a grid


class Evaluate(Section):
    """Cheap scores while training, in the features of the encoder that ganloom ships; the best model is kept."""

    every: Interval | None = None  # null: timed once at the start, to take `budget` of the time; 0 images: never
    budget: Annotated[float, Field(gt=0, le=1)] = 0.05
    n: Annotated[int, Field(ge=100)] = 2000  # generated images, and real ones where there are so many
    metrics: tuple[str, ...] = ("fd", "prdc")  # such as need features alone
    best: str = "fd"  # which of their numbers says what is best
    patience: PositiveInt | None = None  # stop after so many evaluations in a row that were not the best; null: never


Action = Literal["warn", "stop", "rollback"]


class Guard(Section):
    """Looks at a few images and the numbers of the training now and then, and does something about what it finds.

    `warn` only tells. `rollback` goes back to the last healthy checkpoint and on from there with other settings, at
    most `rollbacks` times in a run; where no other settings are left, it stops. Whatever stops keeps the best model.
    """

    every: Interval | None = None  # null: timed once at the start, to take `budget` of the time; 0 images: never
    budget: Annotated[float, Field(gt=0, le=1)] = 0.03
    n: Annotated[int, Field(ge=50)] = 256  # generated images, training images and held-out ones, at most
    patience: PositiveInt = 3  # looks in a row that must see the same
    rollbacks: NonNegativeInt = 3
    divergence: Action = "rollback"  # numbers that are none, or images on their way back to noise
    collapse: Action = "rollback"  # hardly two images differ
    overpowering: Action = "warn"  # D is sure of every image, and G learns no more
    overfitting: Action = "warn"  # D knows its training images by heart
    memorisation: Action = "warn"  # G copies training images
    stalled: Action = "warn"  # images are what they were at the start


class Log(Section):
    every: Interval = Length(4, "kimg")


def _off(value: Any) -> Any:
    return "off" if value is False else value  # as YAML reads it


class Wandb(Section):
    mode: Annotated[Literal["off", "online", "offline"], BeforeValidator(_off)] = "off"
    project: str = "ganloom"


class Trackers(Section):
    tensorboard: bool = True
    wandb: Wandb = Wandb()
