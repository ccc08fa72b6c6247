"""Which level of folders holds the classes; parts of a collection are no classes."""

from pathlib import Path

import pytest
from making import encoded, noise, write

from ganloom.config import Reading
from ganloom.core.errors import DataError
from ganloom.data.sources import find
from ganloom.data.sources.layout import STRAY, Layout


def read(*folders: str, class_level: int | None = None, count: int = 3, name: str = "{}") -> Layout:
    """The layout of some images in each folder."""
    paths = [f"{folder}/{name.format(index)}.png" for folder in folders for index in range(count)]
    return Layout(sorted(paths), Reading(source="", class_level=class_level))


def said(layout: Layout) -> str:
    return "\n".join(f"{topic}: {text}" for topic, text in layout.remarks)


@pytest.mark.parametrize(
    "folders",
    [
        ("images_part_1", "images_part_2"),
        ("HAM10000_images_part_1", "HAM10000_images_part_2"),
        ("images_001/images", "images_002/images"),
        ("batch1", "batch2", "batch10"),
        ("photos", "photos 2", "photos (3)"),
        ("part_A", "part_B"),
        ("shard-00001-of-00002", "shard-00002-of-00002"),
        ("fold_1", "fold_2"),
        ("setA", "setB"),
    ],
)
@pytest.mark.parametrize("above", ["", "train/"])
def test_parts_of_a_collection_are_no_classes(folders: tuple[str, ...], above: str) -> None:
    layout = read(*(above + folder for folder in folders))
    assert layout.class_names == []
    assert "are parts of one collection, not classes; if they are classes: --class-level 1" in said(layout)


@pytest.mark.parametrize(
    "folders",
    [
        tuple(f"digit_{digit}" for digit in range(10)),
        tuple(map(str, range(10))),
        ("n0001", "n0002"),
        ("n02085620-Chihuahua", "n02085782-Spaniel"),
        ("class_1", "class_2"),
        ("grade1", "grade2"),
        ("stage_2", "stage_3"),
        ("s1", "s2", "s10"),
        ("001.ak47", "002.flag"),
        ("Class A", "Class B"),
        ("vitamin_c", "iron_b"),
        ("batch", "single"),
    ],
)
def test_numbered_classes_are_classes_without_a_word(folders: tuple[str, ...]) -> None:
    layout = read(*folders)
    assert layout.class_names == sorted(folders)
    assert not layout.remarks


def test_numbered_folders_of_another_name_are_classes_with_the_flag_for_none() -> None:
    layout = read("session1", "session2")
    assert layout.class_names == ["session1", "session2"]
    assert "the numbered folders session1, session2 are taken for classes; if they are only" in said(layout)
    assert "--class-level 0" in said(layout)


@pytest.mark.parametrize("folders", [("jpg", "segmim"), ("images", "more"), ("data", "photos 2")])
def test_folders_whose_name_says_nothing_are_classes_with_the_flag_for_none(folders: tuple[str, ...]) -> None:
    layout = read(*folders)
    assert layout.class_names == sorted(folders)
    assert "are taken for classes; if they are only parts of one collection: --class-level 0" in said(layout)


def test_many_folders_with_one_image_each_are_not_classes() -> None:
    folders = [f"person {chr(65 + index)}x{index}y" for index in range(25)]
    layout = read(*folders, count=1)
    assert layout.class_names == []
    assert "nearly all of the 25 folders" in said(layout) and "--class-level 1" in said(layout)
    assert len(read(*folders, count=2).class_names) == 25
    assert "with 2.0 images each, are taken for classes" in said(read(*folders, count=2))
    assert not read(*folders, count=4).remarks and len(read(*folders[:10], count=1).class_names) == 10


def test_classes_below_parts_are_classes() -> None:
    assert read("part_1/cat", "part_1/dog", "part_2/cat").class_names == ["cat", "dog"]


def test_folders_of_a_collection_that_is_numbered_through_are_parts() -> None:
    numbers = (0, 1, 999, 1000, 1001, 2500)
    ffhq = Layout([f"{number // 1000 * 1000:05d}/{number:05d}.png" for number in numbers])
    stylegan = Layout([f"{number // 1000:05d}/img{number:08d}.png" for number in numbers])
    assert ffhq.class_names == stylegan.class_names == []
    digits = Layout([f"{digit}/{1000 * digit + index}.png" for digit in range(3) for index in range(3)])
    assert digits.class_names == ["0", "1", "2"]


def test_folders_named_by_the_start_of_a_hash_are_parts() -> None:
    assert Layout(["ab/ab34f2c1.jpg", "ab/ab99f2c1.jpg", "0f/0f34f2c1.jpg"]).class_names == []
    assert Layout(["12/12000001.jpg", "13/13000001.jpg"]).class_names == ["12", "13"]


@pytest.mark.parametrize(
    "folders", [("2018/01", "2018/07", "2019/01"), ("2019-07-12 Alps", "2020-01-03"), ("201907", "201908")]
)
def test_dates_are_no_classes(folders: tuple[str, ...]) -> None:
    layout = read(*folders)
    assert layout.class_names == []
    assert "are dates; if they are classes: --class-level 1" in said(layout)
    assert len(read(*folders, class_level=1).class_names) >= 2


