"""The model file: one safetensors file whose header rebuilds its generator. No pickle, no config beside it.

A network that is not built in lies in the header as source text with its hash. To build it runs that text, so it is
asked for: `trust_code`. Nothing in a header leads to a file.
"""

import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import nn

from ganloom import nets
from ganloom.core import tensors
from ganloom.core.code import Code, is_file
from ganloom.core.errors import ConfigError, ModelError
from ganloom.core.files import write_atomically
from ganloom.core.shapes import ImageShape

__all__ = ["Header", "locate", "read", "read_header", "write"]

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
    code: Code | None = None  # of a network of the user's own

    @model_validator(mode="after")
    def _holds_its_code(self) -> Self:
        if is_file(self.net) and self.code is None:
            raise ValueError(f"it names {self.net} and does not hold it")
        if self.code is not None and not self.code.is_intact:
            raise ValueError(f"the code of {self.code.name} in it is not the one that its sha256 was taken of")
        return self

    @property
    def image_shape(self) -> ImageShape:
        return ImageShape(*self.shape)

    def build(self) -> nn.Module:
        """Fresh, with weights of no meaning. Runs the code, where there is some."""
        classes = len(self.class_names) if self.labels else 0
        return nets.build_generator(self.net, self.image_shape, self.latent, classes, self.options, self.code)


def write(path: Path, G: nn.Module, header: Header) -> None:
    """Write the model whole or not at all; the same weights and header give the same bytes."""
    values = header.model_dump(mode="json", exclude=None if header.code else {"code"})
    metadata = {KEY: json.dumps(values, sort_keys=True), "format": "pt"}
    write_atomically(path, tensors.pack(G.state_dict(), metadata))


def locate(path: Path) -> Path:
    """The model file of a run folder, or the file itself. Raises `ModelError` for a run that has none yet."""
    if not path.is_dir():
        return path
    if (path / "config.yaml").exists() and not (path / "model.safetensors").exists():
        raise ModelError(f"{path} has no model yet: it is written with the first checkpoint. Go on training it.")
    return path / "model.safetensors"


def read_header(path: Path) -> Header:
    """The header of a model file. Raises `ModelError` for anything that is not one."""
    if not path.is_file():
        raise ModelError(f"there is no model file at {path}: name a run folder, or its model.safetensors.")
    text = tensors.read_metadata(path).get(KEY)
    if text is None:
        raise ModelError(f"{path} is a safetensors file, but not a ganloom model: its header does not say what it is.")
    try:
        values = json.loads(text)
        if isinstance(values, dict) and values.get("format", 0) > FORMAT:
            raise ModelError(f"{path} was written by a newer ganloom (format {values['format']}): upgrade ganloom.")
        return Header.model_validate(values)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ModelError(f"the header of {path} is damaged ({reason}): take another copy of it.") from None
    except (ValueError, TypeError) as error:
        raise ModelError(f"the header of {path} is damaged ({error}): take another copy of it.") from None


def read(path: Path, *, trust_code: bool = False) -> tuple[nn.Module, Header]:
    """Rebuild G from its file, in evaluation mode on the CPU. Raises `ModelError`.

    A network that is not built in is code that the file brings along: without `trust_code` it is not run.
    """
    header = read_header(path)
    if header.code is not None and not trust_code:
        raise ModelError(
            f"{path} brings its own network along, {header.code.name} (sha256 {header.code.sha256}), and to load it is "
            "to run that code. If you know where it comes from, add --trust-code; in Python, trust_code=True."
        )
    try:
        G = header.build()
        G.load_state_dict(tensors.unpack(path.read_bytes(), path))
    except (ConfigError, RuntimeError, OSError) as error:
        raise ModelError(f"{path} cannot be rebuilt: {str(error).splitlines()[0]}") from None
    return G.eval(), header
