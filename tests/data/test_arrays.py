import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ganloom.core.errors import DataError
from ganloom.data.decode import values
from ganloom.data.sources import find
from ganloom.data.sources.arrays import ArraySource, open_source
from ganloom.data.sources.npy import Array

DEEP_TYPES = ("uint16", "int16", "int32", "float16", "float32", "float64")

GREY = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
COLOUR = np.arange(4 * 5 * 6 * 3, dtype=np.uint32).astype(np.uint8).reshape(4, 5, 6, 3)


def npz(tmp_path: Path, **arrays: Any) -> ArraySource:
    np.savez(tmp_path / "file.npz", **arrays)
    return open_source(str(tmp_path / "file.npz"))


def npy(tmp_path: Path, array: NDArray[Any]) -> ArraySource:
    np.save(tmp_path / "file.npy", array)
    return open_source(str(tmp_path / "file.npy"))


def pixels(source: ArraySource, split: str = "train") -> NDArray[np.uint8]:
    return np.stack([np.asarray(item.open()) for item in source.items() if item.split == split])


def labels(source: ArraySource, split: str = "train") -> list[Any]:
    return [item.label for item in source.items() if item.split == split]


@pytest.mark.parametrize(
    ("array", "same"),
    [
        (GREY, GREY),
        (GREY[..., None], GREY),
        (COLOUR, COLOUR),
        (np.concatenate([COLOUR, COLOUR[..., :1]], axis=3), np.concatenate([COLOUR, COLOUR[..., :1]], axis=3)),
        (np.asfortranarray(COLOUR), COLOUR),
    ],
    ids=["NHW", "NHW1", "NHW3", "NHW4", "fortran"],
)
def test_images_are_read_exactly(tmp_path: Path, array: NDArray[np.uint8], same: NDArray[np.uint8]) -> None:
    for source in (npy(tmp_path, array), npz(tmp_path, images=array)):
        assert np.array_equal(pixels(source), same)
        assert source.name == "file"
        assert source.class_names == []
        assert labels(source) == [None] * 4


