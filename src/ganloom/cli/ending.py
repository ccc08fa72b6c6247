"""How a command starts and ends: usable streams, and one message with exit code 2 for whatever goes wrong."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from ganloom.cli.output import say
from ganloom.core.errors import GanloomError
from ganloom.core.memory import is_out_of_memory

__all__ = ["DEBUG", "messages_for_errors", "note_interrupts", "open_streams"]

DEBUG = "GANLOOM_DEBUG"  # environment variable that `--debug` sets: the processes of one training inherit it
ISSUE = "This is a bug in ganloom: please report it with what 'ganloom --debug"


def open_streams() -> None:
    """Give standard streams that are closed, as services leave them, somewhere to write to.

    Otherwise the next file that is opened would take the place of standard output, and what is printed would go into
    it.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    sys.stdin = sys.stdin or open(0)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)


_interrupts: list[int] = []


def note_interrupts() -> None:
    """Remember that Ctrl-C was pressed, besides what it does."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        _interrupts.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)


@contextlib.contextmanager
def messages_for_errors() -> Iterator[None]:
    """While entered, an error ends the process with one message and exit code 2. With `--debug`, those that ganloom did
    not expect show Python's traceback instead.
    """
    try:
        try:
            yield
        finally:
            _flush()
    except GanloomError as error:
        _fail(str(error))
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        if _interrupts:  # Ctrl-C while a library is imported may be swallowed there, and leaves half of it
            raise SystemExit(128 + signal.SIGINT) from None
        _fail(_unexpected(error))


def _flush() -> None:
    """Write what is buffered now: when Python does it at exit, a full disk ends in a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise


def _unexpected(error: Exception) -> str:
    """What to say about an error that no other place has turned into a `GanloomError`."""
    command = next((word for word in sys.argv[1:] if word != "--debug"), "")
    if is_out_of_memory(error):
        return (
            f"'ganloom {command}' ran out of memory. Close other programs, or ask for less: fewer or smaller images, "
            "or smaller batches."
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}. Check the path."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: the output of 'ganloom {command}' could not be written. Check where it goes."
    reason = (str(error).splitlines() or [""])[0]
    return f"'ganloom {command}' failed with {type(error).__name__}: {reason}. {ISSUE} {command} ...' prints."


def _fail(message: str) -> NoReturn:
    """Print an error and exit: in several processes, only the one that reports it prints it."""
    if "WORLD_SIZE" in os.environ:
        from ganloom.core.distributed import reports_failure

        if not reports_failure():
            raise SystemExit(2) from None
    with contextlib.suppress(OSError):  # standard error may be full or closed, too
        say(f"error: {message}", error=True)
    raise SystemExit(2) from None
