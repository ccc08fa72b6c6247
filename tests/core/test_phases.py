"""What may take long has a name, and says so. The clock of these tests is set by hand."""

import itertools
import logging
import threading
from io import StringIO

import pytest
from rich.console import Console
from rich.filesize import decimal

from ganloom.core import phases
from ganloom.core.phases import FIRST_SECONDS, MAX_SECONDS, MIN_SECONDS, Watch
from ganloom.core.terminal import log, shown_on


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Time:
    """A watch, and a way to let time pass under it, half a second at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.watch = Watch(self.clock, threaded=False)
        monkeypatch.setattr(phases, "WATCH", self.watch)

    def passes(self, seconds: float) -> None:
        for _ in range(round(2 * seconds)):
            self.clock.now += 0.5
            self.watch.tick()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Time:
    caplog.set_level(logging.INFO, "ganloom")
    return Time(monkeypatch)


def test_a_phase_that_lasts_says_its_name_within_two_seconds(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    with phases.phase("timing a score"):
        time.passes(0.5)
        assert not caplog.messages
        time.passes(1.5)
    assert caplog.messages == ["timing a score ..."]


def test_a_phase_that_ends_at_once_says_nothing(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    with phases.phase("saving"):
        time.passes(0.5)
    assert not caplog.messages


def test_phases_that_are_short_one_by_one_are_not_silent_together(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(20):
        with phases.phase(f"part {number}"):
            time.passes(0.5)
    assert len(caplog.messages) >= 20 * 0.5 / (FIRST_SECONDS + 0.5)


def test_a_long_phase_speaks_again_and_again_but_not_too_often(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    spoke_at = []
    with phases.phase("features of flowers") as progress:
        for second in range(3600):
            progress(second, 3600)
            time.passes(1)
            if len(caplog.messages) > len(spoke_at):
                spoke_at.append(second)
    pauses = [after - before for before, after in itertools.pairwise(spoke_at)]
    assert min(pauses) >= MIN_SECONDS and max(pauses) <= MAX_SECONDS + 1
    assert pauses == sorted(pauses)
    assert len(spoke_at) < 150


def test_a_line_says_how_far_it_is(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    with phases.phase("features of flowers") as progress:
        progress(320, 2000)
        time.passes(2)
    with phases.phase("downloading flowers.zip", decimal) as progress:
        progress(5_000_000, 12_000_000)
        time.passes(2)
    with phases.phase("timing steps") as progress:  # nobody knows how many there will be
        progress(7)
        time.passes(6)
    assert caplog.messages == [
        "features of flowers: 320 of 2,000",
        "downloading flowers.zip: 5.0 MB of 12.0 MB",
        "timing steps: 7",
        "timing steps: 7, 6 s",
    ]


def test_the_innermost_phase_speaks(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    with phases.phase("evaluating"):
        with phases.phase("generating"):
            time.passes(2)
        time.passes(2)
    assert caplog.messages == ["generating ...", "evaluating ..."]


def test_other_lines_are_words_too(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    """A training that logs each second needs no lines besides."""
    with phases.phase("training"):
        for second in range(10):
            log.info("row %d", second)
            time.passes(1)
    assert all(message.startswith("row") for message in caplog.messages)


def test_a_phase_that_fails_has_ended(time: Time) -> None:
    with pytest.raises(ValueError), phases.phase("reading"):
        raise ValueError
    assert not time.watch.phases


def test_nothing_is_said_where_nobody_listens() -> None:
    watch = Watch()
    before = threading.active_count()
    with watch.phase("working"):
        assert threading.active_count() == before


def test_work_in_one_long_call_says_so_too(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The words come from a thread: nothing has to call anything in between."""
    caplog.set_level(logging.INFO, "ganloom")
    said = threading.Event()
    monkeypatch.setattr(phases, "TICK_SECONDS", 0.001)
    monkeypatch.setattr(phases, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(phases.log, "info", lambda line: said.set())
    with Watch().phase("one call"):
        assert said.wait(60)


def test_a_terminal_shows_bars_and_a_file_has_no_control_characters(time: Time) -> None:
    seen = {}
    for kind in (True, False):
        output = StringIO()
        with shown_on(Console(file=output, force_terminal=kind, width=100)), phases.phase("reading") as progress:
            progress(320, 2000)
            time.passes(3)
            with phases.phase("saving"):
                time.passes(3)
        seen[kind] = output.getvalue()
    assert "\x1b" in seen[True] and "320 of 2,000" in seen[True] and "saving" in seen[True]
    assert seen[False].splitlines() == ["reading: 320 of 2,000", "saving ..."]


def test_bars_that_ended_are_gone(time: Time) -> None:
    output = StringIO()
    with shown_on(Console(file=output, force_terminal=True, width=100)), phases.phase("training"):
        with phases.phase("saving"):
            time.passes(1)
        output.truncate(0)
        time.passes(1)
        assert "training" in output.getvalue() and "saving" not in output.getvalue()
