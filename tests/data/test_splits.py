"""Split folders are known by their usual names, by a pattern that siblings share, or by data.splits."""

from typing import Any

import pytest

from ganloom.config import Reading
from ganloom.core.errors import DataError
from ganloom.data.sources.layout import OUTSIDE, Layout
from ganloom.data.sources.splits import named


def read(*folders: str, splits: Any = None, class_level: int | None = None, count: int = 3) -> Layout:
    """The layout of some images in each folder."""
    paths = sorted(f"{folder}/{index}.png".lstrip("/") for folder in folders for index in range(count))
    return Layout(paths, Reading(source="", splits=splits, class_level=class_level))


def splits_of(layout: Layout) -> dict[str, str]:
    """The split of each folder."""
    return {place.path.rpartition("/")[0]: place.split for place in layout}


def said(layout: Layout) -> str:
    return "\n".join(f"{topic}: {text}" for topic, text in layout.remarks)


PAIRS = [
    ("Training", "Testing"),
    ("training_set", "test_set"),
    ("train", "validate"),
    ("train", "test1"),
    ("train", "dev"),
    ("TRAIN", "TEST"),
    ("trainset", "testset"),
    ("TrainingSet", "EvalSet"),
    ("train_images", "test_images"),
    ("images_train", "images_val"),
    ("train2017", "val2017"),
    ("tr", "te"),
    ("trainval", "test"),
    ("bounding_box_train", "bounding_box_test"),
    ("cats_train", "cats_test"),
    ("ISIC-2017_Training_Data", "ISIC-2017_Test_v2_Data"),
    ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1-2_Validation_Input"),
]


@pytest.mark.parametrize(("train", "other"), PAIRS)
@pytest.mark.parametrize("above", ["", "data/"])
def test_every_usual_name_of_a_split_is_known(train: str, other: str, above: str) -> None:
    layout = read(*(f"{above}{split}/{kind}" for split in (train, other) for kind in ("cat", "dog")))
    assert layout.class_names == ["cat", "dog"]
    split = "test" if "test" in other.lower() or other == "te" else "val"
    assert splits_of(layout) == {
        f"{above}{folder}/{kind}": name
        for folder, name in ((train, "train"), (other, split))
        for kind in ("cat", "dog")
    }
    assert {place.label for place in layout} == {0, 1}


def test_splits_that_are_not_named_train_val_test_are_said_with_the_flag_that_changes_them() -> None:
    assert "Testing is test, Training is train; to change it: --splits" in said(read("Training/a", "Testing/a"))
    assert not read("train/a", "val/a", "test/a").remarks


@pytest.mark.parametrize(
    "folders",
    [("train", "car", "bus"), ("steam_train", "toy_train", "car"), ("cat", "tr", "te"), ("steam", "blood_test")],
)
def test_a_class_with_the_word_of_a_split_stays_a_class(folders: tuple[str, ...]) -> None:
    layout = read(*folders)
    assert layout.class_names == sorted(folders) and layout.splits == ("train",)


def test_a_class_called_train_is_said_with_the_flag_that_makes_it_a_split() -> None:
    assert "'train' is taken for a class beside bus, car; if it is a split: --splits train=train" in said(
        read("train", "car", "bus")
    )


UNCLEAR = [
    (("Training/a", "Training/b", "Pruefung/a", "Pruefung/b"), "--splits Pruefung=test,Training=train"),
    (("train/a", "train/b", "extra/a", "extra/b"), "--splits extra=test,train=train"),
    (("training_set", "cats"), "--splits cats=test,training_set=train"),
    (("cat", "dog", "test"), "--splits test=test"),
    (("cat", "test 1"), "--splits 'cat=train,test 1=test'"),
    (("", "test"), "--splits test=test"),
    (("steam_train", "blood_test"), "--splits blood_test=test,steam_train=train"),
]


@pytest.mark.parametrize(("folders", "flag"), UNCLEAR)
def test_where_folders_may_be_splits_or_classes_both_readings_and_their_flags_are_named(
    folders: tuple[str, ...], flag: str
) -> None:
    with pytest.raises(DataError, match="name") as caught:
        read(*folders)
    assert flag in str(caught.value)
    assert "If folders are classes: --splits none" in str(caught.value)


