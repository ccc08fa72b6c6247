"""What this machine has, and what ganloom will make of it."""

import importlib.metadata
import os
import platform
import shutil
from importlib.util import find_spec
from pathlib import Path

import torch

from ganloom import __version__
from ganloom.core.device import choose_device, device_name
from ganloom.core.files import cache_folder
from ganloom.training.step import uses_bf16

__all__ = ["report"]

EXTRAS = {  # extra: (module, what for)
    "medical": ("pydicom", "DICOM files"),
    "lmdb": ("lmdb", "the LSUN datasets"),
    "hf": ("datasets", "datasets of Hugging Face"),
    "onnx": ("onnxruntime", "extractors of your own in ONNX files"),
    "wandb": ("wandb", "tracking with Weights & Biases"),
}


def report() -> str:
    """A table for people, and for bug reports."""
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
        have = importlib.metadata.version(module) if find_spec(module) else f"missing: pip install 'ganloom[{extra}]'"
        lines.append((extra, f"{have} ({purpose})"))
    precision = "bf16" if uses_bf16("auto", device) else "float32"
    lines.append(("will use", f"{device_name(device)}, {precision}"))
    return "\n".join(f"{name:<9} {text}" for name, text in lines)


def _free(folder: Path) -> str:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return f"{shutil.disk_usage(there).free / 2**30:.0f} GiB"
