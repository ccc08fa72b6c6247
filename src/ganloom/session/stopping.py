"""Ctrl-C, SIGTERM, a closed terminal: finish the step, save, and say how to resume."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Self

__all__ = ["StopSignals", "Stopped"]

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
HANDLED = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]  # Windows has no SIGHUP


class Stopped(Exception):  # noqa: N818 (nothing is wrong)
    """Work that may be left undone was cut short by a signal."""


class StopSignals:
    """While entered, the first SIGINT, SIGTERM or SIGHUP only sets `received`; a second SIGINT interrupts at once.

    A SIGHUP that is ignored, as under nohup, stays ignored. Outside the main thread, where Python allows no signal
    handlers, nothing is handled. The caller's own handlers are back afterwards.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._interrupts = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in HANDLED:
                if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not installed from Python, which cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raise `Stopped` inside the block as soon as a signal comes, or at once if one has come."""
        self._interrupts = True
        try:
            if self.received is not None:
                raise Stopped
            yield
        finally:
            self._interrupts = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        if self._interrupts:
            self._interrupts = False
            raise Stopped
