"""The section `optimizer`: the optimizers of G and D, and the schedules of their learning rates."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ganloom.config.section import Section
from ganloom.config.values import Beta, Fraction, Interval, NonNegative, NonNegativeInt, Positive, named, unit
from ganloom.core.lengths import Length

__all__ = ["SCHEDULES", "Constant", "Cosine", "Linear", "Optimizer", "Optimizers", "Plateau", "Schedule"]

SCHEDULES = ("constant", "linear", "cosine", "plateau")


class Schedule(Section):
    """How a learning rate changes in the course of a run."""

    warmup: Interval = Length(0, "images")
    """Learning-rate warm-up: length over which the rate rises linearly from 0 to the full rate. 0: none."""


class Constant(Schedule):
    """The full rate throughout."""

    name: Literal["constant"] = "constant"
    """How the learning rate changes after the warm-up (scheduler). `constant`: not at all."""


class Linear(Schedule):
    """From the full rate to `final` in a straight line over the run."""

    name: Literal["linear"]
    """`linear`: to `final` in a straight line over the run (linear decay)."""

    final: Fraction = 0.0
    """For `linear` and `cosine`: the rate at the end of the run, as a share of the full rate."""


class Cosine(Schedule):
    """From the full rate to `final` along half a cosine over the run (Loshchilov & Hutter 2017)."""

    name: Literal["cosine"]
    """`cosine`: to `final` along half a cosine over the run (cosine annealing, Loshchilov & Hutter 2017)."""

    final: Fraction = 0.0
    """For `linear` and `cosine`: the rate at the end of the run, as a share of the full rate."""


class Plateau(Schedule):
    """Multiply the rate by `factor` if the network's loss has not improved for more than `patience` intervals."""

    name: Literal["plateau"]
    """`plateau`: times `factor` whenever the network's loss has not improved for more than `patience` intervals, as
    PyTorch's `ReduceLROnPlateau` does.
    """

    score: bool = False
    """For `plateau`: watch the score `evaluate.best`, at every evaluation during training, instead of the loss."""

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """For `plateau`: what the rate is multiplied by."""

    patience: Annotated[NonNegativeInt, unit("intervals")] = 5
    """For `plateau`: intervals in a row (with `score`: evaluations) that may pass without improvement."""

    interval: Interval = Length(1, "epochs")
    """For `plateau`: the length over which the loss is averaged before it is compared. Not used with `score`."""

    threshold: NonNegative = 1e-4
    """For `plateau`: the mean loss counts as improved if it is below the best by more than this share of the best."""


def _schedule(value: Any) -> Any:
    value = named(value)
    return {"name": "constant", **value} if isinstance(value, Mapping) else value


AnySchedule = Annotated[Constant | Linear | Cosine | Plateau, Field(discriminator="name")]


class Optimizer(Section):
    """The optimizer of one network."""

    name: Literal["adam", "adamw", "rmsprop"] = "adam"
    """The optimization algorithm."""

    lr: Positive = 2e-4
    """Learning rate, before any schedule."""

    beta1: Beta = 0.5
    """Adam and AdamW: decay of the running mean of the gradients (momentum) per update. Not used by RMSProp."""

    beta2: Beta = 0.999
    """Decay of the running mean of the squared gradients per update. For RMSProp it is `alpha`."""

    weight_decay: NonNegative = 0.0
    """Weight decay: L2 regularization for Adam and RMSProp, decoupled for AdamW."""

    clip: Positive | None = None
    """Gradient clipping: maximum norm of the gradient; a larger one is scaled down to it. null: none."""

    clip_weights: Positive | None = None
    """Maximum absolute value of the weights, to which they are clipped after each update (WGAN: Arjovsky et al. 2017).
    null: no weight clipping.
    """

    schedule: Annotated[AnySchedule, BeforeValidator(_schedule, json_schema_input_type=AnySchedule | str)] = Constant()
    """Scheduler: how the learning rate changes in the course of the run. May be written as a name: `schedule: cosine`.
    """


class Optimizers(Section):
    """One optimizer for each network."""

    g: Optimizer = Optimizer()
    """The optimizer of the generator."""

    d: Optimizer = Optimizer()
    """The optimizer of the discriminator."""
