"""The model file: one safetensors file whose header describes its generator completely. No pickle, no separate config.

For a custom network, the header holds its source text and the hash of it. Building the network runs that text, and so
requires `trust_code`. Nothing in a header refers to another file.
"""

import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import nn

from ganloom import nets
from ganloom.core import rng, tensors
from ganloom.core.code import Code, is_file
from ganloom.core.errors import ConfigError, ModelError
from ganloom.core.files import write_atomically
from ganloom.core.shapes import ImageShape

__all__ = ["Header", "locate", "read", "read_header", "write"]

KEY = "ganloom"
FORMAT = 1


class Header(BaseModel):
    """Everything needed to rebuild a generator and to describe it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = FORMAT
    net: str
    latent: int
    options: dict[str, Any]  # keyword options of the Generator
    shape: tuple[int, int, int]  # channels, height, width
    labels: bool  # whether G takes class labels
    class_names: list[str]
    training: dict[str, Any]  # a summary for the user: images seen, dataset, recipe, version
    code: Code | None = None  # of a custom network

    @model_validator(mode="after")
    def _holds_its_code(self) -> Self:
        if is_file(self.net) and self.code is None:
            raise ValueError(f"it names the custom network {self.net} but does not contain its code")
        if self.code is not None and not self.code.is_intact:
            raise ValueError(f"the code of {self.code.name} in it does not match its sha256")
        return self

    @property
    def image_shape(self) -> ImageShape:
        return ImageShape(*self.shape)

    def build(self) -> nn.Module:
        """A new, untrained generator. Runs the code of a custom network."""
        classes = len(self.class_names) if self.labels else 0
        return nets.build_generator(self.net, self.image_shape, self.latent, classes, self.options, self.code)


def write(path: Path, G: nn.Module, header: Header) -> None:
    """Write the model atomically: whole or not at all. The same weights and header give the same bytes."""
    values = header.model_dump(mode="json", exclude=None if header.code else {"code"})
    metadata = {KEY: json.dumps(values, sort_keys=True), "format": "pt"}
    write_atomically(path, tensors.pack(G.state_dict(), metadata))


def locate(path: Path) -> Path:
    """The model file of a run folder; a path that is not a folder is returned as it is.

    Raises `ModelError` if the run has no model yet.
    """
    if not path.is_dir():
        return path
    if (path / "config.yaml").exists() and not (path / "model.safetensors").exists():
        raise ModelError(
            f"{path} has no model yet: the first checkpoint writes it. Continue the training: ganloom resume {path}"
        )
    return path / "model.safetensors"


def read_header(path: Path) -> Header:
    """The header of a model file. Raises `ModelError` if the file is missing, damaged or not a ganloom model."""
    if not path.is_file():
        raise ModelError(f"there is no model file at {path}: give a run folder, or its model.safetensors.")
    text = tensors.read_metadata(path).get(KEY)
    if text is None:
        raise ModelError(f"{path} is a safetensors file, but not a ganloom model: its header does not describe one.")
    try:
        values = json.loads(text)
        if isinstance(values, dict) and values.get("format", 0) > FORMAT:
            raise ModelError(f"{path} was written by a newer ganloom (format {values['format']}): upgrade ganloom.")
        return Header.model_validate(values)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ModelError(f"the header of {path} is damaged ({reason}): use another copy of the file.") from None
    except (ValueError, TypeError) as error:
        raise ModelError(f"the header of {path} is damaged ({error}): use another copy of the file.") from None


def read(path: Path, *, trust_code: bool = False) -> tuple[nn.Module, Header]:
    """Rebuild G from its file, in evaluation mode on the CPU. Raises `ModelError`.

    The file of a custom network contains its code, which runs only with `trust_code`.
    """
    header = read_header(path)
    if header.code is not None and not trust_code:
        raise ModelError(
            f"{path} contains the code of its network, {header.code.name} (sha256 {header.code.sha256}), and loading "
            "it runs that code. If you trust its origin, add --trust-code; in Python, trust_code=True."
        )
    try:
        with rng.preserved():
            G = header.build()
        G.load_state_dict(tensors.unpack(path.read_bytes(), path))
    except (ConfigError, RuntimeError, OSError) as error:
        raise ModelError(f"{path} cannot be rebuilt: {str(error).splitlines()[0]}") from None
    return G.eval(), header
