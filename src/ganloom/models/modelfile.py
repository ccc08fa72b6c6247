"""The model file: one safetensors file whose header describes its generator completely. No pickle, no separate config.

For a custom network, the header holds its source text and the hash of it. Building the network runs that text, and so
requires `trust_code`. Nothing in a header refers to another file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, model_validator
from torch import Tensor, nn

from ganloom import nets
from ganloom.core import rng, tensors
from ganloom.core.code import Code, is_file
from ganloom.core.errors import ConfigError, ModelError
from ganloom.core.files import read_regular, sha256, write_atomically
from ganloom.core.plain_json import read_json
from ganloom.core.shapes import ImageShape
from ganloom.models.places import missing, refuse_checkpoint, refuse_missing

__all__ = ["Header", "Read", "read", "read_header", "rebuild", "write"]

KEY = "ganloom"
FORMAT = 1


class Header(BaseModel):
    """Everything needed to rebuild a generator and to describe it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = FORMAT
    net: str
    latent: PositiveInt
    options: dict[str, Any]  # keyword options of the Generator
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]  # channels, height, width
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


def read_header(path: Path) -> Header:
    """The header of a model file. Raises `ModelError` if the file is missing, damaged or not a ganloom model."""
    refuse_missing(path)
    return _header(tensors.read_metadata(path), path)


def _header(metadata: Mapping[str, str], path: Path) -> Header:
    text = metadata.get(KEY)
    if text is None:
        raise ModelError(
            f"{path} is a safetensors file, but not a ganloom model: its header does not describe one. "
            "Give a run folder, or its model.safetensors."
        )
    try:
        values = read_json(text)
        if isinstance(values, dict) and values.get("format", 0) > FORMAT:
            raise ModelError(f"{path} was written by a newer ganloom (format {values['format']}): upgrade ganloom.")
        return Header.model_validate(values)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ModelError(f"the header of {path} is damaged ({reason}): use another copy of the file.") from None
    except (ValueError, TypeError) as error:
        raise ModelError(f"the header of {path} is damaged ({error}): use another copy of the file.") from None


class Read(NamedTuple):
    """What one reading of a model file gave: beside a running training, the next one may give another model."""

    G: nn.Module  # in evaluation mode, on the CPU
    header: Header
    sha256: str  # of the file


def read(path: Path, *, trust_code: bool = False) -> Read:
    """Rebuild G from its file. Raises `ModelError`.

    The file of a custom network contains its code, which runs only with `trust_code`.
    """
    refuse_checkpoint(path)
    try:
        data = read_regular(path)
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}. Make it readable.") from None
    weights = tensors.unpack(data, path)
    header = _header(tensors.metadata_of(data), path)
    return Read(rebuild(header, weights, path, trust_code=trust_code), header, sha256(data))


def rebuild(header: Header, weights: Mapping[str, Tensor], origin: Path, *, trust_code: bool) -> nn.Module:
    """The generator that a header describes, with its weights, in evaluation mode on the CPU.

    Raises `ModelError`, which names `origin`: also for a custom network without `trust_code`.
    """
    if header.code is not None and not trust_code:
        raise ModelError(
            f"{origin} contains the code of its network, {header.code.name} (sha256 {header.code.sha256}), and loading "
            "it runs that code. If you trust its origin, add --trust-code."
        )
    try:
        with rng.preserved():
            G = header.build()
        G.load_state_dict(weights)
    except (ConfigError, RuntimeError) as error:
        raise ModelError(
            f"{origin} cannot be rebuilt ({str(error).splitlines()[0]}): use another copy of it, "
            "or the version of ganloom that wrote it."
        ) from None
    return G.eval()
