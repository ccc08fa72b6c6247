import pytest

from ganloom.core.shapes import ImageShape, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("64", (64, 64)), (64, (64, 64)), ("48x64", (48, 64)), ("48X64", (48, 64)), (" 48 x 64 ", (48, 64))],
)
def test_a_size_is_height_by_width_or_one_number(text: str | int, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "big", "48x", "x64", "48x64x3", "-64", "6.4", "48*64"])
def test_nonsense_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size; write '64' or 'HEIGHTxWIDTH', such as '48x64'"):
        parse_size(text)


@pytest.mark.parametrize(
    ("channels", "text"), [(1, "2x3 grey"), (3, "2x3 RGB"), (4, "2x3 RGBA"), (2, "2x3 2 channels")]
)
def test_a_shape_says_its_size_and_colours(channels: int, text: str) -> None:
    assert str(ImageShape(channels, 2, 3)) == text
