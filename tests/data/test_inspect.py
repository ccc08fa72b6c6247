from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.inspect import Sizes, _look_at, enlarged, look_at_sizes
from ganloom.data.sources import Item, find
from ganloom.data.sources.digits import DigitsSource
from ganloom.data.window import LazyWindow


def sizes(folder: Path, *widths: int) -> Sizes:
    for index, width in enumerate(widths):
        Image.new("L", (width, 5)).save(folder / f"{index}.png")
    return look_at_sizes(find(str(folder)))


def test_sizes_are_height_by_width_and_uniform_if_all_are_equal(tmp_path: Path) -> None:
    assert sizes(tmp_path, 7, 7, 7) == Sizes((5, 7), uniform=True, ratio=5 / 7)


def test_the_common_size_is_that_of_most_images(tmp_path: Path) -> None:
    assert sizes(tmp_path, 9, 7, 8, 7) == Sizes((5, 7), uniform=False, ratio=None)


def test_files_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no image")
    assert sizes(tmp_path, 7, 7) == Sizes((5, 7), uniform=True, ratio=5 / 7)


def test_nearly_equal_aspect_ratios_have_a_common_ratio(tmp_path: Path) -> None:
    assert sizes(tmp_path, 100, 101, 102, 103) == Sizes((5, 100), uniform=False, ratio=pytest.approx(5 / 101.5, 0.01))


def test_a_folder_of_unreadable_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(DataError, match=r"none of the images of .* can be read"):
        sizes(tmp_path)


def test_images_that_are_enlarged_more_than_twice_are_worth_a_line(tmp_path: Path) -> None:
    sizes(tmp_path, 7, 7, 7)
    source = find(str(tmp_path))
    assert enlarged(source, (10, 14)) == enlarged(source, (5, 7)) == enlarged(source, (4, 4)) == ""
    assert enlarged(source, None) == ""
    said = enlarged(source, (20, 14))
    assert "5x7 pixels and are enlarged 4.0 times, to 20x14" in said and "--size 5x7" in said


def test_what_cannot_be_read_is_not_said_to_be_small(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no image")
    assert enlarged(find(str(tmp_path)), (64, 64)) == ""


@pytest.mark.slow
def test_the_mean_of_a_photograph_of_twenty_megapixels_is_exact() -> None:
    """A float32 sum of more than 2^24 terms loses them."""
    flat = Item("flat", "train", None, partial(Image.new, "RGB", (4500, 4500), (200, 200, 200)))
    look = _look_at(flat, LazyWindow(DigitsSource()))
    assert not isinstance(look, str)
    assert np.allclose(look.sums, np.array([[200.0], [200.0**2]]))
