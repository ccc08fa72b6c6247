"""The time of the convolutions and matrix products of a training step alone: a bound on its speed."""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["calls_of", "seconds_of"]

aten = torch.ops.aten
COUNTED = (aten.convolution.default, aten.convolution_backward.default, aten.mm.default, aten.addmm.default)
REPETITIONS = 30


class Layout(NamedTuple):
    """Everything about a tensor but its values."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Call(NamedTuple):
    """An operator with its arguments; tensors are given by their layouts."""

    operator: Any
    arguments: tuple[Any, ...]


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[Call] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in COUNTED:
            self.calls[Call(func, tuple(_frozen(each) for each in args))] += 1
        return func(*args, **(kwargs or {}))


def _frozen(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return Layout(tuple(argument.shape), argument.stride(), argument.dtype)
    return tuple(argument) if isinstance(argument, list) else argument


def calls_of(work: Callable[[], object]) -> Counter[Call]:
    """Which of these operators `work` calls, forward and backward, with which layouts, and how often."""
    with _Recorder() as recorder:
        work()
    return recorder.calls


def seconds_of(call: Call) -> float:
    """The median time of a call that is repeated alone."""
    arguments = [
        torch.empty_strided(each.size, each.stride, dtype=each.dtype).normal_() if isinstance(each, Layout) else each
        for each in (list(each) if type(each) is tuple else each for each in call.arguments)
    ]
    taken = []
    with torch.no_grad():
        for _ in range(REPETITIONS):
            began = time.perf_counter()
            call.operator(*arguments)
            taken.append(time.perf_counter() - began)
    return statistics.median(taken[REPETITIONS // 3 :])
