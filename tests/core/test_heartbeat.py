"""A process that does not answer is named."""

import logging

import pytest

from ganloom.core.heartbeat import PATIENCE, Heartbeat


class Dictionary(dict[str, bytes]):
    """A store in memory."""

    def set(self, key: str, value: str) -> None:
        self[key] = value.encode()

    def get(self, key: str) -> bytes:  # type: ignore[override]
        return self[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self for key in keys)


class Processes:
    """Some processes with one store and one clock."""

    def __init__(self, size: int) -> None:
        store = Dictionary()
        self.beats = [Heartbeat(store, rank, size, "alive") for rank in range(size)]
        self.now = self.beats[-1]._checked

    def run(self, seconds: float, *ranks: int) -> None:
        """Only some of them run for so long."""
        for _ in range(int(seconds / 5)):
            self.now += 5
            for rank in ranks:
                self.beats[rank].beat(self.now)


def test_a_stopped_process_is_named_once_and_when_it_answers_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "ganloom")
    processes = Processes(3)
    processes.run(300, 0, 1, 2)
    assert not caplog.messages
    processes.run(PATIENCE - 10, 0, 1)
    assert not caplog.messages
    processes.run(600, 0, 1)
    assert len(caplog.messages) == 1
    assert "process 2 of 3 (rank 2) has not answered for 60 seconds" in caplog.messages[0]
    processes.run(10, 0, 1, 2)
    assert caplog.messages[1:] == ["process 2 of 3 (rank 2) answers again"]


def test_the_lowest_that_runs_names_the_first_process(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    processes = Processes(3)
    processes.run(2 * PATIENCE, 1, 2)
    assert not caplog.messages
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "process 0 of 3 (rank 0) has not answered" in said[0]
    processes.run(10, 0, 1, 2)
    assert capsys.readouterr().err == "warning: process 0 of 3 (rank 0) answers again\n" and not caplog.messages


def test_the_stopped_process_itself_accuses_nobody(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """All signs of the others are old when it continues."""
    processes = Processes(2)
    processes.run(2 * PATIENCE, 1)
    capsys.readouterr()
    processes.beats[0].beat(processes.now + 1)
    assert not caplog.messages and not capsys.readouterr().err
