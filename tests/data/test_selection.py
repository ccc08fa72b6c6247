"""Which images are selected and which are held out: always the same, whatever other images there are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import encoded, entries, labels, noise, packed_by_name, pictures, prepared, rows, write
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.selection import Selection
from ganloom.data.sources import find
from ganloom.data.sources.arrays import ArraySource

SHARE = Selection(holdout=0.4)


def split_of(dataset: PackedDataset) -> dict[str, str]:
    return {entry["file"]: entry["split"] for entry in entries(dataset) if "split" in entry}


def of_images(folder: Path, images: Mapping[str, NDArray[np.uint8]], choice: Selection = SHARE, **how: Any) -> Any:
    """The split of each image."""
    for name, image in images.items():
        write(folder / "in" / name, encoded(image))
    return split_of(prepared(folder / "in", folder / "out", Preprocessing(**how), choice))


IMAGES = {f"{seed:02}.png": noise(6, 8, 3, seed) for seed in range(30)}


def test_the_same_images_are_held_out_each_time(tmp_path: Path) -> None:
    splits = of_images(tmp_path / "a", IMAGES)
    assert set(splits.values()) == {"train", "val"}
    assert of_images(tmp_path / "b", IMAGES) == splits


def test_the_hold_out_does_not_depend_on_names_or_order(tmp_path: Path) -> None:
    splits = of_images(tmp_path / "a", IMAGES)
    renamed = {f"{99 - int(name[:2])}.png": image for name, image in IMAGES.items()}
    others = of_images(tmp_path / "b", renamed)
    assert {name: others[f"{99 - int(name[:2])}.png"] for name in IMAGES} == splits


def test_the_hold_out_does_not_depend_on_other_images(tmp_path: Path) -> None:
    splits = of_images(tmp_path / "a", IMAGES)
    some = {name: image for name, image in IMAGES.items() if int(name[:2]) % 3}
    assert of_images(tmp_path / "b", some) == {name: splits[name] for name in some}


@pytest.mark.parametrize("how", [{"size": (3, 4)}, {"size": (5, 5), "resize": "fit"}, {"channels": 1}, {"channels": 3}])
def test_the_hold_out_does_not_depend_on_the_preprocessing(tmp_path: Path, how: Any) -> None:
    assert of_images(tmp_path / "b", IMAGES, **how) == of_images(tmp_path / "a", IMAGES)


def test_the_hold_out_does_not_depend_on_the_compression(tmp_path: Path) -> None:
    splits = of_images(tmp_path / "a", IMAGES)
    for name, image in IMAGES.items():
        write(tmp_path / "b" / name.replace("png", "bmp"), encoded(image, "BMP"))
    again = split_of(prepared(tmp_path / "b", tmp_path / "out", selection=SHARE))
    assert {name.replace("bmp", "png"): split for name, split in again.items()} == splits


def many(folder: Path, count: int = 2000) -> ArraySource:
    folder.mkdir(exist_ok=True)
    np.save(folder / "x.npy", np.random.default_rng(0).integers(0, 256, (count, 2, 4), np.uint8))
    return ArraySource([folder / "x.npy"])


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_about_the_given_fraction_is_held_out(tmp_path: Path, share: float) -> None:
    dataset = prepare(many(tmp_path), Preprocessing(), Selection(holdout=share), tmp_path / "out")
    spread = 5 * (share * (1 - share) / 2000) ** 0.5
    assert abs(dataset.count("val") / 2000 - share) <= spread
    assert dataset.count() + dataset.count("val") == 2000
    assert dataset.splits == (["train", "val"] if share else ["train"])


def test_a_larger_fraction_holds_out_the_same_and_more(tmp_path: Path) -> None:
    few, more = (of_images(tmp_path / str(share), IMAGES, Selection(holdout=share)) for share in (0.2, 0.6))
    assert {name for name in few if few[name] == "val"} < {name for name in more if more[name] == "val"}


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_identical_images_are_in_one_split(tmp_path_factory: pytest.TempPathFactory, seed: int, share: float) -> None:
    folder = tmp_path_factory.mktemp("equal")
    images = {f"{copy}-{number}.png": noise(3, 4, 3, seed + number) for copy in "abc" for number in range(6)}
    images |= {f"other-{number}.png": noise(3, 4, 3, seed + 100 + number) for number in range(20)}
    try:
        splits = of_images(folder, images, Selection(holdout=share))
    except DataError:
        return  # no image is left for training
    for number in range(6):
        assert len({splits[f"{copy}-{number}.png"] for copy in "abc"}) == 1


def test_a_source_with_splits_keeps_its_own(tmp_path: Path) -> None:
    pictures(tmp_path / "in", *(f"{split}/{number}.png" for split in ("train", "test") for number in range(9)))
    dataset = prepared(tmp_path / "in", tmp_path / "out", selection=SHARE)
    assert dataset.description.splits == {"train": 9, "test": 9}


def test_if_all_are_held_out_the_message_names_the_remedy(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png")
    with pytest.raises(DataError, match="All were held out"):
        prepared(tmp_path / "in", tmp_path / "out", selection=Selection(holdout=0.999999))


# Groups

PATIENTS = {
    f"patient{patient:02}_{shot}.png": noise(3, 4, 1, 10 * patient + shot) for patient in range(20) for shot in range(4)
}


@pytest.mark.parametrize(
    "pattern", [r"patient\d+", r"(patient\d+)_", r"^(patient)(\d+)", r"patient\d+(?=_)", r"(?:x)?(t\d+)"]
)
def test_a_group_is_in_one_split(tmp_path: Path, pattern: str) -> None:
    splits = of_images(tmp_path, PATIENTS, Selection(holdout=0.4, group_by=pattern))
    assert set(splits.values()) == {"train", "val"}
    for patient in range(20):
        assert len({splits[f"patient{patient:02}_{shot}.png"] for shot in range(4)}) == 1


def test_without_groups_a_patient_is_in_both_splits(tmp_path: Path) -> None:
    splits = of_images(tmp_path, PATIENTS)
    assert any(len({splits[f"patient{patient:02}_{shot}.png"] for shot in range(4)}) == 2 for patient in range(20))


def test_another_pattern_that_finds_the_same_text_gives_the_same_groups(tmp_path: Path) -> None:
    one = of_images(tmp_path / "a", PATIENTS, Selection(holdout=0.4, group_by=r"patient\d+"))
    other = of_images(tmp_path / "b", PATIENTS, Selection(holdout=0.4, group_by=r"(patient\d+)_"))
    assert one == other


def test_an_image_without_a_group_is_split_by_its_content(tmp_path: Path) -> None:
    alone = {f"z{number}.png": noise(3, 4, 1, 900 + number) for number in range(12)}
    grouped = of_images(tmp_path / "a", PATIENTS | alone, Selection(holdout=0.4, group_by=r"patient\d+"))
    by_image = of_images(tmp_path / "b", alone)
    assert {name: grouped[name] for name in alone} == by_image


def test_groups_are_refused_where_the_source_has_splits(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "train/p1.png", "val/p2.png")
    with pytest.raises(DataError, match=r"--group-by\) applies to the hold-out.*already has splits \(train, val\)"):
        prepared(tmp_path / "in", tmp_path / "out", selection=Selection(group_by=r"p\d"))
    assert not (tmp_path / "out").exists()


def test_a_pattern_that_matches_nothing_is_refused_with_an_example(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "scan-1.png")
    with pytest.raises(
        DataError, match=r"--group-by\) 'patient' matches no name of in: .*one of the names is 'scan-1.png'"
    ):
        prepared(tmp_path / "in", tmp_path / "out", selection=Selection(group_by="patient"))


# Classes


def test_only_the_selected_classes_are_used_and_renumbered(tmp_path: Path) -> None:
    pictures(tmp_path / "in", *(f"{kind}/{number}.png" for kind in ("ant", "bee", "cat", "dog") for number in range(3)))
    dataset = prepared(tmp_path / "in", tmp_path / "out", selection=Selection(holdout=0, classes=("dog", "bee")))
    assert dataset.class_names == ["bee", "dog"]
    assert labels(dataset) == [0, 0, 0, 1, 1, 1]
    assert sorted(packed_by_name(dataset)) == [f"{kind}/{number}.png" for kind in ("bee", "dog") for number in range(3)]
    account = dataset.description.account
    assert (account.taken, account.left_out) == (6, 6)


def test_an_image_of_a_class_left_out_is_not_even_opened(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "ant/1.png", "bee/1.png")
    write(tmp_path / "in" / "bee" / "broken.png", b"")
    account = prepared(
        tmp_path / "in", tmp_path / "out", selection=Selection(holdout=0, classes=("ant",)), max_skipped=0
    ).description.account
    assert (account.taken, account.left_out, account.skipped) == (1, 2, 0)


def test_of_several_labels_those_of_selected_classes_are_kept(tmp_path: Path) -> None:
    shares = np.array([[1, 0, 0.5], [0, 1, 0], [0, 0, 0], [0, 0.25, 1]], np.float32)
    np.savez(tmp_path / "x.npz", images=np.stack([noise(3, 4, 1, seed) for seed in range(4)]), labels=shares)
    source = ArraySource([tmp_path / "x.npz"], class_names=["a", "b", "c"])
    dataset = prepare(source, Preprocessing(), Selection(holdout=0, classes=("a", "c")), tmp_path / "out")
    assert dataset.class_names == ["a", "c"]
    assert labels(dataset) == [[1, 0.5], [0, 1]]
    assert dataset.description.account.left_out == 2


def test_images_without_a_label_are_left_out_if_classes_are_selected(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "train/ant/1.png", "train/bee/1.png", "test/1.png")
    dataset = prepared(tmp_path / "in", tmp_path / "out", selection=Selection(classes=("ant",)))
    assert dataset.description.splits == {"train": 1}
    assert dataset.description.account.left_out == 2


@pytest.mark.parametrize(("asked", "answer"), [("dogg", "Did you mean 'dog'?"), ("zebra", "Known: ant, dog.")])
def test_an_unknown_class_is_refused_with_what_may_be_meant(tmp_path: Path, asked: str, answer: str) -> None:
    pictures(tmp_path / "in", "ant/1.png", "dog/1.png")
    with pytest.raises(DataError) as error:
        prepared(tmp_path / "in", tmp_path / "out", selection=Selection(classes=("ant", asked)))
    assert f"no class '{asked}'" in str(error.value) and answer in str(error.value)


def test_classes_of_a_source_without_any_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "1.png")
    with pytest.raises(DataError, match="There are none"):
        prepared(tmp_path / "in", tmp_path / "out", selection=Selection(classes=("ant",)))


# Duplicates


def test_of_identical_images_one_is_used_with_drop_duplicates_and_all_otherwise(tmp_path: Path) -> None:
    image = noise(3, 4, 3)
    for name, content in {
        "1.png": encoded(image),
        "2.bmp": encoded(image, "BMP"),
        "3.png": encoded(noise(3, 4, 3, 1)),
        "4.png": encoded(image, compress_level=0),
    }.items():
        write(tmp_path / "in" / name, content)
    kept, dropped = (
        prepared(tmp_path / "in", tmp_path / str(drop), selection=Selection(holdout=0, drop_duplicates=drop))
        for drop in (False, True)
    )
    assert [
        (each.taken, each.duplicates, each.dropped) for each in (kept.description.account, dropped.description.account)
    ] == [
        (4, 2, 0),
        (2, 0, 2),
    ]
    assert list(packed_by_name(dropped)) == ["1.png", "3.png"]


def test_images_equal_only_after_resizing_are_not_duplicates(tmp_path: Path) -> None:
    image = noise(8, 8, 1)
    other = image.copy()
    other[0, 0] ^= 1
    write(tmp_path / "in" / "1.png", encoded(image))
    write(tmp_path / "in" / "2.png", encoded(other))
    dataset = prepared(tmp_path / "in", tmp_path / "out", Preprocessing((1, 1)), Selection(0, drop_duplicates=True))
    assert np.array_equal(*rows(dataset))
    assert dataset.description.account.dropped == 0


def test_a_packed_dataset_can_be_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))
    images = {f"{kind}/{number}.png": noise(3, 4, 1, number % 3) for kind in "ab" for number in range(6)}
    of_images(tmp_path, images, Selection(holdout=0))
    source = find(str(tmp_path / "out"))
    assert prepare(source, Preprocessing(), Selection()).path == tmp_path / "out"  # unchanged
    only = prepare(source, Preprocessing(), Selection(classes=("b",)))
    assert only.class_names == ["b"] and only.description.account.left_out == 6
    unique = prepare(source, Preprocessing(), Selection(drop_duplicates=True))
    assert sum(unique.description.splits.values()) == 3
    with pytest.raises(DataError, match=r"--group-by\) 'patient' matches no name"):
        prepare(source, Preprocessing(), Selection(group_by="patient"))


def test_blank_images_of_different_shapes_are_not_duplicates(tmp_path: Path) -> None:
    for name, shape in {"wide.png": (2, 8), "high.png": (8, 2), "square.png": (4, 4)}.items():
        write(tmp_path / "in" / name, encoded(np.zeros(shape, np.uint8)))
    dataset = prepared(tmp_path / "in", tmp_path / "out", Preprocessing((4, 4)), Selection(0, drop_duplicates=True))
    assert dataset.count() == 3


def test_a_grey_picture_is_the_same_whether_it_is_stored_in_grey_or_in_colour(tmp_path: Path) -> None:
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8))
    grey.save(tmp_path / "a.png")
    grey.convert("RGB").save(tmp_path / "b.png")
    nearly = np.asarray(grey.convert("RGB")).copy()
    nearly[7, 7, 0] ^= 1  # not one of the few pixels that are compared first
    Image.fromarray(nearly).save(tmp_path / "c.png")
    dataset = prepare(find(str(tmp_path)), Preprocessing(), Selection(holdout=0), tmp_path.parent / "packed-grey")
    assert dataset.description.account.duplicates == 1
