"""YAML as people expect it."""

from typing import Any

import yaml

from ganloom.core.errors import ConfigError

__all__ = ["read_mapping", "read_value"]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 10:40 for a number to the base of 60; here it is text, such as a window of values."""

    def number(self, node: yaml.ScalarNode) -> Any:
        if ":" in node.value:
            return node.value
        return self.construct_yaml_int(node) if node.tag.endswith("int") else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.number)


def read_value(text: str) -> Any:
    """A value of any kind; text that is no YAML as it is."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError):  # 2024-13-01 is no date
        return text


def read_mapping(text: str, origin: str) -> dict[str, Any]:
    """A configuration. Raises `ConfigError`."""
    try:
        values = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{origin} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{origin} is not a configuration: it should be a mapping such as 'train: {{batch: 64}}'.")
    return values
