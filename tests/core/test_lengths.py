import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ganloom.core.lengths import MINUTES, UNITS, Interval, Length


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("30 epochs", 30, "epochs"),
        ("1 epoch", 1, "epochs"),
        ("200 kimg", 200, "kimg"),
        ("5000 images", 5000, "images"),
        ("1 image", 1, "images"),
        ("5000 steps", 5000, "steps"),
        ("1 step", 1, "steps"),
        ("10 minutes", 10, "minutes"),
        ("1 minute", 1, "minutes"),
        ("2 hours", 2, "hours"),
        ("1 hour", 1, "hours"),
        ("5_000 images", 5000, "images"),
        ("1,000,000 images", 1_000_000, "images"),
        ("0.5 epochs", 0.5, "epochs"),
        ("1e3 kimg", 1000, "kimg"),
        ("2.5E+2 kimg", 250, "kimg"),
        ("5epochs", 5, "epochs"),
        ("  7 \t steps ", 7, "steps"),
        ("3 EPOCHS", 3, "epochs"),
        ("0 images", 0, "images"),
    ],
)
def test_a_length_is_read_as_the_user_writes_it(text: str, amount: float, unit: str) -> None:
    assert Length.parse(text) == Length(amount, unit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "epochs",
        "30 parsecs",
        "-3 epochs",
        "three epochs",
        "3 epochs later",
        "1.2.3 kimg",
        "_5 kimg",
        "e5 kimg",
        "1,5 hours",
        "10,00 images",
    ],
)
def test_nonsense_is_refused_with_an_example_of_every_unit(text: str) -> None:
    with pytest.raises(ValueError, match="is not a length") as caught:
        Length.parse(text)
    assert all(unit in str(caught.value) for unit in UNITS)


def test_a_number_without_a_unit_is_refused_even_when_it_is_not_text() -> None:
    with pytest.raises(ValueError, match="'30' is not a length; write a number and a unit"):
        Length.parse(30)  # type: ignore[arg-type]


def test_an_infinite_length_is_refused() -> None:
    with pytest.raises(ValueError, match="exceeds the maximum length of 1,000,000,000,000"):
        Length.parse("1e999 epochs")


def test_a_length_parses_to_itself() -> None:
    length = Length(3, "kimg")
    assert Length.parse(length) is length


amounts = st.integers(0, 10**12) | st.decimals(0, 10**6, places=6, allow_nan=False)


@settings(deadline=None)
@given(amount=amounts, unit=st.sampled_from(UNITS))
def test_text_and_length_are_inverse(amount: float, unit: str) -> None:
    length = Length.parse(f"{amount:f} {unit}")
    assert length == Length(float(amount), unit)
    assert Length.parse(str(length)) == length


@pytest.mark.parametrize(("text", "written"), [("30.0 epoch", "30 epochs"), ("1_000 images", "1000 images")])
def test_a_length_is_written_plainly(text: str, written: str) -> None:
    assert str(Length.parse(text)) == written


@pytest.mark.parametrize(
    ("text", "images"),
    [("2 epochs", 3594), ("0.5 kimg", 500), ("7 images", 7), ("3 steps", 96), ("0.0004 kimg", 0), ("0.0006 kimg", 1)],
)
def test_every_unit_but_a_time_has_an_image_count(text: str, images: int) -> None:
    assert Length.parse(text).images(epoch=1797, step=32) == images


def test_a_time_has_no_image_count() -> None:
    assert Length.parse("1 minute").is_time and Length.parse("1 hour").is_time
    assert Length.parse("90 minutes").minutes == Length.parse("1.5 hours").minutes == 90
    assert not Length.parse("1 step").is_time
    with pytest.raises(AssertionError):
        Length.parse("1 minute").images(epoch=1, step=1)


def test_minutes_may_be_a_length_but_not_an_interval() -> None:
    assert TypeAdapter(Length).validate_python("10 minutes") == Length(10, "minutes")
    with pytest.raises(ValidationError, match="minutes and hours may only end a run"):
        TypeAdapter(Interval).validate_python("10 minutes")


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit not in MINUTES])
def test_every_other_unit_may_be_an_interval(unit: str) -> None:
    assert TypeAdapter(Interval).validate_python(f"2 {unit}") == Length(2, unit)


def test_a_length_is_text_in_json() -> None:
    assert TypeAdapter(Length).dump_python(Length(30, "epochs"), mode="json") == "30 epochs"


def test_seconds_are_a_length_of_time() -> None:
    length = Length.parse("90 seconds")
    assert length.is_time and length.minutes == 1.5 and str(Length.parse("1 second")) == "1 second"
