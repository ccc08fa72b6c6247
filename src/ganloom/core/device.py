"""Choose the device that tensors live on, and what it is called and capable of."""

import os

import torch

from ganloom.core.device_kinds import check_kind
from ganloom.core.errors import DeviceError
from ganloom.core.words import counted

__all__ = [
    "check_processes",
    "choose_device",
    "computes_in_bf16",
    "cpu_instructions",
    "device_name",
    "to_device",
]

PROCESSES_PER_CORE = 4  # more are a mistake, not a wish


def choose_device(kind: str = "auto") -> torch.device:
    """The device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. Raises `DeviceError` if this machine does not have it.

    Under `torchrun`, each process uses the GPU of its local rank.
    """
    check_kind(kind)
    name, _, index = kind.partition(":")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError("this PyTorch sees no CUDA GPU: use --device cpu, or install a CUDA build of PyTorch.")
        number = int(index or os.environ.get("LOCAL_RANK", "0"))
        if number >= torch.cuda.device_count():
            raise DeviceError(f"there is no GPU number {number}: this machine has {torch.cuda.device_count()}.")
        torch.cuda.set_device(number)
        return torch.device("cuda", number)
    if name == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("this machine has no Apple GPU that PyTorch can use: use --device cpu.")
    return torch.device(name)


def check_processes(processes: int, kind: str) -> None:
    """Raise `DeviceError` if this machine has too few GPUs or cores for that many processes.

    Each loads PyTorch, some hundred megabytes: a number with a few zeros too many would take the machine down.
    """
    device = choose_device(kind)
    cores = os.cpu_count() or 1
    if processes > PROCESSES_PER_CORE * cores:
        raise DeviceError(
            f"{processes:,} processes are too many for this machine's {counted(cores, 'core')}: use one per GPU, "
            f"or on a CPU {cores} at most."
        )
    if processes > 1 and device.type == "mps":
        raise DeviceError("several processes cannot share an Apple GPU: use --device cpu, or one process.")
    if processes > 1 and ":" in kind:
        raise DeviceError(
            f"{processes} processes cannot share {kind}: use --device cuda, which gives each its own GPU."
        )
    if device.type == "cuda" and processes > torch.cuda.device_count():
        raise DeviceError(
            f"{processes} processes need one GPU each, and this machine has {torch.cuda.device_count()}: "
            f"start fewer, or use --device cpu."
        )


def device_name(device: torch.device) -> str:
    """`cpu (2 threads)` or `cuda:0 (NVIDIA H200)`."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({counted(torch.get_num_threads(), 'thread')})" if device.type == "cpu" else str(device)


def cpu_instructions() -> str:
    """The instruction set that PyTorch uses on this CPU, such as `AVX2`. With another, sums are rounded differently."""
    return torch.backends.cpu.get_cpu_capability()


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor to a device; to a GPU from pinned memory, so that the CPU does not wait for the copy."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 instructions. Others emulate them; most CPUs then run slower than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
