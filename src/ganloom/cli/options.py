"""Arguments and options that several commands share, and what they do before they start."""

import importlib
from typing import Annotated, Any

import typer

from ganloom.core.flags import Flag
from ganloom.core.phases import phase

__all__ = [
    "DeviceOption",
    "ProcessesOption",
    "SetOption",
    "SourceArgument",
    "TrustOption",
    "WorkersOption",
    "as_option",
]

DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
SOURCES = "A folder, .zip, .tar, .npy, .npz, 'glob*.npz', dicom:FOLDER, FILE.py:ARGUMENT, or a dataset by name."
SourceArgument = Annotated[str, typer.Argument(help=SOURCES)]
TrustOption = Annotated[bool, typer.Option("--trust-code", help="Run the Python code that the model contains.")]
SetOption = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any key of the configuration; may be repeated.")
]
ProcessesOption = Annotated[int, typer.Option(min=1, help="Processes on this machine; usually one per GPU.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Threads. [default: one per core]")]


def as_option(flag: Flag) -> Any:
    """How typer shows a flag of a table."""
    return Annotated[flag.kind | None, typer.Option(flag.option, help=flag.help, metavar=flag.metavar, min=flag.min)]


def load_torch() -> None:
    """Import PyTorch, and say so where that takes long. A command first refuses what can be refused without."""
    with phase("loading PyTorch"):
        importlib.import_module("torch")
