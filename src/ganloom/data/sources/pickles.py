"""Read arrays from a pickle without running anything in it.

Loading a pickle calls whatever functions it names. This reader calls none of them: the few names that a pickled array
consists of are replaced by records of this file, and every other name or instruction is refused. numpy's own
constructors are not called either, because they trust what they are given.
"""

import io
import math
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["UnsafePickleError", "read_arrays"]

TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "b1")
MAX_DIMENSIONS = 4


class UnsafePickleError(ValueError):
    """Raised for a pickle that holds more than a dictionary of arrays, lists, numbers and texts."""


def read_arrays(content: bytes) -> dict[str, Any]:
    """The arrays, lists, numbers and texts of a pickled dictionary, by key.

    Raises `UnsafePickleError` for a pickle that holds anything else, and nearly any exception for a damaged one.
    """
    try:
        values = _Reader(io.BytesIO(content), encoding="bytes").load()
    except KeyError as error:
        raise UnsafePickleError(f"it is damaged, or has an instruction that arrays do not need ({error})") from None
    return _built(values)


class _Type:
    """The type of an array, as a pickle describes it."""

    def __init__(self, *arguments: Any) -> None:
        code = arguments[0] if arguments else None
        self.code = code.decode("ascii") if isinstance(code, bytes) else code
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        self.order = order.decode("ascii") if isinstance(order, bytes) else order

    def numpy(self) -> np.dtype[Any]:
        if self.code not in TYPES or self.order not in ("<", ">", "=", "|"):
            raise UnsafePickleError(f"it holds an array of type {self.code!r}, not of numbers")
        return np.dtype(f"{self.order}{self.code}")


class _Array:
    """An array, as a pickle describes it."""

    def __init__(self, *arguments: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def numpy(self) -> NDArray[Any]:
        *_, shape, kind, fortran, data = self.state
        return _from_bytes(data, kind, shape, "F" if fortran is True else "C").numpy()


class _Buffer:
    """An array, as protocol 5 describes it."""

    def __init__(self, data: Any, kind: Any, shape: Any, order: Any) -> None:
        self.data, self.kind, self.shape, self.order = data, kind, shape, order

    def numpy(self) -> NDArray[Any]:
        if not isinstance(self.data, bytes | bytearray) or not isinstance(self.kind, _Type):
            raise UnsafePickleError("it holds an array whose content is not bytes")
        shape = self.shape
        if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS or not all(type(side) is int for side in shape):
            raise UnsafePickleError("it holds an array without a shape")
        if any(side < 0 for side in shape) or math.prod(shape) * self.kind.numpy().itemsize != len(self.data):
            raise UnsafePickleError(f"it holds an array of shape {shape} with {len(self.data)} bytes")
        return np.frombuffer(self.data, self.kind.numpy()).reshape(shape, order="F" if self.order == "F" else "C")


def _from_bytes(data: Any, kind: Any, shape: Any, order: Any) -> _Buffer:
    return _Buffer(data, kind, shape, order)


def _encode(text: Any, encoding: Any) -> bytes:
    """How Python 3 stores bytes in the protocols before 3."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise UnsafePickleError("it encodes a text other than bytes")
    return text.encode("latin1")


KNOWN = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
}
for _core in ("numpy.core", "numpy._core"):
    KNOWN[f"{_core}.multiarray", "_reconstruct"] = _Array
    KNOWN[f"{_core}.numeric", "_frombuffer"] = _from_bytes
"""All that a pickle may name, and what it gets instead."""


ALLOWED = """
    PROTO FRAME STOP MARK POP POP_MARK MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8
    SHORT_BINBYTES BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS GLOBAL STACK_GLOBAL REDUCE
"""
"""The instructions of a pickle that are followed, besides the two below."""


class _Reader(pickle._Unpickler):
    """Python's own reader in Python: the one in C reserves as much memory as a pickle says."""

    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        try:
            return KNOWN[module, name]
        except KeyError:
            raise UnsafePickleError(f"it calls {module}.{name}") from None

    def build(self) -> None:
        state, value = self.stack.pop(), self.stack[-1]
        if not isinstance(value, _Array | _Type):
            raise UnsafePickleError("it sets attributes")
        value.__setstate__(state)

    def byte_array(self) -> None:
        """The one of the library reserves the stated size before it reads."""
        self.stack.append(self.read(struct.unpack("<Q", self.read(8))[0]))

    read: Callable[[int], bytes]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **{code: pickle._Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in ALLOWED.split())},
        pickle.BUILD[0]: build,
        pickle.BYTEARRAY8[0]: byte_array,
    }


def _built(values: Any) -> dict[str, Any]:
    """The top of a pickle, with arrays built and texts of Python 2 as text."""
    if not isinstance(values, dict):
        raise UnsafePickleError("it is not a dictionary of arrays")
    return {_text(key): _value(value) for key, value in values.items()}


def _value(value: Any) -> Any:
    if isinstance(value, _Array | _Buffer):
        return value.numpy()
    if isinstance(value, list | tuple):
        return [_plain(_text(each)) for each in value]
    return _plain(_text(value))


def _plain(value: Any) -> Any:
    if value is None or type(value) in (int, float, bool, str):
        return value
    raise UnsafePickleError(
        f"it holds a {type(value).__name__.strip('_')} where an array, a number or a text should be"
    )


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
