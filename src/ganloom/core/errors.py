"""One exception tree. What a person can mend is a `GanloomError`, and its message names the remedy."""

from signal import Signals

__all__ = [
    "ConfigError",
    "DataError",
    "DeviceError",
    "GanloomError",
    "Interrupted",
    "ModelError",
    "RunError",
    "StorageError",
]


class GanloomError(Exception):
    """Base of every error a user can mend; the command line prints it without a traceback and exits with 2."""


class ConfigError(GanloomError):
    """A key, value, recipe or name in the configuration that cannot be used."""


class DataError(GanloomError):
    """Images that are missing, unreadable or not of the promised form."""


class DeviceError(GanloomError):
    """A device that this machine, or this PyTorch, does not have."""


class ModelError(GanloomError):
    """A model file that is not one, or cannot do what was asked of it."""


class RunError(GanloomError):
    """A run folder that exists, is missing, or cannot be continued."""


class StorageError(GanloomError):
    """A disk that is full, may not be written, or is gone for now; what was saved before is still valid."""


class Interrupted(KeyboardInterrupt):
    """A training was stopped by a signal, such as Ctrl-C's, after it was saved. `signal` is which one."""

    def __init__(self, signal: Signals) -> None:
        super().__init__(signal.name)
        self.signal = signal
