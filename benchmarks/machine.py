"""What a result was measured on, and where it is written."""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from ganloom.core.device import computes_in_bf16

RESULTS = Path(__file__).parent / "results"


def describe() -> dict[str, Any]:
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return {
        "command": " ".join(["python", *(Path(arg).name if Path(arg).exists() else arg for arg in sys.argv)]),
        "commit": commit.stdout.strip(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16": computes_in_bf16(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def write(name: str, results: Any) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": describe(), "results": results}, indent=2) + "\n")
    return path
