"""The exceptions of ganloom: every error that the user can fix is a `GanloomError` whose message names the remedy."""

from signal import Signals

from ganloom.core.words import printable_lines

__all__ = [
    "AGAIN",
    "ConfigError",
    "DataError",
    "DeviceError",
    "GanloomError",
    "Interrupted",
    "ModelError",
    "OutOfMemoryError",
    "RunError",
    "SizesDifferError",
    "StorageError",
    "UnsuitableError",
]

AGAIN = "download, copy or save it again"  # the remedy for a damaged file


class GanloomError(Exception):
    """Base of every error that the user can fix. The command line prints it without a traceback and exits with 2."""

    def __str__(self) -> str:
        """The message, fit to be printed: it may hold names from files that anybody may have written."""
        return printable_lines(super().__str__())


class ConfigError(GanloomError):
    """The configuration has a key, value, recipe or name that cannot be used."""


class DataError(GanloomError):
    """Images are missing, unreadable or not in the expected format."""


class SizesDifferError(DataError):
    """The images differ in size, and no size was chosen for all."""

    def __init__(self, fact: str) -> None:
        super().__init__(f"{fact}: choose one size for all with --size.")
        self.fact = fact  # which images differ; the remedy depends on the command


class UnsuitableError(DataError, ConfigError):
    """A setting of `data` that is not for these images: they lack the class, folder or column that it names."""


class DeviceError(GanloomError):
    """This machine, or this build of PyTorch, does not have the device."""


class ModelError(GanloomError):
    """A file is not a valid model, or the model does not support what was asked."""


class OutOfMemoryError(GanloomError):
    """Memory does not suffice, even for the smallest pieces of the work."""


class RunError(GanloomError):
    """A run folder is missing, already exists, or cannot be resumed."""


class StorageError(GanloomError):
    """The disk is full, not writable or not available. Everything saved before is still valid."""


class Interrupted(KeyboardInterrupt):
    """A signal, such as Ctrl-C's, stopped the training; what it had learned is saved. `signal` says which."""

    def __init__(self, signal: Signals) -> None:
        super().__init__(f"{signal.name}: what was learned is saved, and 'resume' continues it")
        self.signal = signal
