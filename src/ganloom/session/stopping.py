"""Ctrl-C, SIGTERM, a closed terminal: finish the step, save, and say how to go on."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Self

__all__ = ["StopSignals", "Stopped"]


HEARD = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]  # Windows lacks one


class Stopped(Exception):  # noqa: N818 (nothing is wrong)
    """Something that may be left undone was cut short by a signal."""


class StopSignals:
    """While entered, the first SIGINT, SIGTERM or SIGHUP only raises a flag; a second SIGINT interrupts at once.

    A SIGHUP that is ignored, as under nohup, stays so.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._at_once = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python does not allow handlers
            for number in HEARD:
                if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Raises `Stopped` in the midst of what it holds when a signal comes, or has come."""
        self._at_once = True
        try:
            if self.received is not None:
                raise Stopped
            yield
        finally:
            self._at_once = False

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        if self._at_once:
            self._at_once = False
            raise Stopped
