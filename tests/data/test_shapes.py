from collections import Counter
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from ganloom.core.errors import DataError
from ganloom.data.sources.shapes import BACKGROUND, COLOURS, COUNT, SHAPES, Factors, draw, factors, open_source

ALL = [factors(index) for index in range(COUNT)]
MIDDLE = Factors(0, 0, 0.5, 0.5)


def pixels(factors: Factors, height: int = 64, width: int = 64) -> NDArray[np.int64]:
    return np.asarray(draw(factors, height, width)).astype(np.int64)


def touched(image: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The pixels that the shape covers, at least in part."""
    result: NDArray[np.bool_] = (image != BACKGROUND).any(axis=2)
    return result


def test_every_shape_is_drawn_2000_times_and_every_pair_with_a_colour_equally_often() -> None:
    assert Counter(known.shape for known in ALL) == dict.fromkeys(range(5), 2000)
    pairs = Counter((known.shape, known.colour) for known in ALL)
    assert len(pairs) == 30
    assert set(pairs.values()) == {333, 334}


def test_positions_are_uniform_and_independent_of_shape_and_colour() -> None:
    positions = np.array([(known.x, known.y) for known in ALL])
    assert positions.min() >= 0.22
    assert positions.max() <= 0.78
    counts, _, _ = np.histogram2d(*positions.T, bins=4, range=[(0.22, 0.78)] * 2)
    assert abs(counts - COUNT / 16).max() < 5 * (COUNT / 16) ** 0.5
    for shape, colour in product(range(5), range(6)):
        here = positions[[(known.shape, known.colour) == (shape, colour) for known in ALL]]
        assert abs(here.mean(axis=0) - 0.5).max() < 0.05  # five standard errors


def test_the_factors_of_an_image_never_change() -> None:
    assert factors(0) == factors(0)
    assert (factors(7).shape, factors(7).colour) == (2, 1)
    assert (factors(7).x, factors(7).y) == pytest.approx((X7, Y7), abs=1e-12)


X7, Y7 = 0.3431878419367301, 0.6176007091757415


@pytest.mark.parametrize(("height", "width"), [(64, 64), (16, 16), (48, 64), (64, 24)])
def test_a_shape_is_always_completely_inside_the_picture(height: int, width: int) -> None:
    for shape, x, y in product(range(5), (0.22, 0.78), (0.22, 0.78)):
        image = touched(pixels(Factors(shape, 0, x, y), height, width))
        area = touched(pixels(Factors(shape, 0, 0.5, 0.5), 4 * height, 4 * width)).sum() / 16
        assert image.sum() >= 0.9 * area  # nothing was cut off
        rows, columns = image.any(axis=1), image.any(axis=0)
        assert rows.sum() <= 0.4 * min(height, width) + 2
        assert columns.sum() <= 0.4 * min(height, width) + 2


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (48, 64)])
def test_the_centre_is_where_the_factors_say_at_any_size(height: int, width: int) -> None:
    for known in ALL[:30]:
        if SHAPES[known.shape] != "triangle":  # its centre is not its centre of mass
            ink = abs(pixels(known, height, width) - BACKGROUND).sum(axis=2).astype(float)
            x = (ink.sum(axis=0) * (np.arange(width) + 0.5)).sum() / ink.sum() / width
            y = (ink.sum(axis=1) * (np.arange(height) + 0.5)).sum() / ink.sum() / height
            assert (x, y) == pytest.approx((known.x, known.y), abs=0.005)


def test_the_colour_is_that_of_the_factors_and_the_edges_are_between() -> None:
    for colour, value in enumerate(COLOURS.values()):
        image = pixels(Factors(0, colour, 0.5, 0.5))
        assert tuple(image[32, 32]) == value
        assert tuple(image[0, 0]) == BACKGROUND
        edge = touched(image) & (image != value).any(axis=2)
        assert 20 < edge.sum() < 100
        low, high = np.minimum(value, BACKGROUND), np.maximum(value, BACKGROUND)
        assert ((image >= low) & (image <= high)).all()


def test_shapes_and_colours_are_far_apart() -> None:
    colours = np.array([BACKGROUND, *COLOURS.values()])
    distances = abs(colours[:, None] - colours[None]).sum(axis=2) + 999 * np.eye(7, dtype=int)
    assert distances.min() > 100
    masks = [touched(pixels(Factors(shape, 0, 0.5, 0.5))) for shape in range(5)]
    for first, second in product(range(5), range(5)):
        if first != second:
            both, either = masks[first] & masks[second], masks[first] | masks[second]
            assert both.sum() / either.sum() < 0.85


def test_a_circle_has_the_area_of_a_circle() -> None:
    ink = (pixels(MIDDLE)[..., 0] - BACKGROUND[0]).sum() / (COLOURS["red"][0] - BACKGROUND[0])
    assert ink == pytest.approx(np.pi * (0.2 * 64) ** 2, rel=0.01)


@pytest.mark.parametrize(("spec", "size"), [("", (64, 64)), ("32", (32, 32)), ("48x64", (48, 64))])
def test_the_source_draws_what_the_factors_say(spec: str, size: tuple[int, int]) -> None:
    source = open_source(spec)
    items = list(source.items())
    assert len(items) == source.count == 10_000
    assert np.array_equal(np.asarray(items[123].open()), pixels(factors(123), *size))
    assert [item.label for item in items[:7]] == [known.shape for known in ALL[:7]]
    assert {item.split for item in items} == set(source.splits) == {"train"}
    assert source.class_names == ("circle", "square", "triangle", "cross", "ring")
    assert source.name == f"shapes-{size[0]}x{size[1]}"


def test_pictures_of_other_sizes_have_other_fingerprints() -> None:
    assert list(open_source("").fingerprint()) == list(open_source("64").fingerprint())
    assert list(open_source("64").fingerprint()) != list(open_source("48x64").fingerprint())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("large", "'large' is not a size; write '64'"),
        ("4", "a side should have 8 to 1024 pixels"),
        ("64x9999", "8 to 1024"),
    ],
)
def test_an_invalid_size_is_refused(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"shapes:{spec}: .*{message}"):
        open_source(spec)
