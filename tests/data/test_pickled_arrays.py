"""Pickled batches are read without running anything in them."""

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganloom.core.errors import DataError
from ganloom.data.sources import find
from ganloom.data.sources.pickles import UnsafePickleError, read_arrays

DATA = np.arange(24, dtype=np.uint8).reshape(2, 12)


class Trap:
    """A malicious pickle: loading it calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", [DATA, np.asfortranarray(DATA), DATA.astype(">i4"), DATA / 7, DATA > 3])
def test_arrays_are_those_that_pickle_itself_reads(array: np.ndarray[Any, Any], protocol: int) -> None:
    found = read_arrays(pickle.dumps({"data": array, "names": ["a", b"b"], "n": 3}, protocol))
    assert np.array_equal(found["data"], array) and found["data"].dtype == array.dtype
    assert (found["names"], found["n"]) == (["a", "b"], 3)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("where", ["value", "list", "key", "top"])
def test_no_function_is_called(tmp_path: Path, protocol: int, where: str) -> None:
    sprung = tmp_path / "sprung"
    trap = Trap(os.mkdir, str(sprung))
    value = {"value": {"data": trap}, "list": {"data": DATA, "labels": [trap]}, "key": {(trap,): 1}, "top": trap}[where]
    with pytest.raises(UnsafePickleError, match=r"it calls (posix|nt)\.mkdir"):
        read_arrays(pickle.dumps(value, protocol))
    assert not sprung.exists()


@pytest.mark.parametrize(
    "value",
    [
        Trap(eval, "1"),
        Trap(getattr, "", "join"),
        Trap(np.dtype, "O"),
        Trap(np.load, "x"),
        np.array([object()]),
        {1, 2},
        1j,
    ],
)
def test_only_arrays_numbers_and_texts_are_built(value: Any) -> None:
    with pytest.raises(UnsafePickleError):
        read_arrays(pickle.dumps({"data": value}))


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


ARRAY = b"cnumpy\nndarray\n"
HOSTILE = {
    "an instance of a class": opcodes(ARRAY, b")\x81"),
    "the old way to make one": opcodes(b"(inumpy\nndarray\n"),
    "attributes of a class": opcodes(ARRAY, b"}\x8c\x01aK\x01sb"),
    "attributes of a function": opcodes(b"c_codecs\nencode\n", b"}\x8c\x01aK\x01sb"),
    "an extension": opcodes(b"\x82\x01"),
    "a persistent id": opcodes(b"K\x01Q"),
    "a huge array of bytes": opcodes(b"\x96" + struct.pack("<Q", 2**40)),
    "a huge text": opcodes(b"\x8d" + struct.pack("<Q", 2**40)),
    "a huge number": opcodes(b"\x8b" + struct.pack("<i", 2**31 - 1)),
    "a far place to remember": opcodes(b"}r\xff\xff\xff\xff", b"h\x00"),
    "nothing on the stack": opcodes(b"s"),
    "no end": b"\x80\x04}",
    "nothing": b"",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_instructions_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data_batch_1").write_bytes(content.ljust(2, b"\x80\x04"[:1]) if content else b"\x80\x04")
    with pytest.raises(DataError, match=r"data_batch_1 is not read: .*Save the images as arrays") as caught:
        find(str(tmp_path / "data_batch_1"))
    assert "\n" not in str(caught.value)


def described(code: str, order: str, shape: tuple[int, ...], data: object) -> bytes:
    """A pickled array with a description of one's own."""
    kind = Trap(np.dtype, code, False, True)
    reduced = Trap(np._core.multiarray._reconstruct, np.ndarray, (0,), b"b")  # type: ignore[attr-defined]
    content = pickle.dumps({"data": reduced}, 2)
    state = pickle.dumps((1, shape, kind, False, data), 2)[2:-1]
    assert content.endswith(b"s.")
    return content[:-2] + state + b"bs."


@pytest.mark.parametrize(
    ("code", "shape", "data"),
    [
        ("O8", (3,), bytes(24)),
        ("V8", (3,), bytes(24)),
        ("u1", (2**40,), bytes(3)),
        ("u1", (-1,), bytes(3)),
        ("u1", (3, 0, 2**70), bytes(3)),
        ("u1", ("3",), bytes(3)),
        ("u1", (3,), [1, 2, 3]),
        ("u1", (1,) * 70, bytes(1)),
        ("M8", (1,), bytes(8)),
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(code: str, shape: tuple[int, ...], data: object) -> None:
    assert read_arrays(described("u1", "|", (3,), bytes(3)))["data"].tolist() == [0, 0, 0]
    with pytest.raises(UnsafePickleError):
        read_arrays(described(code, "|", shape, data))


def test_a_pickle_that_is_no_batch_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"weights": DATA}))
    with pytest.raises(DataError, match=r"has no array 'data' of bytes \[N, 3 \* H \* W\], only weights"):
        find(str(tmp_path / "data_batch_1"))
