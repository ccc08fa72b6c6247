import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ganloom import nets
from ganloom.core.errors import ModelError
from ganloom.core.shapes import ImageShape
from ganloom.models import modelfile


@pytest.fixture
def model(tmp_path: Path) -> Path:
    G = nets.build_generator("mlp", ImageShape(1, 8, 8), 4, 0, {"width": 2})
    path = tmp_path / "model.safetensors"
    modelfile.write(path, G, header())
    return path


def header(**changes: object) -> modelfile.Header:
    values = {
        "net": "mlp", "latent": 4, "options": {"width": 2}, "shape": (1, 8, 8), "labels": False,
        "class_names": [], "training": {},
    }  # fmt: skip
    return modelfile.Header.model_validate({**values, **changes})


def rewrite(path: Path, metadata: dict[str, str]) -> None:
    save_file({"a": torch.zeros(1)}, path, metadata=metadata)


def test_equal_models_are_equal_bytes(model: Path) -> None:
    G, read, *_ = modelfile.read(model)
    modelfile.write(model.with_name("again.safetensors"), G, read)
    assert model.read_bytes() == model.with_name("again.safetensors").read_bytes()


@pytest.mark.parametrize("content", [b"", b"not a model", b"\xff" * 64, b"\x80\x04cposix\nsystem\n"])
def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a readable safetensors"):
        modelfile.read(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        modelfile.read(tmp_path / "nothing.safetensors")


def test_a_safetensors_file_of_another_program_is_refused(tmp_path: Path) -> None:
    rewrite(tmp_path / "other.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="not a ganloom model"):
        modelfile.read(tmp_path / "other.safetensors")


def test_a_truncated_model_is_refused(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-100])
    with pytest.raises(ModelError):
        modelfile.read(model)


@pytest.mark.parametrize("text", ["{", "[]", '{"net": 3}', "null"])
def test_a_damaged_header_is_refused(model: Path, text: str) -> None:
    rewrite(model, {"ganloom": text})
    with pytest.raises(ModelError, match="header"):
        modelfile.read(model)


def test_a_newer_format_asks_for_an_upgrade(model: Path) -> None:
    rewrite(model, {"ganloom": json.dumps({**header().model_dump(mode="json"), "format": 99})})
    with pytest.raises(ModelError, match="upgrade"):
        modelfile.read(model)


@pytest.mark.parametrize("change", [{"net": "os"}, {"options": {"width": 3}}, {"options": {"depth": 3}}])
def test_a_header_that_does_not_match_the_weights_is_refused(model: Path, change: dict[str, object]) -> None:
    G, _, *_ = modelfile.read(model)
    modelfile.write(model, G, header(**change))
    with pytest.raises(ModelError, match="cannot be rebuilt"):
        modelfile.read(model)