@pytest.mark.parametrize("dtype", DEEP_TYPES)
@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 1)], ids=["NHW", "NHW1"])
def test_grey_images_of_more_than_8_bits_keep_their_values(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    deep = (GREY.astype(np.int64) * 200 - (0 if dtype == "uint16" else 5000)).astype(dtype)
    for source in (npy(tmp_path, deep.reshape(shape)), npz(tmp_path, images=deep.reshape(shape))):
        assert np.array_equal(np.stack([values(item.open()) for item in source.items()]), deep)


@pytest.mark.parametrize(
    "keys",
    [
        ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
    ],
    ids=["medmnist", "keras"],
)
def test_splits_are_found_by_common_keys(tmp_path: Path, keys: tuple[str, ...]) -> None:
    parts = [GREY, np.arange(4), GREY[:2] + 1, np.arange(2), GREY[:3] + 2, np.arange(3)]
    source = npz(tmp_path, **dict(zip(keys, parts, strict=True)))
    for split, images, numbers in zip(("train", "val", "test"), parts[::2], parts[1::2], strict=True):
        assert np.array_equal(pixels(source, split), images)
        assert labels(source, split) == numbers.tolist()
    assert source.class_names == ["0", "1", "2", "3"]


@pytest.mark.parametrize("keys", [("images", "labels"), ("x", "y"), ("X", "y")])
def test_plain_keys_are_training_images(tmp_path: Path, keys: tuple[str, str]) -> None:
    source = npz(tmp_path, **{keys[0]: GREY, keys[1]: [1, 0, 1, 1]})
    assert np.array_equal(pixels(source), GREY)
    assert labels(source) == [1, 0, 1, 1]
    assert source.class_names == ["0", "1"]


def test_a_class_without_a_training_image_is_not_a_class(tmp_path: Path) -> None:
    source = npz(tmp_path, x_train=GREY, y_train=[1, 3, 1, 3], x_test=GREY[:2], y_test=[3, 5])
    assert source.class_names == ["1", "3"]
    assert labels(source) == [0, 1, 0, 1] and labels(source, "test") == [1, None]
    assert [remark.text for remark in source.remarks] == [
        "the 4 classes 0, 2, 4, 5 have no training image and have been left out"
    ]


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_labels_of_one_column_are_classes_of_any_integer_type(
    tmp_path: Path, dtype: Any, shape: tuple[int, ...]
) -> None:
    source = npz(tmp_path, images=GREY, labels=np.array([1, 0, 1, 1], dtype).reshape(shape))
    assert labels(source) == [1, 0, 1, 1]
    assert all(type(label) is int for label in labels(source))
    assert source.class_names == ["0", "1"]


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32, np.float64])
def test_labels_of_several_columns_are_shares_of_each_class(tmp_path: Path, dtype: Any) -> None:
    shares = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 1]], dtype)
    source = npz(tmp_path, images=GREY, labels=shares)
    assert all(label.dtype == np.float32 for label in labels(source))
    assert np.array_equal(np.stack(labels(source)), shares)
    assert source.class_names == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (COLOUR * 3.5 - 90, r"holds colours of type float64 with values from -90 to .*: scale them to 0\.\.255"),
        (COLOUR.astype(np.int64) * 1000, "holds colours of type int64 with values from 0 to 255000"),
        (GREY.astype(np.complex64), r"is complex64, not numbers: save it with \.astype\('uint8'\)"),
        (GREY[0], r"has shape \(5, 6\): it should be \[N, H, W\], or \[N, H, W, C\]"),
        (np.zeros((20, 30, 3), np.uint8), r"has shape \(20, 30, 3\), which looks like a single image: give the folder"),
        (np.zeros((60, 784), np.uint8), r"has shape \(60, 784\): if each row .* \.reshape\(-1, 28, 28\)"),
        (
            np.zeros((60, 3072), np.uint8),
            r"has shape \(60, 3072\): .* \.reshape\(-1, 32, 32, 3\), or with \.reshape\(-1, 3, 32, 32\)",
        ),
        (np.zeros((4, 5, 6, 2), np.uint8), r"has shape \(4, 5, 6, 2\): its last axis should have 1, 3 or 4 channels"),
        (
            np.zeros((16, 16, 3, 40), np.uint8),
            r"has shape .*, which looks like \[H, W, C, N\]: save it with \.transpose\(3, 0, 1, 2\)",
        ),
        (
            np.zeros((9, 20, 24, 28), np.uint8),
            r"has shape .* If it holds volumes, save their slices with \.reshape\(-1, 24, 28\)",
        ),
        (np.zeros((2, 4, 5, 6, 3), np.uint8), r"has shape \(2, 4, 5, 6, 3\)"),
        (GREY[:0], "is empty, its shape is .*: save it with at least one image"),
    ],
)
def test_arrays_that_are_not_images_are_refused(tmp_path: Path, images: NDArray[Any], message: str) -> None:
    for read in (lambda: npy(tmp_path, images), lambda: npz(tmp_path, images=images)):
        with pytest.raises(DataError, match=rf"array 'images' of .*file\.np[yz] {message}"):
            read()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (np.arange(3), r"have shape \(3,\) for 4 images"),
        (np.arange(5), r"have shape \(5,\) for 4 images"),
        (np.arange(4) - 1, "should be class numbers from 0"),
        (np.arange(4) / 2, "have type float64: class numbers should be whole numbers. Round them, or leave them out"),
        (np.zeros((4, 2, 2)), r"have shape \(4, 2, 2\)"),
        (np.array([[1, -1]] * 4), "have negative values: write 0 and 1 instead of -1 and 1"),
        (np.full((4, 2), "a"), r"have shape \(4, 2\) and type <U1"),
    ],
)
def test_invalid_labels_are_refused(tmp_path: Path, numbers: NDArray[Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"labels 'labels' of .*file\.npz {message}"):
        npz(tmp_path, images=GREY, labels=numbers)


def said(source: ArraySource) -> str:
    return "\n".join(f"{topic}: {text}" for topic, text in source.remarks)


def test_a_file_without_training_images_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no array of training images, only test_images \[4, 5, 6\]: name it"):
        npz(tmp_path, test_images=GREY)


def test_statistics_of_features_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds statistics of features"):
        npz(tmp_path, mu=np.zeros(8), sigma=np.eye(8))


@pytest.mark.parametrize("keys", [("arr_0", "arr_1"), ("data", "target"), ("X_train", "Y_train"), ("TrainX", "trainY")])
def test_keys_count_whatever_their_case(tmp_path: Path, keys: tuple[str, str]) -> None:
    source = npz(tmp_path, **{keys[0]: COLOUR, keys[1]: np.array([1, 0, 1, 1])})
    assert np.array_equal(pixels(source), COLOUR)
    assert labels(source) == [1, 0, 1, 1]


def test_the_only_array_of_images_is_taken_and_said(tmp_path: Path) -> None:
    source = npz(tmp_path, faces=COLOUR, ages=np.arange(4.0) / 2)
    assert np.array_equal(pixels(source), COLOUR)
    assert source.class_names == []
    assert said(source) == "arrays: images from 'faces', no labels; not read: ages"


def test_of_two_arrays_of_images_none_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"several arrays that may be the images: 'low' .*, 'high' .*np\.savez"):
        npz(tmp_path, low=COLOUR, high=COLOUR)


