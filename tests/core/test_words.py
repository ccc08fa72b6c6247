"""Numbers in words."""

import pytest

from ganloom.core.lengths import Length
from ganloom.core.words import counted, lasting, speed_of


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2000, "image", "2,000 images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (3, "copy", "3 copies"),
        (2, "day", "2 days"),
    ],
)
def test_one_of_a_kind_is_no_plural(count: int, noun: str, said: str) -> None:
    assert counted(count, noun) == said


@pytest.mark.parametrize("unit", ["epoch", "step", "image", "minute", "hour"])
def test_a_length_of_one_is_no_plural_and_reads_back(unit: str) -> None:
    for amount in (1, 2, 0.5):
        length = Length.parse(f"{amount} {unit}s")
        assert str(length) == f"{amount} {unit}{'s' * (amount != 1)}" and Length.parse(str(length)) == length
    assert str(Length.parse("1 kimg")) == "1 kimg"


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (0, "1 second"),
        (0.2, "12 seconds"),
        (1, "1 minute"),
        (31.4, "31 minutes"),
        (99, "99 minutes"),
        (200, "3.3 hours"),
        (1440, "24 hours"),
        (5000, "3.5 days"),
        (5_000_000, "3,472 days"),
    ],
)
def test_a_duration_has_one_unit_and_two_digits(minutes: float, said: str) -> None:
    assert lasting(minutes) == said


def test_a_speed_has_two_digits() -> None:
    assert [speed_of(60 * each) for each in (1000, 12.3, 4.21, 0.2)] == [
        "1,000 images/s", "12 images/s", "4.2 images/s", "0.20 images/s",
    ]  # fmt: skip
