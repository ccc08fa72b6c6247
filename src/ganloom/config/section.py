"""The base of all sections of a configuration."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """Frozen, and closed to unknown keys. The text below a key is its description, shown by `ganloom config`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
