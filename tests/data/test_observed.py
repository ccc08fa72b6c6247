"""What shows only after decoding is said, with the setting that changes it."""

from pathlib import Path

import numpy as np
import pytest
from making import encoded, noise, prepared, rows, write

from ganloom.api.images import remarks
from ganloom.config import Data
from ganloom.data.inspect import inspect
from ganloom.data.packed import Account, PackedDataset
from ganloom.data.prepare import Preprocessing
from ganloom.data.sources import find
from ganloom.evaluation.compression import compression_notes
from ganloom.report.inspection import findings_as_text


def said(dataset: PackedDataset, topic: str) -> list[str]:
    return [line for line in remarks(dataset) if line.startswith(f"{topic} ")]


def mixed(folder: Path) -> Path:
    for seed in range(3):
        write(folder / f"{seed}.png", encoded(noise(8, 8, 1, seed)))
        write(folder / f"deep{seed}.png", encoded(noise(8, 8, 1, seed).astype(np.uint16) * 257))
    return folder


def test_mixed_depths_are_said_and_the_named_window_makes_them_equal(tmp_path: Path) -> None:
    dataset = prepared(mixed(tmp_path / "in"), tmp_path / "out")
    (line,) = said(dataset, "bits")
    assert "3 images have more than 8 bits, 3 have 8" in line and "data.window=0:65535" in line
    full = prepared(tmp_path / "in", tmp_path / "full", Preprocessing(window=(0, 65535)))
    made = rows(full)
    assert not said(full, "bits")  # the user has decided
    assert np.array_equal(made[:3], made[3:])
    assert any(line.startswith("bits ") for line in findings_as_text(inspect(find(str(tmp_path / "in")))))


def test_one_coloured_image_among_grey_ones_is_named(tmp_path: Path) -> None:
    for seed in range(30):
        write(tmp_path / "in" / f"{seed:02}.png", encoded(noise(8, 8, 1, seed)))
    write(tmp_path / "in" / "logo.png", encoded(noise(8, 8)))
    (line,) = said(prepared(tmp_path / "in", tmp_path / "out"), "coloured")
    assert "1 image has colour (logo.png), 30 are grey" in line and "data.channels=1" in line
    grey = prepared(tmp_path / "in", tmp_path / "grey", Preprocessing(channels=1))
    assert grey.shape.channels == 1 and not said(grey, "coloured")
    assert any("logo.png" in line for line in findings_as_text(inspect(find(str(tmp_path / "in")))))


def test_many_coloured_images_are_nothing_to_say(tmp_path: Path) -> None:
    for seed in range(6):
        write(tmp_path / "in" / f"{seed}.png", encoded(noise(8, 8, 3 if seed % 2 else 1, seed)))
    assert not said(prepared(tmp_path / "in", tmp_path / "out"), "coloured")


def test_a_window_for_images_of_8_bits_is_said_to_be_unused(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png", encoded(noise(8, 8, 1)))
    (line,) = said(prepared(tmp_path / "in", tmp_path / "out", Preprocessing(window=(0, 100))), "window")
    assert "not used, since no image has more than 8 bits" in line


def test_a_resumed_preparation_says_the_same(tmp_path: Path) -> None:
    dataset = prepared(mixed(tmp_path / "in"), tmp_path / "out")
    again = prepared(tmp_path / "in", tmp_path / "again", workers=1)
    assert again.description.remarks == dataset.description.remarks


def test_grey_floats_from_0_to_1_are_scaled_exactly(tmp_path: Path) -> None:
    levels = np.stack([noise(8, 8, 1, seed) for seed in range(3)])
    levels[0, 0, :2] = 0, 255
    np.save(tmp_path / "x.npy", (levels / 255).astype(np.float32))
    dataset = prepared(tmp_path / "x.npy", tmp_path / "out")
    assert np.array_equal(rows(dataset)[..., 0], levels) and dataset.description.window == (0, 1)
    assert "0 is black and 1 is white" in said(dataset, "values")[0]
    half = rows(prepared(tmp_path / "x.npy", tmp_path / "half", Preprocessing(window=(0, 0.5))))
    assert np.array_equal(half[..., 0], np.minimum(levels.astype(int) * 2, 255))


@pytest.mark.parametrize(
    ("a", "b", "notes"), [("JPEG", "PNG", 1), ("PNG", "JPEG", 1), ("PNG", "BMP", 0), ("JPEG", "JPEG", 0)]
)
def test_jpegs_against_other_files_are_noted(tmp_path: Path, a: str, b: str, notes: int) -> None:
    sides = {}
    for name, kind in (("left", a), ("right", b)):
        write(tmp_path / name / "a.bmp", encoded(noise(8, 8), kind))  # the content counts, not the suffix
        sides[name] = prepared(tmp_path / name, tmp_path / f"{name} packed")
    found = list(compression_notes(sides))
    assert len(found) == notes
    assert not notes or f"the images of {'left' if a == 'JPEG' else 'right'} are JPEG files" in found[0]


def test_a_dataset_that_did_not_count_jpegs_is_still_read() -> None:
    values = dict.fromkeys(("taken", "duplicates", "dropped", "skipped", "left_out", "ungrouped", "ignored"), 1)
    assert Account(**values).jpegs is None


def test_only_the_settings_of_reading_are_part_of_a_fingerprint(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png", encoded(noise(8, 8)))
    plain, mirrored = (Data(source=str(tmp_path / "in"), mirror=mirror) for mirror in (False, True))
    assert list(find(plain).fingerprint()) == list(find(mirrored).fingerprint())
