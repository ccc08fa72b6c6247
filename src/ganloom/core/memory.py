"""How this process asks the operating system for memory."""

import ctypes
import sys

import torch

__all__ = ["is_out_of_memory", "keep_freed_memory"]

# Options of glibc's mallopt (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep memory that tensors have freed for the next ones, instead of returning it.

    A step frees and asks again for the same large blocks; glibc returns each at once, and the kernel then has to hand
    out and clear every page anew. On other systems this does nothing. Measured by benchmarks/step.py.
    """
    if sys.platform != "linux":
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    except (OSError, AttributeError):
        pass  # another C library: nothing to set


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch says that memory does not suffice, in the words of CUDA, of MPS or of the CPU."""
    words = ("out of memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(part in str(error) for part in words)
    )
