"""The configuration of a run: frozen, typed, closed. YAML in and out, dotted overrides on top."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from ganloom.config.sections import (
    SCHEDULES,
    BurnIn,
    Checkpoint,
    Data,
    Ema,
    Evaluate,
    Growth,
    Guard,
    Log,
    Named,
    Net,
    NonNegativeInt,
    Optimizer,
    Optimizers,
    Penalty,
    Sample,
    Section,
    Start,
    Trackers,
    Train,
    named,
)
from ganloom.core.code import is_file, split
from ganloom.core.errors import ConfigError
from ganloom.core.names import check_name, nearest
from ganloom.core.plain_yaml import read_mapping, read_value

__all__ = [
    "Config",
    "Data",
    "Evaluate",
    "Guard",
    "Optimizer",
    "check_sections",
    "merge",
    "named",
    "parse_override",
    "recipe_names",
    "recipe_text",
]


class Config(Section):
    """All that decides the outcome of a training; with the same images it is enough to repeat it."""

    seed: NonNegativeInt = 0
    data: Data
    net: Annotated[Net, BeforeValidator(named)]
    growth: Growth | None = None
    burn_in: BurnIn | None = None
    start: Start | None = None
    loss: Annotated[Named, BeforeValidator(named)]
    penalties: dict[str, Penalty] = Field(default_factory=dict)
    augment: Annotated[Named | None, BeforeValidator(named)] = None  # of all that D sees
    optimizer: Optimizers = Optimizers()
    train: Train
    ema: Ema = Ema()
    checkpoint: Checkpoint = Checkpoint()
    sample: Sample = Sample()
    evaluate: Evaluate = Evaluate()
    guard: Guard = Guard()
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
        """Raises `ConfigError` with the path."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {error}.") from None
        values = read_mapping(text, str(path))
        try:
            return cls.build(values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @property
    def own_files(self) -> list[str]:
        """The Python files of the user's own that it names: a network, a loss, a source of images."""
        source = split(self.data.source)
        names = [self.net.name, self.loss.name, *([source[0]] if source else [])]
        return [name for name in dict.fromkeys(names) if is_file(name)]

    @property
    def images_per_step(self) -> int:
        """Real images that a step takes, once nothing is left open."""
        assert self.train.batch, "a configuration is to be resolved first"
        return self.train.batch * self.train.d_updates

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


def check_sections(values: Mapping[str, Any]) -> None:
    """Raises `ConfigError` for nested values, whole or not, in which a section is none or `data` is wrong."""
    for section in ("data", "start", "penalties", "train", "optimizer"):
        given = values.get(section, {})
        if not isinstance(given, Mapping) and not (section == "start" and given is None):
            raise ConfigError(_no_section(section, given, Config))
    try:
        _DataAlone.model_validate({"data": {"source": "", **values.get("data", {})}})
    except ValidationError as error:
        raise ConfigError(explain(error, _DataAlone)) from None


class _DataAlone(BaseModel):
    data: Data


def _names_first(item: tuple[str, Any]) -> tuple[int, bool]:
    """`net=mlp` brings new options, so it goes before `net.latent=64` in whatever order they were given."""
    key, _ = item
    return key.count("."), not key.endswith(".name")


def _nest(parents: Sequence[str], leaf: dict[str, Any]) -> dict[str, Any]:
    for parent in reversed(parents):
        leaf = {parent: leaf}
    return leaf


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mapping by mapping. Another network, loss or schedule does not inherit options, and
    `penalties: {}` means none.
    """
    result = dict(below)
    for key, value in above.items():
        old, new = result.get(key), value
        if key in OWN_OPTIONS:
            old, new = named(old), named(new)
            if isinstance(old, Mapping) and isinstance(new, Mapping) and _renamed(old, new):
                old = {shared: old[shared] for shared in old if shared in OWN_OPTIONS[key]}
        laid = isinstance(old, Mapping) and isinstance(new, Mapping) and (new or key != "penalties")
        result[key] = merge(old, new) if laid else new  # type: ignore[arg-type]
    return result


OWN_OPTIONS: dict[str, tuple[str, ...]] = {"net": ("latent",), "loss": (), "augment": (), "schedule": ("warmup",)}
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
        elif fault["type"] in ("model_type", "dict_type", "tuple_type"):
            lines.append(_no_section(place, fault["input"], section or Config))
        elif isinstance(fault["input"], Mapping):  # a whole section: too much to show
            lines.append(f"{place}: {fault['msg'].removeprefix('Value error, ')}.")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            lines.append(f"{place}: {message} (got {fault['input']!r})." if place else f"{message}.")
    return "\n".join(dict.fromkeys(lines))


def _no_section(place: str, given: object, within: type[BaseModel]) -> str:
    """What to say of a value where a section, or a list, belongs."""
    own = place.rpartition(".")[2] if "." in place else "r1"  # the r1 of penalties.r1.weight
    keys = (key.replace("*", own) for key in known_keys(within))
    example = next((key for key in keys if key.startswith(f"{place}.")), None)
    said = f"is a section: set its keys, such as {example}" if example else "is a list of values"
    return f"{place} {said}, and cannot be {given!r}."


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
