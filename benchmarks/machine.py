"""Where results are written, and the origin of each: the machine, the commit and the command."""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from ganloom.core.device import computes_in_bf16

RESULTS = Path(__file__).parent / "results"


def origin() -> dict[str, Any]:
    """What a row was measured on, at which commit, and with which command."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {
        "machine": {
            "processor": processor(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "bf16": computes_in_bf16(torch.device("cpu")),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "commit": commit.stdout.strip() or None,
        "command": " ".join(["python", *(Path(arg).name if Path(arg).exists() else arg for arg in sys.argv)]),
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def write(name: str, results: Any, depth: int = 1) -> Path:
    """Write results. `depth`: levels above the rows; 0 for a single row, 1 for a list of rows or rows by name.

    Every row gets its origin; rows of an earlier call of the command keep theirs.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"results": with_origin(results, depth, origin())}, indent=2) + "\n")
    return path


def with_origin(results: Any, depth: int, here: dict[str, Any]) -> Any:
    if depth == 0:
        return here | results
    if isinstance(results, list):
        return [with_origin(each, depth - 1, here) for each in results]
    return {name: with_origin(each, depth - 1, here) for name, each in results.items()}
