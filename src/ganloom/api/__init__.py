"""What a Python user calls; the command line calls the same. The package `ganloom` exports it."""

from ganloom.api.images import inspect, open_dataset, prepare, unpack
from ganloom.api.run import Run, open_run
from ganloom.api.training import Plan, plan, resume, train

__all__ = [
    "Plan",
    "Run",
    "inspect",
    "open_dataset",
    "open_run",
    "plan",
    "prepare",
    "resume",
    "train",
    "unpack",
]
