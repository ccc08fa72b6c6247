"""ganloom: train GANs on your own images."""

import importlib
from typing import TYPE_CHECKING

from ganloom.core.version import __version__

if TYPE_CHECKING:
    from ganloom.api.images import inspect as inspect
    from ganloom.api.images import open_dataset as open_dataset
    from ganloom.api.images import prepare as prepare
    from ganloom.api.images import unpack as unpack
    from ganloom.api.run import Run as Run
    from ganloom.api.run import open_run as open_run
    from ganloom.api.training import Plan as Plan
    from ganloom.api.training import plan as plan
    from ganloom.api.training import resume as resume
    from ganloom.api.training import train as train
    from ganloom.config import Config as Config
    from ganloom.core.errors import ConfigError as ConfigError
    from ganloom.core.errors import DataError as DataError
    from ganloom.core.errors import DeviceError as DeviceError
    from ganloom.core.errors import GanloomError as GanloomError
    from ganloom.core.errors import Interrupted as Interrupted
    from ganloom.core.errors import ModelError as ModelError
    from ganloom.core.errors import OutOfMemoryError as OutOfMemoryError
    from ganloom.core.errors import RunError as RunError
    from ganloom.core.errors import StorageError as StorageError
    from ganloom.core.runtime import tune_process as tune_process
    from ganloom.core.shapes import ImageShape as ImageShape
    from ganloom.data.dataset import Dataset as Dataset
    from ganloom.data.inspect import Findings as Findings
    from ganloom.data.inspect import Sizes as Sizes
    from ganloom.data.view import SplitView as SplitView
    from ganloom.evaluation.comparing import Comparison as Comparison
    from ganloom.evaluation.comparing import compare as compare
    from ganloom.evaluation.measuring import evaluate as evaluate
    from ganloom.metrics.scores import Score as Score
    from ganloom.metrics.scores import Scores as Scores
    from ganloom.models.modelfile import Header as Header
    from ganloom.planning.defaults import Reason as Reason
    from ganloom.runs import Change as Change
    from ganloom.runs import Facts as Facts
    from ganloom.runs import RunFolder as RunFolder
    from ganloom.runs import Status as Status
    from ganloom.session.events import TrainingEvent as TrainingEvent
    from ganloom.synthesis.model import Model as Model
    from ganloom.synthesis.model import load as load
    from ganloom.tracking import Event as Event
    from ganloom.tracking import Tracker as Tracker

# Public names are imported when they are first used, so that `import ganloom` does not import torch. Type checkers read
# the imports above; a test compares the two lists.
_MODULES = {
    "Change": "runs",
    "Comparison": "evaluation.comparing",
    "Config": "config",
    "ConfigError": "core.errors",
    "DataError": "core.errors",
    "Dataset": "data.dataset",
    "DeviceError": "core.errors",
    "Event": "tracking",
    "Facts": "runs",
    "Findings": "data.inspect",
    "GanloomError": "core.errors",
    "Header": "models.modelfile",
    "ImageShape": "core.shapes",
    "Interrupted": "core.errors",
    "Model": "synthesis.model",
    "ModelError": "core.errors",
    "OutOfMemoryError": "core.errors",
    "Plan": "api.training",
    "Reason": "planning.defaults",
    "Run": "api.run",
    "RunError": "core.errors",
    "RunFolder": "runs",
    "Score": "metrics.scores",
    "Scores": "metrics.scores",
    "Sizes": "data.inspect",
    "SplitView": "data.view",
    "Status": "runs",
    "StorageError": "core.errors",
    "Tracker": "tracking",
    "TrainingEvent": "session.events",
    "compare": "evaluation.comparing",
    "evaluate": "evaluation.measuring",
    "inspect": "api.images",
    "load": "synthesis.model",
    "open_dataset": "api.images",
    "open_run": "api.run",
    "plan": "api.training",
    "prepare": "api.images",
    "resume": "api.training",
    "train": "api.training",
    "tune_process": "core.runtime",
    "unpack": "api.images",
}

__all__ = [
    "Change",
    "Comparison",
    "Config",
    "ConfigError",
    "DataError",
    "Dataset",
    "DeviceError",
    "Event",
    "Facts",
    "Findings",
    "GanloomError",
    "Header",
    "ImageShape",
    "Interrupted",
    "Model",
    "ModelError",
    "OutOfMemoryError",
    "Plan",
    "Reason",
    "Run",
    "RunError",
    "RunFolder",
    "Score",
    "Scores",
    "Sizes",
    "SplitView",
    "Status",
    "StorageError",
    "Tracker",
    "TrainingEvent",
    "__version__",
    "compare",
    "evaluate",
    "inspect",
    "load",
    "open_dataset",
    "open_run",
    "plan",
    "prepare",
    "resume",
    "train",
    "tune_process",
    "unpack",
]


if not TYPE_CHECKING:  # who would take every misspelt name for one of type Any

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module 'ganloom' has no attribute '{name}'")
        return getattr(importlib.import_module(f"ganloom.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
