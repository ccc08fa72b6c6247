"""Read YAML without the surprises of version 1.1."""

from typing import Any

import yaml

from ganloom.core.errors import ConfigError
from ganloom.core.words import shortened

__all__ = ["read_mapping", "read_value"]


class _Loader(yaml.SafeLoader):
    """Reads 10:40 as text, such as a window of values. YAML 1.1 makes it a number in base 60."""

    def number(self, node: yaml.ScalarNode) -> Any:
        if ":" in node.value:
            return node.value
        return self.construct_yaml_int(node) if node.tag.endswith("int") else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.number)


def read_value(text: str) -> Any:
    """The value that a text stands for; the text itself if it is not valid YAML."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: 2024-13-01 is not a date
        return text


def read_mapping(text: str, origin: str) -> dict[str, Any]:
    """The mapping that a text holds. Raises `ConfigError`, which names `origin`, for anything else."""
    try:
        values = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{origin} is not valid YAML: {_reason(error)}. Correct it.") from None
    except RecursionError:
        raise ConfigError(
            f"{origin} is not a configuration: it is nested too deeply. Write a mapping such as 'train: {{batch: 64}}'."
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{origin} is not a configuration: it should be a mapping such as 'train: {{batch: 64}}'.")
    return values


def _reason(error: Exception) -> str:
    """What is wrong, and where, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark):
        return f"{shortened(error.problem or '')} in line {mark.line + 1}, column {mark.column + 1}"
    return shortened(" ".join(str(error).split()))
