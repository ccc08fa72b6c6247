"""The sections of a configuration. Every key stands with its default and, below it, its description.

`data` and `optimizer` have modules of their own; every section can be imported from here.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ganloom.config.data import Data
from ganloom.config.optimizers import (
    SCHEDULES,
    Constant,
    Cosine,
    Linear,
    Optimizer,
    Optimizers,
    Plateau,
    Schedule,
)
from ganloom.config.section import Section
from ganloom.config.values import (
    Beta,
    Fraction,
    Images,
    Interval,
    Lengths,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    PositiveLength,
    Stages,
    TimeShare,
    named,
    unit,
)
from ganloom.core.lengths import Length

__all__ = [
    "SCHEDULES",
    "Action",
    "Augment",
    "BurnIn",
    "Checkpoint",
    "Constant",
    "Cosine",
    "Data",
    "Ema",
    "Evaluate",
    "Growth",
    "Guard",
    "Linear",
    "Log",
    "Loss",
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
    "Wandb",
    "named",
]


class Net(Section):
    """The network family and its options."""

    name: str
    """The network family, such as `dcgan` or `stylegan2`, or the path of a Python file of your own."""

    latent: Annotated[PositiveInt, unit("numbers")] = 100
    """Size of the latent vector z from which G makes an image (latent dimension, `nz`, `z_dim`)."""

    g: dict[str, Any] = Field({})
    """Options of the generator, such as `net.g.width`. They are the keyword arguments of the family's Generator."""

    d: dict[str, Any] = Field({})
    """Options of the discriminator, such as `net.d.width`. They are the keyword arguments of the family's
    Discriminator.
    """


class Named(BaseModel):
    """A loss or an augmentation by name; every other key is a keyword option of it."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    name: str
    """Which one. Every other key of the section is an option of it."""

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Loss(Named):
    """The loss."""

    name: str
    """The loss, such as `bce`, `hinge` or `relativistic`, or the path of a Python file of your own. Other keys of this
    section are options of the loss, such as `loss.label_smoothing`.
    """


class Augment(Named):
    """The augmentation."""

    name: str
    """The augmentation: `diffaugment` or `ada`. Other keys of this section are options of it, such as
    `augment.policy`.
    """


class Penalty(Section):
    """A regularizer that is added to a network's loss, such as R1 or another gradient penalty."""

    weight: NonNegative | None
    """Factor on the penalty before it is added to the loss. 0: it has no effect. null, only for `r1`: StyleGAN2's rule,
    which depends on the sizes of the images and the batch.
    """

    interval: Annotated[PositiveInt, unit("updates of the network")] = 1
    """The penalty is computed once every so many updates, and multiplied by that number, so that its mean effect stays
    the same (lazy regularization).
    """


class Growth(Section):
    """Resolutions in ascending order, from about 4 pixels up, each twice the one before, for networks that grow.

    One length applies to all levels. In a list, the first is for the smallest images, and the last is repeated for all
    further levels.
    """

    hold: Lengths
    """Length of training at each resolution before the next one begins to fade in. One length for all resolutions, or a
    list from the smallest one up, whose last entry is repeated for further ones.
    """

    fade: Lengths
    """Length over which the next resolution fades in. One length for all, or a list as in `growth.hold`."""


class BurnIn(Section):
    """Settings that start the run at other values and move to their configured ones along half a cosine (Huang et al.
    2024).

    The burn-in takes a share of the run's length, so extending the run also extends it.
    """

    share: Annotated[float, Field(gt=0, le=1), unit("share of the run")] = 0.1
    """Length of the burn-in."""

    lr: Positive = 1.0
    """Factor on both learning rates at the start."""

    beta2: Beta | None = None
    """beta2 of both optimizers at the start. null: their own values from the start."""

    penalties: NonNegative = 1.0
    """Factor on the weights of all penalties at the start."""

    half_life: Fraction = 1.0
    """Factor on the half-life of the EMA generator at the start."""

    augment: Fraction = 1.0
    """Factor on a fixed probability p of `ada` at the start. It has no effect if p adapts."""


class Start(Section):
    """Fine-tuning (transfer learning): the trained model whose weights the networks start from."""

    model: str
    """The trained model to start from: a run folder, whose D is loaded too, or a model.safetensors, which holds G
    alone.
    """

    sha256: str | None = None
    """Checksum of the weights to start from. It is filled in when the run starts; repeating the run then uses the same
    weights or fails. null: use the model as it is now.
    """

    optimizers: bool = False
    """Also load the run's optimizer state. Use it to train further on the same images, not on others."""

    freeze_d: Stages = 0
    """Number of stages of D to freeze, counted from the image (Mo et al. 2020, FreezeD)."""

    freeze_g: Stages = 0
    """Number of stages of G to freeze, counted from z."""


