"""Tone and texture: what people see first, and a Fréchet distance does not name."""

import numpy as np
import pytest
from comparing import Array, comparison, digits, shapes

from ganloom.metrics import texture, tone


def reals() -> Array:
    return shapes(400)[0]


def others() -> Array:
    return shapes(400, start=400)[0]


def around(images: Array, factor: float, centre: float = 127.5) -> Array:
    return (centre + factor * (images.astype(np.float64) - centre)).clip(0, 255).round().astype(np.uint8)


def desaturated(images: Array, factor: float) -> Array:
    grey = images.mean(axis=-1, keepdims=True)
    return (grey + factor * (images - grey)).round().astype(np.uint8)


def test_the_tone_of_one_image_by_hand() -> None:
    """Its left half is red, its right half black."""
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[:, :, :2, 0] = 255
    assert tone.tones(image)[0] == pytest.approx([0.299 / 2, 0.299 / 2, 0.5], rel=1e-6)


def test_other_real_images_have_their_tone() -> None:
    found = tone.measure(comparison(reals(), others()))
    for name, ideal in (("brightness", 0.0), ("contrast", 1.0), ("saturation", 1.0)):
        number = found[name]
        assert number.low is not None and number.high is not None and number.low < ideal < number.high
    assert tone.faults(**{name: number.value for name, number in found.items()}) == []


@pytest.mark.parametrize(
    ("changed", "number", "value", "fault"),
    [
        (lambda x: around(x, 0.6), "contrast", 0.6, "washed out"),
        (lambda x: desaturated(x, 0.3), "saturation", 0.3, "too grey"),
        (lambda x: around(x, 0.3, 0), "brightness", None, "too dark"),
        (lambda x: around(x, 0.5, 255), "brightness", None, "too bright"),
    ],
    ids=["contrast", "saturation", "dark", "bright"],
)
def test_a_changed_tone_is_measured_and_named(changed, number: str, value: float | None, fault: str) -> None:  # type: ignore[no-untyped-def]
    found = tone.measure(comparison(reals(), changed(reals())))
    if value is not None:
        assert found[number].value == pytest.approx(value, abs=0.02)
    assert fault in tone.faults(**{name: each.value for name, each in found.items()})


def test_grey_images_have_no_saturation() -> None:
    images = digits()[0]
    assert set(tone.measure(comparison(images[:300], images[300:600]))) == {"brightness", "contrast"}


def test_transparent_images_are_seen_on_white() -> None:
    opaque = np.concatenate([reals(), np.full((400, 32, 32, 1), 255, np.uint8)], axis=-1)
    assert tone.tones(opaque) == pytest.approx(tone.tones(reals()), abs=1e-6)
    assert texture.energies(opaque) == pytest.approx(texture.energies(reals()), rel=1e-4, abs=1e-4)
    invisible = opaque * np.array([1, 1, 1, 0], np.uint8)
    assert tone.tones(invisible)[0] == pytest.approx([1, 0, 0], abs=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (4, 4), (1, 6)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiny_images(size: tuple[int, int], channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, *size, channels), dtype=np.uint8)
    both = comparison(images, images, extract=lambda x: x.float().flatten(1))
    assert tone.measure(both)["brightness"].value == pytest.approx(0, abs=1e-6)
    assert set(texture.measure(both)) == ({"texture"} if min(size) >= 5 else set())


def test_the_intervals_cover_new_draws() -> None:
    """Of 40 pairs of other real images, 95 % should contain the ideal value."""
    hits = 0
    for k in range(40):
        a, b = shapes(100, start=1000 + 200 * k)[0], shapes(100, start=1100 + 200 * k)[0]
        number = tone.measure(comparison(a, b))["contrast"]
        hits += number.low <= 1.0 <= number.high  # type: ignore[operator]
    assert hits >= 34


def checkerboard(images: Array, levels: int) -> Array:
    rows, columns = np.indices(images.shape[1:3])
    signs = np.where((rows + columns) % 2, levels, -levels)[..., None]
    return (images.astype(np.int64) + signs).clip(0, 255).astype(np.uint8)


def blurred(images: Array) -> Array:
    x = images.astype(np.float64)
    for axis in (1, 2):
        x = (np.roll(x, 1, axis) + 2 * x + np.roll(x, -1, axis)) / 4
    return x.round().astype(np.uint8)


def test_a_checkerboard_has_all_its_energy_at_the_highest_frequencies() -> None:
    board = checkerboard(np.full((3, 16, 12, 3), 128, np.uint8), 4)
    assert texture.energies(board) == pytest.approx([2 * 4.0**2] * 3)  # along rows and along columns


def test_slow_waves_have_next_to_none() -> None:
    waves = np.tile(128 + 100 * np.sin(np.arange(64) * 2 * np.pi / 32), (64, 1))[None, ..., None].round()
    assert texture.energies(waves.astype(np.uint8))[0] < 0.2


def test_texture_tells_dots_and_blur_from_real_images() -> None:
    found = {
        name: texture.measure(comparison(reals(), images))["texture"]
        for name, images in {
            "others": others(), "dots": checkerboard(others(), 12), "blur": blurred(others()),
        }.items()
    }  # fmt: skip
    low, high = found["others"].low, found["others"].high
    assert low is not None and high is not None and low < 1 < high
    assert found["dots"].value > 1.5 and found["blur"].value < 0.5


def test_images_without_any_texture_have_a_ratio() -> None:
    flat = np.full((60, 16, 16, 1), 128, np.uint8)
    assert texture.measure(comparison(flat, flat))["texture"].value == pytest.approx(1.0)
