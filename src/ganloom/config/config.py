"""The whole configuration: read from YAML, checked, written to YAML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from ganloom.config.keys import explain, not_a_section
from ganloom.config.overrides import merge, nested
from ganloom.config.sections import (
    Augment,
    BurnIn,
    Checkpoint,
    Data,
    Ema,
    Evaluate,
    Growth,
    Guard,
    Log,
    Loss,
    Net,
    Optimizers,
    Penalty,
    Sample,
    Section,
    Start,
    Trackers,
    Train,
)
from ganloom.config.values import NonNegativeInt, named
from ganloom.core.code import is_file, split
from ganloom.core.errors import ConfigError
from ganloom.core.files import read_regular
from ganloom.core.plain_yaml import read_mapping

__all__ = ["Config", "check_sections"]


class Config(Section):
    """All settings that determine the outcome of a run. With the same images they are enough to repeat it."""

    seed: NonNegativeInt = 0
    """Seed of all random numbers in training."""

    data: Data
    """The images: where they come from and how they are prepared."""

    net: Annotated[Net, BeforeValidator(named, json_schema_input_type=Net | str)]
    """The network family and its options. May be written as a name: `net: mlp`."""

    growth: Growth | None = None
    """Progressive growing: how the resolution rises in the course of the run, for `progressive`. null: full size."""

    burn_in: BurnIn | None = None
    """Settings that start the run at other values and move to their configured ones along half a cosine (Huang et al.
    2024). The burn-in takes a share of the run's length, so extending the run also extends it. null: no burn-in.
    """

    start: Start | None = None
    """Fine-tuning (transfer learning): the trained model that the networks start from. null: new networks."""

    loss: Annotated[Loss, BeforeValidator(named, json_schema_input_type=Loss | str)]
    """The loss and its options. May be written as a name: `loss: hinge`."""

    penalties: dict[str, Penalty] = Field(default_factory=dict)
    """Regularizers added to the losses, such as gradient penalties, by name:
    `penalties: {r1: {weight: 1, interval: 4}}`. `{}`: none.
    """

    augment: Annotated[Augment | None, BeforeValidator(named, json_schema_input_type=Augment | str | None)] = None
    """Augmentation of all images that D sees, real and generated. May be written as a name. null: none."""

    optimizer: Optimizers = Optimizers()
    """The optimizers of G and D, and the schedules (schedulers) of their learning rates."""

    train: Train
    """How long to train, with what batches, and in which precision."""

    ema: Ema = Ema()
    """The EMA generator: the exponential moving average of G's weights, which is sampled, scored and saved."""

    checkpoint: Checkpoint = Checkpoint()
    """Checkpoints, from which a run resumes."""

    sample: Sample = Sample()
    """Grids of generated pictures, drawn during training from the same latents."""

    evaluate: Evaluate = Evaluate()
    """Scores during training, in the features of the small encoder that ships with ganloom. Keeps the best model."""

    guard: Guard = Guard()
    """Checks the run at intervals and acts on faults. `warn` only reports. `stop` ends the run. `rollback` returns to
    the last healthy checkpoint and continues from there with changed settings, at most `guard.rollbacks` times in a
    run; if there are no other settings to try, it ends the run. The best model is kept in every case.
    """

    log: Log = Log()
    """The log, log.jsonl in the run folder."""

    trackers: Trackers = Trackers()
    """Where the log is sent, in addition to log.jsonl and the console."""

    @classmethod
    def build(cls, values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> "Config":
        """Lay dotted `overrides` over nested `values` and validate. Raises `ConfigError` with the remedy."""
        merged = merge(values, nested(overrides or {}))
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError(explain(error, cls)) from None

    @classmethod
    def load(cls, path: Path) -> "Config":
        """Read a YAML file. Raises `ConfigError` with the path."""
        try:
            text = read_regular(path).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {error}. Restore it, as text in UTF-8.") from None
        values = read_mapping(text, str(path))
        try:
            return cls.build(values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @property
    def own_files(self) -> list[str]:
        """The user's own Python files that it names: a network, a loss, a source of images."""
        source = split(self.data.source)
        names = [self.net.name, self.loss.name, *([source[0]] if source else [])]
        return [name for name in dict.fromkeys(names) if is_file(name)]

    @property
    def images_per_step(self) -> int:
        """Real images that a step uses. The configuration must be resolved: `train.batch` set."""
        assert self.train.batch, "the configuration must be resolved first"
        return self.train.batch * self.train.d_updates

    def yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def with_overrides(self, overrides: Mapping[str, Any]) -> "Config":
        """A copy with dotted `overrides`. Raises `ConfigError`."""
        return Config.build(self.model_dump(mode="json"), overrides)


def check_sections(values: Mapping[str, Any]) -> None:
    """Check nested values, which may be incomplete.

    Raises `ConfigError` if a section is not a mapping or `data` is wrong.
    """
    for section in ("data", "start", "penalties", "train", "optimizer"):
        given = values.get(section, {})
        if not isinstance(given, Mapping) and not (section == "start" and given is None):
            raise ConfigError(not_a_section(section, given, Config))
    try:
        _DataOnly.model_validate({"data": {"source": "", **values.get("data", {})}})
    except ValidationError as error:
        raise ConfigError(explain(error, _DataOnly)) from None


class _DataOnly(BaseModel):
    data: Data