class Train(Section):
    """How long to train, and with what batches."""

    length: PositiveLength
    """How long to train. Minutes and hours end the run by the clock."""

    batch: Images | None = 64
    """Real images per update of D (batch size). null: StyleGAN2's rule, which depends on the size of the images."""

    micro_batch: Images | None = None
    """Images per forward pass of D; the gradients of a batch's micro-batches are averaged (gradient accumulation). Must
    divide the batch. BatchNorm sees one micro-batch. null: the whole batch.
    """

    batch_g: Images | None = None
    """Generated images per update of G. null: as for D."""

    micro_batch_g: Images | None = None
    """Images per forward pass of G. Must divide G's batch. null: as for D where that divides `train.batch_g`."""

    d_updates: Annotated[PositiveInt, unit("updates")] = 1
    """Updates of D per update of G, each with its own batch (`n_critic`)."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the forward and backward pass (mixed precision, AMP). `auto`: bf16 on GPUs that support it, else
    fp32.
    """

    compile: bool = False
    """Compile both networks with torch.compile."""

    recompute: bool = False
    """Activation checkpointing (gradient checkpointing): recompute activations in the backward pass. Takes less memory
    and more time.
    """

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
    """The EMA generator: the exponential moving average of G's weights, which is sampled, scored and saved."""

    half_life: Interval | None = Length(10, "kimg")
    """Half-life of the average. 0: no average, the EMA generator is G itself. null: StyleGAN2's rule, which depends on
    the batch size.
    """

    ramp_up: NonNegative = 0.05
    """The half-life is at most this share of the images seen so far, so that the first weights are soon forgotten.
    0: no limit.
    """


class Checkpoint(Section):
    """Checkpoints, from which a run resumes."""

    every: Interval = Length(50, "kimg")
    """Length between checkpoints. 0 images: only at the end."""

    keep: Annotated[PositiveInt, unit("checkpoints")] = 2
    """How many of the newest checkpoints to keep, in addition to one that the guard may need for a rollback."""


class Sample(Section):
    """Grids of generated pictures, drawn during training from the same latents."""

    every: Interval = Length(20, "kimg")
    """Length between grids. 0 images: only at the end."""

    count: Annotated[PositiveInt, unit("pictures")] = 64
    """Pictures in a grid."""


class Evaluate(Section):
    """Scores during training, in the features of the small encoder that ships with ganloom. Keeps the best model."""

    every: Interval | None = None
    """Length between evaluations. null: chosen once at the start by timing one, so that evaluations take the share
    `evaluate.budget` of the time. 0 images: never.
    """

    budget: TimeShare = 0.05
    """Share of the training time that evaluations may take. Used only where `evaluate.every` is null."""

    n: Annotated[int, Field(ge=100), unit("images")] = 2000
    """Generated images per evaluation, and as many real ones where there are that many."""

    metrics: tuple[str, ...] = ("fd", "prdc")
    """Metrics to compute; `fd` is the Fréchet distance, called FID only in the features of Inception. Only metrics that
    need nothing but features are accepted, as others take too long.
    """

    best: str = "fd"
    """The score that decides which model is the best; `evaluate.metrics` must produce it."""

    patience: Annotated[PositiveInt, unit("evaluations")] | None = None
    """Early stopping: end the run after so many evaluations in a row without a new best score. null: never."""


Action = Literal["warn", "stop", "rollback"]


class Guard(Section):
    """Checks the run at intervals, on a few images and the run's own statistics, and acts on faults.

    `warn` only reports. `stop` ends the run. `rollback` returns to the last healthy checkpoint and continues from there
    with changed settings, at most `guard.rollbacks` times in a run; if there are no other settings to try, it ends the
    run. The best model is kept in every case.
    """

    every: Interval | None = None
    """Length between checks. null: chosen once at the start by timing one, so that checks take the share `guard.budget`
    of the time. 0 images: never.
    """

    budget: TimeShare = 0.03
    """Share of the training time that checks may take. Used only where `guard.every` is null."""

    n: Annotated[int, Field(ge=50), unit("images")] = 256
    """Maximum number of images of each kind in a check: generated, training and held-out images."""

    patience: Annotated[PositiveInt, unit("checks")] = 3
    """Checks in a row that must find the same fault before the guard acts. For NaN or infinite values one is enough."""

    rollbacks: NonNegativeInt = 3
    """Maximum number of rollbacks in a run. If one more were needed, the run stops."""

    divergence: Action = "rollback"
    """What to do about NaN or infinite values, or images that turn back into noise."""

    collapse: Action = "rollback"
    """What to do about mode collapse: the generated images hardly differ from each other."""

    overpowering: Action = "warn"
    """What to do if D recognises every generated image and G no longer improves."""

    overfitting: Action = "warn"
    """What to do if D has memorised its training images."""

    memorisation: Action = "warn"
    """What to do if G copies training images."""

    tone: Action = "warn"
    """What to do if the generated images are clearly too dark, washed out or too grey, or the opposite."""

    stalled: Action = "warn"
    """What to do if the images hardly improve, or one of the networks hardly changes."""


class Log(Section):
    """The log, log.jsonl in the run folder."""

    every: Interval = Length(4, "kimg")
    """Length between rows of the log. 0 images: only at the end."""


def _off(value: Any) -> Any:
    return "off" if value is False else value  # as YAML reads it


class Wandb(Section):
    """Weights & Biases (pip install 'ganloom[wandb]')."""

    mode: Annotated[Literal["off", "online", "offline"], BeforeValidator(_off)] = "off"
    """`online` sends the log to Weights & Biases, `offline` stores it on disk for `wandb sync`."""

    project: str = "ganloom"
    """Name of the Weights & Biases project."""


class Trackers(Section):
    """Where the log is sent, in addition to log.jsonl and the console."""

    tensorboard: bool = True
    """Write the log and the sample grids for TensorBoard into the run folder."""

    wandb: Wandb = Wandb()
    """Weights & Biases (pip install 'ganloom[wandb]')."""