@pytest.mark.parametrize("array", [COLOUR, GREY[..., None]], ids=["colour", "grey"])
def test_channels_before_height_and_width_are_recognised(tmp_path: Path, array: NDArray[np.uint8]) -> None:
    source = npy(tmp_path, array.transpose(0, 3, 1, 2))
    assert np.array_equal(pixels(source), array.squeeze())
    assert "was read as [N, C, H, W]" in said(source)


SPREAD = np.linspace(0, 255, COLOUR.size).round().astype(np.uint8).reshape(COLOUR.shape)


@pytest.mark.parametrize(
    ("array", "black", "white"),
    [
        ((SPREAD / 255).astype(np.float32), 0, 1),
        (SPREAD / 127.5 - 1, -1, 1),
        (SPREAD.astype(np.float64), 0, 255),
        (SPREAD.astype(np.int64), 0, 255),
        (SPREAD.astype(">u2") * 257, 0, 65535),
    ],
    ids=["0 to 1", "-1 to 1", "float 255", "int64", "big-endian 16 bits"],
)
def test_the_range_of_colours_says_which_are_black_and_white(
    tmp_path: Path, array: NDArray[Any], black: int, white: int
) -> None:
    for source in (npy(tmp_path, array), npz(tmp_path, images=array)):
        assert np.array_equal(pixels(source), SPREAD)
        assert f"{black} is black and {white} is white" in said(source)


def test_12_bits_of_colour_are_recognised(tmp_path: Path) -> None:
    source = npy(tmp_path, SPREAD.astype(np.uint16) * 16)
    assert np.abs(pixels(source).astype(int) - SPREAD).max() <= 1
    assert "4095 is white" in said(source)


def test_grey_floats_keep_their_values_and_have_a_window(tmp_path: Path) -> None:
    source = npy(tmp_path, SPREAD[..., 0] / 255)
    assert next(iter(source.items())).open().mode == "F"
    assert source.window == (0, 1)
    assert list(source.fingerprint())[1:] == ["float64 from 0 to 1"]
    assert npy(tmp_path, SPREAD[..., 0] / 255000).window is None  # too dark to be a share of white


def test_masks_are_black_and_white(tmp_path: Path) -> None:
    assert np.unique(pixels(npy(tmp_path, SPREAD[..., 0] > 127))).tolist() == [0, 255]


def test_a_colour_image_outside_the_range_of_the_others_is_refused(tmp_path: Path) -> None:
    array = np.zeros((1025, 2, 2, 3))
    array[::2], array[-2] = 1, 2  # every second one is examined
    *_, outside, last = npz(tmp_path, images=array).items()
    assert np.asarray(last.open()).min() == 255
    with pytest.raises(OSError, match=r"has values from 2 to 2, but others lie between 0 and 1"):
        outside.open()


def test_whole_floats_are_class_numbers(tmp_path: Path) -> None:
    source = npz(tmp_path, images=GREY, labels=np.array([1.0, 0, 1, 1]))
    assert labels(source) == [1, 0, 1, 1] and source.class_names == ["0", "1"]


@pytest.mark.parametrize("kind", ["U", "S"])
def test_texts_are_class_names(tmp_path: Path, kind: str) -> None:
    source = npz(tmp_path, x_train=GREY, y_train=np.array(["owl", "cat", "cat", "owl"]).astype(kind), x_test=GREY[:1],
                 y_test=np.array(["dog"]).astype(kind))  # fmt: skip
    assert source.class_names == ["cat", "owl"]
    assert labels(source) == [1, 0, 0, 1] and labels(source, "test") == [None]  # no training image shows a dog


@pytest.mark.parametrize("given", ["folder", "pattern"])
def test_files_of_one_image_each_are_as_many_images(tmp_path: Path, given: str) -> None:
    for index, image in enumerate(SPREAD):
        np.save(tmp_path / f"slice{index}.npy", np.hstack([image, image] * 2).repeat(3, axis=0))
    source = find(str(tmp_path if given == "folder" else tmp_path / "*.npy"))
    assert [item.name for item in source.items()] == [f"slice{index}.npy" for index in range(4)]
    assert all(item.open().size == (24, 15) for item in source.items())
    assert "4 files were read as one image each" in said(source)  # type: ignore[arg-type]


def test_labels_may_be_in_a_file_of_their_own(tmp_path: Path) -> None:
    for name, array in (("X_train", COLOUR), ("y_train", [1, 0, 1, 1]), ("X_test", COLOUR[:2]), ("y_test", [0, 1])):
        np.save(tmp_path / f"{name}.npy", array)
    source = find(str(tmp_path))
    assert isinstance(source, ArraySource) and source.splits == ("train", "test")
    assert labels(source) == [1, 0, 1, 1] and labels(source, "test") == [0, 1]


