"""The model file: one safetensors file whose header rebuilds its generator. No pickle, no config beside it."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

from ganloom import nets
from ganloom.core import tensors
from ganloom.core.errors import ConfigError, ModelError
from ganloom.core.files import write_atomically
from ganloom.core.shapes import ImageShape

__all__ = ["Header", "read", "read_header", "write"]

KEY = "ganloom"
FORMAT = 1


class Header(BaseModel):
    """All that is needed to rebuild and to describe a generator."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = FORMAT
    net: str
    latent: int
    options: dict[str, Any]  # keyword options of the Generator
    shape: tuple[int, int, int]  # channels, height, width
    labels: bool  # whether G takes class labels
    class_names: list[str]
    training: dict[str, Any]  # a summary for people: images seen, dataset, recipe, version

    @property
    def image_shape(self) -> ImageShape:
        return ImageShape(*self.shape)

    def build(self) -> nn.Module:
        classes = len(self.class_names) if self.labels else 0
        return nets.build_generator(self.net, self.image_shape, self.latent, classes, self.options)


def write(path: Path, G: nn.Module, header: Header) -> None:
    """Write the model whole or not at all; the same weights and header give the same bytes."""
    metadata = {KEY: json.dumps(header.model_dump(mode="json"), sort_keys=True), "format": "pt"}
    write_atomically(path, tensors.pack(G.state_dict(), metadata))


def read_header(path: Path) -> Header:
    """The header of a model file. Raises `ModelError` for anything that is not one."""
    if not path.is_file():
        raise ModelError(f"there is no model file at {path}.")
    text = tensors.read_metadata(path).get(KEY)
    if text is None:
        raise ModelError(f"{path} is a safetensors file, but not a ganloom model: its header does not say what it is.")
    try:
        values = json.loads(text)
        if isinstance(values, dict) and values.get("format", 0) > FORMAT:
            raise ModelError(f"{path} was written by a newer ganloom (format {values['format']}): upgrade ganloom.")
        return Header.model_validate(values)
    except (ValueError, TypeError, ValidationError) as error:
        raise ModelError(f"the header of {path} is damaged: {str(error).splitlines()[0]}.") from None


def read(path: Path) -> tuple[nn.Module, Header]:
    """Rebuild G from its file, in evaluation mode on the CPU. Raises `ModelError`."""
    header = read_header(path)
    try:
        G = header.build()
        G.load_state_dict(tensors.unpack(path.read_bytes()))
    except (ConfigError, RuntimeError, OSError) as error:
        raise ModelError(f"{path} cannot be rebuilt: {str(error).splitlines()[0]}") from None
    return G.eval(), header
