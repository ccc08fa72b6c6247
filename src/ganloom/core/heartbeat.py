"""Name the process of a training that does not answer: stopped, or on a machine that hangs. The others wait for it, and
would do so without a word.
"""

import sys
import threading
import time
from typing import Protocol

from ganloom.core.terminal import log

__all__ = ["Heartbeat", "Store"]

INTERVAL = 5.0  # seconds between two signs of life
PATIENCE = 60.0  # seconds without one until it is said


class Store(Protocol):
    """What is needed of torch's stores of keys and values."""

    def set(self, key: str, value: str) -> None: ...

    def get(self, key: str) -> bytes: ...

    def check(self, keys: list[str]) -> bool: ...


class Heartbeat:
    """A thread that gives signs of life of this process, and watches for those of the others.

    It takes no part in the training: what it sees is said and changes nothing.
    """

    def __init__(self, store: Store, rank: int, size: int, prefix: str) -> None:
        """`store` must not be used by anybody else: some of its calls wait."""
        self._store, self._rank, self._size, self._prefix = store, rank, size, prefix
        now = time.monotonic()
        self._seen = {other: (b"", now) for other in range(size) if other != rank}  # last sign, and when it came
        self._named: set[int] = set()  # silent processes that this one has named
        self._beats = 0
        self._checked = now
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> "Heartbeat":
        self._thread.start()
        return self

    def close(self) -> None:
        self._ended.set()
        self._thread.join(INTERVAL)

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            try:
                self.beat(time.monotonic())
            except RuntimeError:  # the store is gone: the training ends, and says why itself
                return

    def beat(self, now: float) -> None:
        """Give a sign of life, and say which processes have become silent, or have answered again."""
        self._beats += 1
        self._store.set(f"{self._prefix}/{self._rank}", str(self._beats))
        if now - self._checked > PATIENCE / 2:  # it was this process that did not run
            self._seen = {other: (sign, now) for other, (sign, _) in self._seen.items()}
        self._checked = now
        for other, (sign, _) in self._seen.items():
            key = f"{self._prefix}/{other}"
            newest = self._store.get(key) if self._store.check([key]) else b""
            if newest != sign:
                self._seen[other] = (newest, now)
        silent = {other for other, (_, since) in self._seen.items() if now - since > PATIENCE}
        for other in sorted(self._named - silent):
            self._named.remove(other)
            self._say(f"process {other} of {self._size} (rank {other}) answers again")
        if self._rank > min({*range(self._size)} - silent):
            return  # one says it for all
        for other in sorted(silent - self._named):
            self._named.add(other)
            self._say(
                f"process {other} of {self._size} (rank {other}) has not answered for {PATIENCE:.0f} seconds, and the "
                "others wait for it. Is it stopped, or its machine down? They continue as soon as it does."
            )

    def _say(self, text: str) -> None:
        if self._rank == 0:
            log.warning(text)
        else:  # only the first process shows the log
            sys.stderr.write(f"warning: {text}\n")