@pytest.mark.parametrize(("folders", "flag"), UNCLEAR)
def test_either_flag_that_is_named_settles_it(folders: tuple[str, ...], flag: str) -> None:
    chosen = read(*folders, splits=flag.removeprefix("--splits ").strip("'"))
    assert "test" in chosen.splits
    assert read(*folders, splits="none").splits == ("train",)


def test_without_a_folder_for_training_everything_else_is_for_training() -> None:
    layout = read("cat", "dog", "holiday", splits="holiday=test")
    assert layout.class_names == ["cat", "dog"]
    assert splits_of(layout) == {"cat": "train", "dog": "train", "holiday": "test"}


def test_with_a_folder_for_training_the_others_are_skipped_and_counted() -> None:
    layout = read("a", "b", "c", splits={"a": "train", "b": "val"})
    assert {place.path for place in layout if place.fault == OUTSIDE} == {f"c/{index}.png" for index in range(3)}
    assert "3 images outside a, b are skipped (in c); to use them: --splits" in said(layout)


def test_splits_may_be_named_at_any_level() -> None:
    layout = read("all/cat/mine", "all/cat/yours", "all/dog/mine", splits="mine=train,yours=test")
    assert layout.class_names == ["cat", "dog"]
    assert splits_of(layout)["all/cat/yours"] == "test"


def test_a_folder_that_does_not_exist_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(DataError, match=r"no folder 'Trainin' for data\.splits \(--splits\)\. Did you mean 'Training'"):
        read("Training/a", "Testing/a", splits="Trainin=train,Testing=test")


def test_splits_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(DataError, match="no images for training"):
        read("a", "b", splits="a=val,b=test")


def test_split_folders_in_each_class_folder_are_splits() -> None:
    """As in MVTec AD, where every object has train and test."""
    layout = read("bottle/train/good", "bottle/test/good", "cable/train/good", "cable/test/broken")
    assert layout.class_names == ["bottle", "cable"]
    assert [splits_of(layout)[f"{name}/test/{kind}"] for name, kind in (("bottle", "good"), ("cable", "broken"))] == [
        "test",
        "test",
    ]
    assert "(folders of level 2)" in said(layout)


def test_folds_of_a_cross_validation_are_refused_because_they_overlap() -> None:
    folds = [f"fold{number}/{split}/cat" for number in (1, 2) for split in ("train", "test")]
    with pytest.raises(DataError, match=r"fold1, fold2 are folds .* Give the path of one of them.* --splits none"):
        read(*folds)
    assert read(*folds, splits="none").splits == ("train",)


@pytest.mark.parametrize("others", [("cat", "dog"), ("Training/cat", "Testing/cat"), ("train/1", "val/1", "test/1")])
def test_a_folder_with_everything_once_more_is_left_out_and_said(others: tuple[str, ...]) -> None:
    layout = read(*others, *(f"all/{folder}" for folder in others))
    assert not any(place.path.startswith("all/") for place in layout)
    assert f"copies: {3 * len(others)} images in all are left out" in said(layout)


def test_a_folder_with_other_images_is_not_a_copy() -> None:
    assert not read("cat", "dog", "all/cat", "all/dog", "all/eel").copies
    assert not read("a/train", "train").copies


def test_folders_that_name_split_and_class_give_both() -> None:
    layout = read("trainA", "trainB", "testA", "testB")
    assert layout.class_names == ["A", "B"]
    assert {place.path[:5]: (place.split, place.label) for place in layout} == {
        "train": ("train", 1),
        "testA": ("test", 0),
        "testB": ("test", 1),
    }
    assert read("DIV2K_train_HR", "DIV2K_valid_HR", "DIV2K_train_LR", "DIV2K_valid_LR").class_names == [
        "DIV2K_HR",
        "DIV2K_LR",
    ]


def test_a_split_that_is_the_only_folder_is_only_a_folder() -> None:
    layout = read("test/cat", "test/dog")
    assert layout.class_names == ["cat", "dog"] and layout.splits == ("train",)


def test_folders_test_and_val_without_train_are_refused_with_three_ways_on() -> None:
    with pytest.raises(DataError, match=r"give the path of one .* --splits none\. .* --splits test=train,val=train"):
        read("test", "val")


@pytest.mark.parametrize("name", ["cat", "strain", "contest", "testament", "valley", "latest", "trained", "testtrain"])
def test_words_that_contain_the_name_of_a_split_are_not_splits(name: str) -> None:
    assert named(name) is None
