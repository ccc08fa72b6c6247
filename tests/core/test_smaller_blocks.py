"""Memory that does not suffice: smaller blocks, or one message."""

import errno
import subprocess
import sys

import numpy as np
import pytest
import torch

from ganloom.core import memory
from ganloom.core.errors import OutOfMemoryError
from ganloom.core.memory import Blocks, check_memory, is_out_of_memory, memory_errors

ERRORS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("could not create a primitive"),  # oneDNN's
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


with pytest.raises(MemoryError) as from_numpy:
    np.empty(2**60, np.uint8)
ERRORS.append(from_numpy.value)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_block_that_does_not_fit_is_done_in_halves_and_only_once(error: Exception) -> None:
    seen: list[int] = []

    def work(rows: slice) -> list[int]:
        seen.append(rows.stop - rows.start)
        if seen[-1] > 3:
            raise error
        return list(range(rows.start, rows.stop))

    assert [row for part in Blocks(100).over(10, work) for row in part] == list(range(10))
    assert seen == [10, 5, 3, 3, 3, 1]


def test_what_does_not_fit_even_alone_is_an_error_and_so_is_any_other_fault() -> None:
    def fail(error: Exception) -> None:
        def work(rows: slice) -> None:
            raise error

        list(Blocks(4).over(4, work))

    with pytest.raises(MemoryError):
        fail(MemoryError())
    with pytest.raises(RuntimeError, match="shapes"):
        fail(RuntimeError("shapes do not match"))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_out_of_memory_is_one_message_with_the_remedy(error: Exception) -> None:
    said = r"^out of memory while counting( \(.+\))?\. Count less\.$"
    with pytest.raises(OutOfMemoryError, match=said), memory_errors("counting", "Count less."):
        raise error


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(OSError, match="No space"), memory_errors("counting", "Count less."):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_what_cannot_fit_is_refused_before_the_system_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 2**30)
    check_memory(2**30, "features")
    said = r"^out of memory while counting \(features take 3 GiB, and 1 GiB are free\)\. Use fewer\.$"
    with pytest.raises(OutOfMemoryError, match=said), memory_errors("counting", "Use fewer."):
        check_memory(3 * 2**30, "features")
    monkeypatch.setattr(memory, "free_memory", lambda: None)  # not Linux
    check_memory(2**60, "features")


LIMITED = """
import resource, sys
import numpy as np
import torch
from ganloom.core.memory import Blocks, memory_errors
from ganloom.metrics import prdc

torch.set_num_threads(1)
x, y = np.random.default_rng(0).standard_normal((2, 5000, 8)).astype(np.float32)
expected = prdc.neighbourhoods(x, y)
used = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize"))) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 60 * 2**20, -1))
sizes = []
over = Blocks.over
def noted(self, count, work):
    yield from over(self, count, work)
    sizes.append(self.size)
Blocks.over = noted
for a, b in zip(expected, prdc.neighbourhoods(x, y)):
    np.testing.assert_array_equal(a, b)
assert min(sizes) < prdc.PAIRS // 5000, sizes
with memory_errors("making room", "Use less."):
    np.empty(2**36)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the memory of a process")
def test_under_a_real_limit_the_distances_are_the_same_and_the_rest_is_one_message() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ganloom.core.errors.OutOfMemoryError: out of memory while making room ("), done.stderr
    assert last.endswith("). Use less."), done.stderr
