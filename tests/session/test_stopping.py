"""Signals while training: the first is remembered, and what a person has silenced stays silent."""

import signal
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ganloom.core.distributed import World
from ganloom.session.loop import End, received, stop_wanted
from ganloom.session.stopping import Stopped, StopSignals

unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before
    signal.signal(signal.SIGHUP, hangup)


@unix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_remembered(number: signal.Signals) -> None:
    with StopSignals() as signals:
        assert signals.received is None
        signal.raise_signal(number)
        assert signals.received == number


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), StopSignals():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


@unix
def test_a_hangup_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGHUP)
            assert signals.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_may_be_left_undone_is_cut_short() -> None:
    with StopSignals() as signals:
        with pytest.raises(Stopped), signals.interrupting():
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped), signals.interrupting():
            pytest.fail("it had come already")


def test_all_processes_stop_for_the_signal_that_one_of_them_has_received() -> None:
    """This one has received none, and must not take the end for that of the training."""
    other = SimpleNamespace(largest=lambda number, device: max(number, signal.SIGTERM))
    step: Any = SimpleNamespace(world=other, device="cpu")
    with StopSignals() as signals:
        assert received(step, signals) == signal.SIGTERM
        assert stop_wanted(step, None, 1.0, signals) == End(1.0, stopped_by=signal.SIGTERM)


@pytest.mark.parametrize("reason", ["it is late", ""])
def test_a_callback_stops_without_a_signal(reason: str) -> None:
    step: Any = SimpleNamespace(world=World(), device="cpu")
    recorder: Any = SimpleNamespace(notify=SimpleNamespace(stop_reason=None))
    with StopSignals() as signals:
        assert stop_wanted(step, recorder, 1.0, signals) is None
        recorder.notify.stop_reason = reason
        assert stop_wanted(step, recorder, 1.0, signals) == End(1.0, asked=reason)
