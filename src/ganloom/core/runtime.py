"""Settings of the whole process that make training faster: applied by the command line, offered to Python users.

Nothing here imports torch at the top: some of it must be set before.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

__all__ = ["flushed_denormals", "set_environment", "tune_process"]

# Options of glibc's mallopt (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1


def tune_process() -> None:
    """Set this process up as the command line does, for faster training. Call it once, at the start of a script.

    Freed memory is kept for the next tensors instead of being returned to the system (glibc only): a step frees and
    asks again for the same large blocks, and the kernel would have to clear every page again. The process then holds on
    to the largest amount of memory that it ever used. This cannot be undone, which is why `ganloom.train` does not do
    it on its own.

    >>> import ganloom
    >>> ganloom.tune_process()
    """
    set_environment()
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library has nothing to set
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, NEVER)


def set_environment() -> None:
    """Environment variables that torch reads when it is imported; those that are set already are left alone."""
    # How long OpenMP's threads spin before they sleep. Its default starves a busy machine (94 img/s where this gives
    # 417), not to spin at all slows a quiet one (730 against 1,180): measured on two cores, digits recipe.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # what Apple's GPUs cannot do yet, such as ADA's backward


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """While entered, numbers too small for full precision count as 0 in this thread: CPUs are slow at them.

    Part of a training's arithmetic, so every training has it; afterwards the caller's setting is back.
    """
    import torch

    before = bool(torch.tensor(1e-40).mul(0.5) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
