"""Phases: whatever may take seconds has a name, and says so while it lasts.

On a terminal a phase is a bar. Anywhere else it is a plain line after a second, and further ones ever less often: in a
file of the output they say what took how long. A phase that ends at once says nothing.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from ganloom.core.terminal import log, terminal
from ganloom.core.words import printable

__all__ = ["Phase", "Watch", "phase"]

TICK_SECONDS = 0.5  # between two looks at the clock
FIRST_SECONDS = 1.0  # without a line until a phase says its name
MIN_SECONDS, MAX_SECONDS = 5.0, 30.0  # without a line until it speaks again: a quarter of its time, within these limits
REDRAW_SECONDS = 1.0  # between two drawings beside a training: drawing takes time from it, ten times a second 3 %


def _thousands(count: float) -> str:
    return f"{count:,.0f}"


class Phase:
    """Something that is being done. Call it with what is done and what there is in all, as far as that is known."""

    def __init__(self, name: str, began: float, unit: Callable[[float], str] = _thousands) -> None:
        self.name, self.began, self.unit = printable(name), began, unit
        self.done = 0.0
        self.total: float | None = None
        self.was_shown = False
        self.screen: Callable[[], Iterable[RenderableType]] | None = None  # what to draw in place of a bar
        self.words: Callable[[], str] = str  # what to say in place of name, counts and seconds, unless it is empty

    def __call__(self, done: float, total: float | None = None) -> None:
        self.done, self.total = done, total

    @property
    def count(self) -> str:
        """`320 of 2,000`; empty while nothing is counted."""
        if self.total is None:
            return self.unit(self.done) if self.done else ""
        return f"{self.unit(self.done)} of {self.unit(self.total)}"

    def line(self, now: float) -> str:
        """What a file of the output gets."""
        if words := self.words():
            return words
        seconds = now - self.began
        known = [part for part in (self.count, f"{seconds:.0f} s" if seconds >= MIN_SECONDS else "") if part]
        return f"{self.name}: {', '.join(known)}" if known else f"{self.name} ..."

    def patience(self, now: float) -> float:
        """Seconds without a line after which it speaks."""
        return min(max(MIN_SECONDS, (now - self.began) / 4), MAX_SECONDS) if self.was_shown else FIRST_SECONDS


class Watch:
    """Looks at the phases that last, from a thread: work that takes a minute in one call cannot speak for itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, threaded: bool = True) -> None:
        self.phases: list[Phase] = []  # the innermost is the last
        self._clock, self._threaded = clock, threaded
        self._last_line_at = clock()  # when the last line came
        self._display: _Display | None = None
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def line_logged(self) -> None:
        """A line has been logged, by whomever."""
        self._last_line_at = self._clock()
        for innermost in self.phases[-1:]:  # a copy: another thread may be leaving it
            innermost.was_shown = True

    @contextlib.contextmanager
    def phase(self, name: str, unit: Callable[[float], str] = _thousands) -> Iterator[Phase]:
        entered = Phase(name, self._clock(), unit)
        self.phases.append(entered)
        if len(self.phases) == 1:
            self._start()
        try:
            yield entered
        finally:
            self.leave(entered)

    def leave(self, phase: Phase) -> None:
        self.phases.remove(phase)
        if not self.phases:
            self._end()

    def tick(self) -> None:
        """Say or draw what is due."""
        phases, now = self.phases[:], self._clock()
        if not phases:
            return
        if self._display is not None:
            self._display.draw(phases, now)
        elif now - self._last_line_at >= phases[-1].patience(now):
            log.info(phases[-1].line(now))  # a line, so `line_logged` takes note

    def _start(self) -> None:
        if not log.isEnabledFor(logging.INFO):
            return  # nobody listens
        self._display = _Display() if terminal().is_terminal else None
        if self._threaded:
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._stop,), name="ganloom phases", daemon=True)
            self._thread.start()

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(TICK_SECONDS):
            self.tick()

    def _end(self) -> None:
        if self._stop is not None and self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._stop = self._thread = None
        if self._display is not None:
            self._display.close()
            self._display = None


class _Display:
    """The phases that last as bars at the bottom of the terminal, below everything that is printed meanwhile."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[count]}"),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            auto_refresh=False,
        )
        self._tasks: dict[Phase, Task] = {}  # of the phases that last
        self._phases: list[Phase] = []
        self._live = Live(
            console=terminal(), get_renderable=self._render, auto_refresh=False, transient=True, redirect_stderr=False
        )
        self._drawn_at = float("-inf")

    def draw(self, phases: list[Phase], now: float) -> None:
        if phases[-1].screen is not None and now - self._drawn_at < REDRAW_SECONDS:
            return
        self._phases, self._drawn_at = phases, now
        if not self._live.is_started:
            self._live.start()
        self._live.refresh()

    def close(self) -> None:
        if self._live.is_started:
            self._live.stop()

    def _render(self) -> RenderableType:
        for ended in self._tasks.keys() - self._phases:
            self._bars.remove_task(self._tasks.pop(ended).id)
        screens = [part for phase in self._phases if phase.screen for part in phase.screen()]
        tasks = [self._task(phase) for phase in self._phases if phase.screen is None]
        return Group(*screens, self._bars.make_tasks_table(tasks)) if tasks else Group(*screens)

    def _task(self, phase: Phase) -> Task:
        if phase not in self._tasks:
            added = self._bars.add_task(phase.name, total=None, count="")
            self._tasks[phase] = next(each for each in self._bars.tasks if each.id == added)
        task = self._tasks[phase]
        self._bars.update(task.id, completed=phase.done, total=phase.total, count=phase.count)
        return task


class _Rate(ProgressColumn):
    """How many per second, of what is counted."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed and task.total else "")


class _LineObserver(logging.Handler):
    """Tells the watch of every line."""

    def emit(self, record: logging.LogRecord) -> None:
        WATCH.line_logged()


WATCH = Watch()
log.addHandler(_LineObserver())


@contextlib.contextmanager
def phase(name: str, unit: Callable[[float], str] = _thousands) -> Iterator[Phase]:
    """Name what is done in the block. `unit` writes a count, for others than thousands such as bytes.

    >>> with phase("scoring run") as progress:
    ...     for number in range(3):
    ...         progress(number + 1, 3)
    >>> progress.count
    '3 of 3'
    """
    with WATCH.phase(name, unit) as entered:
        yield entered
