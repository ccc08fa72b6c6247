"""Generated images as files: never mixed with others, named by seed and class, in the layout that was asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from ganloom.cli import app
from ganloom.core.errors import ConfigError, GanloomError, ModelError
from ganloom.models import modelfile
from ganloom.synthesis.model import Model
from ganloom.synthesis.pictures import Wanted, write_files

SIZE = 4


class Numbered(nn.Module):
    """Images of one level, which says their class."""

    def __init__(self, level: float = 0.0) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level))

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        level = z.new_zeros(len(z)) if y is None else y.float() / 10
        return (self.level + level).view(-1, 1, 1, 1).expand(-1, 1, SIZE, SIZE)


def model(*names: str, level: float = 0.0) -> Model:
    header = modelfile.Header(
        net="mlp", latent=2, options={}, shape=(1, SIZE, SIZE), labels=bool(names), class_names=list(names), training={}
    )
    return Model(Numbered(level), header)


def level(number: int) -> int:
    return int(torch.tensor(number / 10).add(1).mul(127.5).round())


def cells(picture: Image.Image, padding: int = 2) -> list[list[int]]:
    """The level of each place of a grid."""
    array, step = np.asarray(picture), SIZE + padding
    return [[int(cell) for cell in row] for row in array[padding::step, padding::step]]


# classes


def test_several_classes_get_a_row_each() -> None:
    a, c, white = level(0), level(2), 255
    assert cells(model("a", "b", "c").grid(5, class_name=["a", "c"])) == [[a, a, a], [c, c, white]]


def test_with_columns_each_class_still_begins_a_row() -> None:
    a, c, white = level(0), level(2), 255
    made = cells(model("a", "b", "c").grid(6, class_name=["a", "c"], columns=2))
    assert made == [[a, a], [a, white], [c, c], [c, white]]


def test_all_classes_have_a_column_each() -> None:
    assert cells(model("a", "b", "c").grid(6)) == [[level(0), level(1), level(2)]] * 2
    assert np.asarray(model("a", "b", "c").grid(6, columns=6)).shape == (SIZE + 4, 6 * (SIZE + 2) + 2)


def test_a_class_named_twice_counts_once() -> None:
    assert model("a", "b").classes(["b", "a", "b"]) == [1, 0]


@pytest.mark.parametrize(
    ("names", "number", "found"),
    [(("a", "b", "c"), 2, 2), (("0", "1", "2"), 1, 1), (("7", "9", "5"), 9, 1), (("a", "b"), np.int64(1), 1)],
)
def test_a_class_may_be_given_by_its_number(names: tuple[str, ...], number: int, found: int) -> None:
    assert model(*names).classes(number) == [found]
    assert (model(*names).sample(2, class_name=number) == level(found)).all()


@pytest.mark.parametrize(
    ("names", "number", "message"),
    [
        (("a", "b"), 2, "there is no class 2: the model has 2, counted from 0: a, b"),
        (("a", "b"), -1, "there is no class -1"),
        (("1", "2", "3"), 1, "may be the one called '1', or number 1, '2'"),
        (("a",), [], "name at least one class"),
        ((), 0, "trained without labels"),
    ],
)
def test_a_number_that_names_no_class_or_two_is_refused(names: tuple[str, ...], number: int, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model(*names).sample(1, class_name=number)


def test_a_wrong_type_of_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="class_name must be a string, a whole number"):
        model("a").sample(1, class_name=1.5)  # type: ignore[arg-type]


# grids


def test_one_image_is_the_picture_itself() -> None:
    assert model().grid(1).size == (SIZE, SIZE)
    assert model().grid(1, scale=3, padding=8).size == (3 * SIZE, 3 * SIZE)


def test_scale_enlarges_the_images_and_not_the_padding() -> None:
    assert model().grid(4, scale=3, padding=1).size == (2 * 3 * SIZE + 3, 2 * 3 * SIZE + 3)


@pytest.mark.parametrize(("name", "value"), [("columns", 0), ("scale", 0), ("padding", -1)])
def test_a_layout_that_is_none_is_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be at least"):
        model().grid(4, **{name: value})


def test_a_grid_that_no_program_would_open_is_refused_before_it_is_generated() -> None:
    with pytest.raises(ConfigError, match="fewer images"):
        model().grid(10**9)


@pytest.mark.parametrize("level", [float("nan"), float("inf")])
def test_a_model_with_nan_in_it_makes_no_pictures(level: float, tmp_path: Path) -> None:
    for make in (model(level=level).sample, model(level=level).grid):
        with pytest.raises(ModelError, match="NaN or infinite values"):
            make(3)
    with pytest.raises(ModelError, match="NaN or infinite values"):
        write_files(model(level=level), Wanted(3, 0, None, None), tmp_path / "out")


# files


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def test_files_carry_seed_and_class_and_lie_in_one_folder_per_class(tmp_path: Path) -> None:
    write_files(model("cat", "dog"), Wanted(3, 7, None, None), tmp_path / "out")
    assert names_in(tmp_path / "out") == [
        "cat/cat-seed7-000000.png", "cat/cat-seed7-000002.png", "dog/dog-seed7-000001.png",
    ]  # fmt: skip
    with Image.open(tmp_path / "out" / "dog" / "dog-seed7-000001.png") as picture:
        assert picture.getpixel((0, 0)) == level(1)


def test_without_labels_files_lie_side_by_side(tmp_path: Path) -> None:
    write_files(model(), Wanted(2, 0, None, None), tmp_path / "out", 5)
    assert names_in(tmp_path / "out") == ["seed0-000000.png", "seed0-000001.png"]
    with Image.open(tmp_path / "out" / "seed0-000000.png") as picture:
        assert picture.size == (5 * SIZE, 5 * SIZE)


def test_no_class_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    hostile = ["../up", "/etc", "a/b", "..", "con", "x ", "猫 🐈", "é" * 300]
    write_files(model(*hostile), Wanted(len(hostile), 0, None, None), tmp_path / "out")
    found = names_in(tmp_path / "out")
    assert len(found) == len(hostile) and all(name.count("/") == 1 for name in found)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_files_in_it_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"old")
    with pytest.raises(ConfigError, match="is not empty: name a new folder"):
        write_files(model(), Wanted(2, 0, None, None), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    (tmp_path / "old.png").rename(tmp_path / ".DS_Store")  # what a system puts there is no picture
    write_files(model(), Wanted(2, 0, None, None), tmp_path)
    assert len(names_in(tmp_path)) == 2


@pytest.mark.parametrize("flag", ["--out", "--columns", "--padding"])
def test_flags_of_a_grid_and_of_files_contradict_each_other(flag: str, tmp_path: Path) -> None:
    arguments = ["sample", "run", "--separate", str(tmp_path / "out"), flag, "3"]
    with pytest.raises(GanloomError, match=f"{flag} is for a grid"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
