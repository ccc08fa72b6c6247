"""`inspect` finds every planted fault and nothing else."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import encoded, noise, pictures, turned, write
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.inspect import CONTACTS, Findings, inspect
from ganloom.data.sources import find


def look(folder: Path, **options: Any) -> Findings:
    return inspect(find(str(folder)), **options)


def scene(seed: int, height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """A smooth picture, like a photograph, that differs from those of other seeds."""
    coarse = Image.fromarray(noise(6, 8, 3, seed))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def test_sizes_modes_and_bit_depths_are_counted(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"colour{number}.png", encoded(scene(number)))
    write(tmp_path / "turned.jpg", encoded(scene(7), "JPEG", exif=turned(6)))
    write(tmp_path / "grey.png", encoded(noise(10, 20, 1)))
    write(tmp_path / "bit.png", encoded(Image.fromarray(noise(10, 20, 1) > 100)))
    write(tmp_path / "deep.png", encoded(np.arange(200, dtype=np.uint16).reshape(10, 20) * 20))
    write(tmp_path / "float.tif", encoded(noise(10, 20, 1).astype(np.float32), "TIFF"))
    write(tmp_path / "alpha.png", encoded(noise(10, 20, 4)))
    write(tmp_path / "notes.txt", b"")
    found = look(tmp_path)
    assert found.count == 9 and found.ignored == 1
    assert found.sizes == Counter({(96, 128): 3, (128, 96): 1, (10, 20): 5})
    assert found.modes == Counter({"RGB": 4, "L": 1, "1": 1, "I;16": 1, "F": 1, "RGBA": 1})
    assert found.depths == Counter({8: 6, 1: 1, 12: 1, 32: 1})
    assert not found.is_grey
    assert found.window is not None
    assert found.summary().common == (10, 20) and not found.summary().uniform


def test_classes_and_splits_are_counted(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"train/cat/{n}.png" for n in range(4)), "train/dog/1.png", "val/dog/1.png")
    found = look(tmp_path)
    assert found.class_names == ["cat", "dog"]
    assert found.classes == Counter(cat=4, dog=2)
    assert found.splits == Counter(train=5, val=1)


def test_equal_images_are_found_however_they_are_stored(tmp_path: Path) -> None:
    write(tmp_path / "a.png", encoded(scene(1)))
    write(tmp_path / "b.bmp", encoded(scene(1), "BMP"))
    write(tmp_path / "c.png", encoded(scene(2)))
    found = look(tmp_path)
    assert found.equal == [["a.png", "b.bmp"]]
    assert found.similar == []


@pytest.mark.parametrize("change", ["saved as JPEG", "half the size", "brighter by a level", "a mark in the corner"])
def test_images_that_look_alike_are_found(tmp_path: Path, change: str) -> None:
    for seed in range(12):
        write(tmp_path / f"{seed}.png", encoded(scene(seed)))
    image = scene(5).copy()
    if change == "saved as JPEG":
        write(tmp_path / "again.jpg", encoded(image, "JPEG", quality=60))
    elif change == "half the size":
        write(tmp_path / "again.png", encoded(Image.fromarray(image).resize((64, 48), Image.Resampling.LANCZOS)))
    elif change == "brighter by a level":
        write(tmp_path / "again.png", encoded((image.astype(int) + 1).clip(0, 255).astype(np.uint8)))
    else:
        image[:6, :6] = 255
        write(tmp_path / "again.png", encoded(image))
    found = look(tmp_path)
    assert [sorted(Path(name).stem for name in group) for group in found.similar] == [["5", "again"]]
    assert found.equal == []


def test_different_pictures_do_not_look_alike(tmp_path: Path) -> None:
    for seed in range(150):
        write(tmp_path / f"{seed}.png", encoded(scene(seed, 32, 40)))
    found = look(tmp_path)
    assert found.similar == found.equal == found.blank == found.black == found.white == found.faults == []


def test_one_picture_in_other_grey_levels_does_not_look_alike(tmp_path: Path) -> None:
    write(tmp_path / "a.png", encoded(scene(1)))
    write(tmp_path / "b.png", encoded(scene(1) // 2 + 64))  # the same structure in other grey levels
    assert look(tmp_path).similar == []


def test_faint_pictures_of_different_things_do_not_look_alike(tmp_path: Path) -> None:
    one = 120 + np.tile(np.arange(36, dtype=np.uint8) // 9, (32, 1))
    other = one.copy()
    other[8:] = one[8:, ::-1]  # a quarter of the fingerprints is equal, and they differ by at most three levels
    write(tmp_path / "a.png", encoded(one))
    write(tmp_path / "b.png", encoded(other))
    assert look(tmp_path).similar == []


def test_what_cannot_be_read_is_listed_with_the_reason(tmp_path: Path) -> None:
    pictures(tmp_path, "good.png")
    write(tmp_path / "empty.png", b"")
    write(tmp_path / "cut.png", encoded(scene(0))[:-500])
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    write(tmp_path / "nan.tif", encoded(np.full((4, 5), np.nan, np.float32), "TIFF"))
    found = look(tmp_path)
    assert found.count == 1
    assert {name for name, _ in found.faults} == {"empty.png", "cut.png", "link.png", "nan.tif"}
    assert all(reason for _, reason in found.faults)


def test_blank_black_and_white_images_are_listed(tmp_path: Path) -> None:
    image = noise(20, 20, 1) // 2 + 60
    write(tmp_path / "good.png", encoded(image))
    write(tmp_path / "blank.png", encoded(np.full((20, 20), 77, np.uint8)))
    image[:11] = 0
    write(tmp_path / "black.png", encoded(image))
    image[:11] = 255
    write(tmp_path / "white.png", encoded(image))
    image[9:11] = 100
    write(tmp_path / "nine of twenty.png", encoded(image))
    found = look(tmp_path)
    assert (found.blank, found.black, found.white) == (["blank.png"], ["black.png"], ["white.png"])


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_deviation_are_those_of_all_pixels(tmp_path: Path, channels: int) -> None:
    images = np.stack([noise(9, 11, channels, seed) // (1 + seed) for seed in range(4)]).reshape(4, 9, 11, channels)
    for seed, image in enumerate(images):
        write(tmp_path / f"{seed}.png", encoded(image[..., 0] if channels == 1 else image))
    found = look(tmp_path)
    np.testing.assert_allclose(found.mean, images.mean((0, 1, 2)), atol=1e-3)
    np.testing.assert_allclose(found.std, images.astype(float).std((0, 1, 2)), atol=1e-3)
    assert found.is_grey == (channels == 1)


def test_a_difference_between_left_and_right_is_found(tmp_path: Path) -> None:
    for seed in range(60):
        image = noise(32, 32, 1, seed)
        write(tmp_path / "alike" / f"{seed}.png", encoded(image))
        image = image // 2
        image[8:24, 2:14] += 100  # on the left of every image
        write(tmp_path / "sided" / f"{seed}.png", encoded(image))
        image = image.copy()
        write(tmp_path / "both" / f"{seed}.png", encoded(np.ascontiguousarray(image[:, ::-1] if seed % 2 else image)))
    assert look(tmp_path / "alike").asymmetry < 0.12
    assert look(tmp_path / "both").asymmetry < 0.12
    assert look(tmp_path / "sided").asymmetry > 0.5


@pytest.mark.parametrize("count", [1, 59, 60, 61, 119, 130])
def test_the_contact_sheet_is_evenly_spaced_over_all_images(tmp_path: Path, count: int) -> None:
    for number in range(count):
        write(tmp_path / f"{number:03}.png", encoded(np.full((2, 2), number, np.uint8)))
    levels = [contact.getpixel((0, 0))[0] for contact in look(tmp_path).contacts]  # type: ignore[index]
    assert min(count, CONTACTS) / 2 <= len(levels) <= CONTACTS
    assert levels[0] == 0 and levels[-1] >= 0.9 * (count - 1) - 2  # not only the first images
    assert len(set(np.diff(levels))) <= 1


def test_one_worker_and_many_find_the_same(tmp_path: Path) -> None:
    for seed in range(40):
        write(tmp_path / f"{seed}.jpg", encoded(scene(seed % 30), "JPEG"))
    first, second = (look(tmp_path, workers=workers) for workers in (1, 7))
    assert [each.tobytes() for each in first.contacts] == [each.tobytes() for each in second.contacts]
    first.contacts = second.contacts = []
    assert first == second


def test_progress_is_reported(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((250, 2, 2), np.uint8))
    reported: list[tuple[int, int | None]] = []
    look(tmp_path / "x.npy", progress=lambda done, total: reported.append((done, total)))
    assert reported[0] == (100, 250) and reported[-1][0] >= 200


def test_a_folder_of_unreadable_files_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    write(tmp_path / "a.png", b"")
    with pytest.raises(DataError, match=r"none of the images of .* can be read; the first: a.png cannot"):
        look(tmp_path)
