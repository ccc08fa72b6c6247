"""The exceptions of ganloom: every error that the user can fix is a `GanloomError` whose message names the remedy."""

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
    """Base of every error that the user can fix. The command line prints it without a traceback and exits with 2."""


class ConfigError(GanloomError):
    """The configuration has a key, value, recipe or name that cannot be used."""


class DataError(GanloomError):
    """Images are missing, unreadable or not in the expected format."""


class DeviceError(GanloomError):
    """This machine, or this build of PyTorch, does not have the device."""


class ModelError(GanloomError):
    """A file is not a valid model, or the model does not support what was asked."""


class RunError(GanloomError):
    """A run folder is missing, already exists, or cannot be resumed."""


class StorageError(GanloomError):
    """The disk is full, not writable or not available. Everything saved before is still valid."""


class Interrupted(KeyboardInterrupt):
    """A signal, such as Ctrl-C's, stopped the training; what it had learned is saved. `signal` says which."""

    def __init__(self, signal: Signals) -> None:
        super().__init__(f"{signal.name}: what was learned is saved, and 'resume' continues it")
        self.signal = signal
