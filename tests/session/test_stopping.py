"""Signals while training: the first is remembered, and what a person has silenced stays silent."""

import signal
import sys
from collections.abc import Iterator

import pytest

from ganloom.session.stopping import Stopped, StopSignals

unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


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