def test_flat_rows_with_labels_are_square_images(tmp_path: Path) -> None:
    rows = np.arange(3 * 64, dtype=np.uint8).reshape(3, 64)
    source = npz(tmp_path, data=rows, target=[0, 1, 0])
    assert np.array_equal(pixels(source), rows.reshape(3, 8, 8))
    assert "read as images of 8x8" in said(source)


@pytest.mark.parametrize("content", [b"", b"not arrays", b"\x93NUMPY\x01\x00\x10", b"\x93NUMPY" + bytes(50)])
def test_a_file_that_is_not_an_array_is_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("file.npy", "file.npz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} cannot be read as arrays"):
            open_source(str(tmp_path / name))


def test_an_array_cut_short_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "file.npy", GREY)
    (tmp_path / "file.npy").write_bytes((tmp_path / "file.npy").read_bytes()[:-1])
    with pytest.raises(DataError, match="cannot be read as arrays"):
        open_source(str(tmp_path / "file.npy"))


class Trap:
    """A malicious pickle: loading it creates a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("kind", ["npy of objects", "npz of objects", "bare pickle as npy", "bare pickle as npz"])
def test_a_pickle_is_refused_and_never_run(tmp_path: Path, kind: str) -> None:
    sprung = tmp_path / "sprung"
    path = tmp_path / f"file.{kind[-3:] if kind.startswith('bare') else kind[:3]}"
    objects = np.array([Trap(sprung)], dtype=object)
    if kind == "npy of objects":
        np.save(path, objects, allow_pickle=True)
    elif kind == "npz of objects":
        np.savez(path, images=GREY, labels=objects)
    else:
        path.write_bytes(pickle.dumps(Trap(sprung)))

    with pytest.raises(DataError, match="cannot be read as arrays"):
        open_source(str(path))
    assert not sprung.exists()

    loaded = np.load(path, allow_pickle=True)  # the trap works: loading with pickle runs it
    if kind == "npz of objects":
        with loaded:
            loaded["labels"]
    assert sprung.exists()


def test_the_fingerprint_is_that_of_the_file(tmp_path: Path) -> None:
    source = npy(tmp_path, GREY)
    before = list(source.fingerprint())
    os.utime(tmp_path / "file.npy", ns=(1, 1))
    after = list(source.fingerprint())
    assert len(before) == len(after) == 1
    assert before != after


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train.npz", "test.npz"),
        ("train/a.npz", "test/a.npz"),
        ("train/a.npy", "test/a.npy"),
        ("x/train/b/a.npz", "x/test/b/a.npz"),
    ],
)
@pytest.mark.parametrize("pattern", ["", "**/*.np?"])
def test_names_of_files_and_folders_are_splits(tmp_path: Path, train: str, test: str, pattern: str) -> None:
    for name, array in ((train, GREY), (test, GREY + 1)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, images=array) if path.suffix == ".npz" else np.save(path, array)
    source = open_source(str(tmp_path / pattern))
    assert np.array_equal(pixels(source), GREY)
    assert np.array_equal(pixels(source, "test"), GREY + 1)
    assert len({item.name for item in source.items()}) == 8


def test_keys_say_more_about_splits_than_names_of_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", x_train=GREY, x_val=GREY[:1])
    np.savez(tmp_path / "test.npz", images=GREY[:2])
    source = open_source(str(tmp_path))
    assert [len(labels(source, split)) for split in ("train", "val", "test")] == [4, 1, 2]


def test_files_without_one_for_training_are_all_for_training(tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", images=GREY)
    np.savez(tmp_path / "val.npz", images=GREY)
    assert len(labels(open_source(str(tmp_path)))) == 8


def test_labels_in_a_file_belong_to_the_images_of_their_folder(tmp_path: Path) -> None:
    for split, first in (("train", 0), ("test", 4)):
        (tmp_path / split).mkdir()
        np.save(tmp_path / split / "images.npy", GREY)
        np.save(tmp_path / split / "labels.npy", [first % 5, 1, 2, 3])
    source = open_source(str(tmp_path))
    assert labels(source, "train")[0] == 0
    assert labels(source, "test")[1:] == [1, 2, 3]


def test_rows_are_sampled_without_reading_on_to_the_end() -> None:
    read: list[int] = []

    def rows() -> Iterator[NDArray[np.uint8]]:
        for row, array in enumerate(GREY):
            read.append(row)
            yield array

    array = Array("images", Path("a.npz"), GREY.shape, GREY.dtype, rows)
    assert len(list(array.some(1))) == 1
    assert read == [0]
    assert len(list(array.some(2))) == 2
    assert read == [0, 0, 1, 2]