def test_decades_are_classes() -> None:
    assert read("1950s", "1960s").class_names == ["1950s", "1960s"]


RENDERINGS = [f"{kind}/{name}" for kind in ("color", "grayscale") for name in ("healthy", "scab")]


def test_where_every_folder_has_the_same_folders_it_is_said_which_level_is_taken() -> None:
    assert read(*RENDERINGS).class_names == ["color", "grayscale"]
    assert (
        "the classes are the folders of level 1 (color, grayscale), each of which has the same folders "
        "(healthy, scab); to take those as the classes: --class-level 2"
    ) in said(read(*RENDERINGS))
    assert read(*RENDERINGS, class_level=2).class_names == ["healthy", "scab"]


def test_nested_classes_are_said_with_the_flag_for_the_lower_level() -> None:
    layout = read("Acer/rubrum", "Acer/negundo", "Quercus/alba", "Quercus/robur")
    assert layout.class_names == ["Acer", "Quercus"]
    assert (
        "below them are others (alba, negundo, robur, rubrum); to take those as the classes: --class-level 2"
        in said(layout)
    )


def test_the_lower_level_is_the_one_that_divides_the_classes() -> None:
    """As in BreakHis."""
    layout = read("benign/SOB/adenosis", "benign/SOB/tubular", "malignant/SOB/ductal", "malignant/SOB/lobular")
    assert layout.class_names == ["benign", "malignant"]
    assert "(adenosis, ductal, lobular, tubular); to take those as the classes: --class-level 3" in said(layout)


def test_one_folder_in_each_class_folder_is_nothing_to_speak_of() -> None:
    layout = read("n0001/images", "n0002/images")
    assert layout.class_names == ["n0001", "n0002"] and not layout.remarks


def test_a_folder_images_in_each_split_is_no_class() -> None:
    """As YOLO and many segmentation sets have it."""
    assert read("train/images", "val/images").class_names == []
    assert read("train/images/cat", "train/images/dog", "val/images/cat").class_names == ["cat", "dog"]


def test_classes_are_those_of_the_training_split() -> None:
    """As in Tiny ImageNet, whose validation images are in one folder."""
    layout = read("train/n0001/images", "train/n0002/images", "val/images", "test/images")
    assert layout.class_names == ["n0001", "n0002"]
    assert {place.label for place in layout if place.split != "train"} == {None}
    assert "6 images for validation or test are in folders that have no training images (images)" in said(layout)


def test_class_level_0_means_no_classes() -> None:
    layout = read("cat", "dog", class_level=0)
    assert layout.class_names == [] and {place.label for place in layout} == {None}


def test_the_class_level_counts_folders_below_and_above_the_splits() -> None:
    assert read("all/train/a/x", "all/train/b/y", "all/val/a/x", class_level=2).class_names == ["x", "y"]
    assert read("a/train/x", "b/train/y", "b/val/y", class_level=2).class_names == ["x", "y"]


def test_images_above_a_given_class_level_are_skipped() -> None:
    layout = read("a", "a/x", "b/y", class_level=2)
    assert layout.class_names == ["x", "y"]
    assert {place.path.rpartition("/")[0] for place in layout if place.fault == STRAY} == {"a"}


def test_a_class_level_without_folders_is_refused_with_the_deepest() -> None:
    with pytest.raises(
        DataError, match=r"no folders at level 3 .*--class-level\): the deepest are at level 2, such as"
    ):
        read("a/x", "b/y", class_level=3)
    with pytest.raises(DataError, match=r"no folders at level 1 .* the deepest are at level 0"):
        Layout(["1.png", "2.png"], Reading(source="", class_level=1))


def test_file_names_that_begin_with_classes_are_mentioned() -> None:
    names = [f"train/{name}.{index}.jpg" for name in ("cat", "dog") for index in range(10)] + ["test1/1.jpg"]
    layout = Layout(sorted(names))
    assert layout.class_names == [] and layout.splits == ("test", "train")
    assert "the file names begin with cat, dog: if those are classes, move the files" in said(layout)


@pytest.mark.parametrize("prefixes", [("IMG_", "DSC"), ("photo", "image"), ("a",)])
def test_names_that_cameras_give_are_not_mentioned(prefixes: tuple[str, ...]) -> None:
    assert not Layout(sorted(f"{name}{index:04d}.jpg" for name in prefixes for index in range(20))).remarks


@pytest.mark.parametrize("split", ["", "train"])
def test_class_folders_without_an_image_are_named(tmp_path: Path, split: str) -> None:
    folder = tmp_path / split
    for name in ("cat", "dog"):
        write(folder / name / "1.png", encoded(noise(4, 5, 1)))
    (folder / "eel").mkdir()
    write(folder / "fox" / "notes.txt", b"none yet")
    (folder / ".git").mkdir()
    source = find(str(tmp_path))
    assert list(source.class_names) == ["cat", "dog"]
    above = f"{split}/" if split else ""
    assert [text for _, text in source.remarks] == [f"no images in {above}eel, {above}fox: not classes"]
