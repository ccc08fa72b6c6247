"""What this machine has, and what ganloom will use."""

import os
import platform
import shutil
from pathlib import Path

import torch

from ganloom.core.device import choose_device, computes_in_bf16, device_name
from ganloom.core.files import cache_folder
from ganloom.core.packages import is_installed, version_of
from ganloom.core.version import __version__

__all__ = ["report"]

EXTRAS = {  # extra: (module, what for)
    "medical": ("pydicom", "DICOM files"),
    "lmdb": ("lmdb", "the LSUN datasets"),
    "parquet": ("pyarrow", "parquet files of images"),
    "hf": ("datasets", "datasets of Hugging Face"),
    "onnx": ("onnxruntime", "custom extractors in ONNX files"),
    "wandb": ("wandb", "tracking with Weights & Biases"),
}


def report() -> str:
    """A table for the user, and for bug reports."""
    device = choose_device("auto")
    cuda = f"{torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else "none"
    lines = [
        ("ganloom", __version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("torch", torch.__version__),
        ("cores", str(os.cpu_count())),
        ("cuda", cuda),
        ("mps", "available" if torch.backends.mps.is_available() else "none"),
        ("cache", f"{cache_folder()} ({_free(cache_folder())} free)"),
    ]
    for extra, (module, purpose) in EXTRAS.items():
        have = version_of(module) if is_installed(module) else f"missing: pip install 'ganloom[{extra}]'"
        lines.append((extra, f"{have} ({purpose})"))
    lines.append(
        ("bf16", "supported" if computes_in_bf16(device) else "not supported by this device: float32 is faster")
    )
    lines.append(("will use", device_name(device)))
    return "\n".join(f"{name:<9} {text}" for name, text in lines)


def _free(folder: Path) -> str:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return f"{shutil.disk_usage(there).free / 2**30:.0f} GiB"
