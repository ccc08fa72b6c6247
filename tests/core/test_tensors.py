import json
import os
import struct
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ganloom.core.errors import ModelError
from ganloom.core.tensors import pack, read_metadata, unpack


def values(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


TENSORS = {
    "plain": values(3, 4),
    "transposed": values(3, 4).T,
    "strided": values(6, 6)[::2, 1::3],
    "channels_last": values(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "expanded": values(1, 3).expand(4, 3),
    "scalar": torch.tensor(3.5),
    "empty": torch.empty(0, 2),
    "whole": torch.arange(5),
    "flags": torch.tensor([True, False]),
    "half": values(7).bfloat16(),
    "exact": values(7).double(),
    "weight": torch.nn.Parameter(values(2)),
}
METADATA = {"ganloom": '{"net": "dcgan"}', "format": "pt", "name": "ü \U0001f41f", "a": "", "b": "1"}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_comes_back_with_its_values_type_and_shape(name: str) -> None:
    original = TENSORS[name]
    back = unpack(pack({name: original}))[name]
    assert (back.dtype, back.shape) == (original.dtype, original.shape)
    assert torch.equal(back, original)


def test_the_library_reads_what_was_packed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(pack(TENSORS, METADATA))
    back = load_file(tmp_path / "file")
    assert back.keys() == TENSORS.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in TENSORS.items())
    assert read_metadata(tmp_path / "file") == METADATA


def test_the_same_tensors_and_metadata_give_the_same_bytes() -> None:
    first = pack(TENSORS, METADATA)
    for _ in range(20):  # the library shuffles its metadata at every call
        assert pack(TENSORS, METADATA) == first
    assert pack(dict(reversed(TENSORS.items())), dict(reversed(METADATA.items()))) == first


def test_other_values_or_other_metadata_give_other_bytes() -> None:
    first = pack({"x": values(3)}, {"a": "1"})
    assert pack({"x": values(3) + 1}, {"a": "1"}) != first
    assert pack({"x": values(3)}, {"a": "2"}) != first


@pytest.mark.parametrize("length", range(8))
def test_tensors_are_aligned_for_any_length_of_the_header(length: int) -> None:
    data = pack({"x": values(3)}, {"a": "x" * length})
    assert int.from_bytes(data[:8], "little") % 8 == 0
    assert torch.equal(unpack(data)["x"], values(3))


@pytest.mark.parametrize("data", [b"", b"not safetensors", pack({"x": values(3)})[:-5], b"\xff" * 64])
def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ModelError, match="file is not a readable safetensors file"):
        read_metadata(tmp_path / "file")


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        read_metadata(tmp_path / "missing")


@pytest.mark.parametrize("type_", ["F8_E8M0", "none"])
def test_a_dtype_that_torch_lacks_is_an_error_that_names_the_file(type_: str) -> None:
    header = json.dumps({"x": {"dtype": type_, "shape": [8], "data_offsets": [0, 8]}}).encode()
    with pytest.raises(ModelError, match="the file is not a readable safetensors file"):
        unpack(struct.pack("<Q", len(header)) + header + bytes(8), "the file")


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="file names are Unicode there")
def test_metadata_is_read_from_a_path_that_is_not_utf_8(tmp_path: Path) -> None:
    """The library cannot: a run in such a folder would take its best model for missing, and replace it by any other."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    path.write_bytes(pack(TENSORS, METADATA))
    assert read_metadata(path) == METADATA


@pytest.mark.parametrize(
    "data",
    [b"", b"123", struct.pack("<Q", 2**60), struct.pack("<Q", 4) + b"[1]x", struct.pack("<Q", 2) + b"[]",
     struct.pack("<Q", 20) + b'{"__metadata__": [1]}'],
    ids=["empty", "short", "huge", "no JSON", "list", "metadata of another kind"],
)  # fmt: skip
def test_a_damaged_header_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ModelError, match="is not a readable safetensors file"):
        read_metadata(tmp_path / "file")
