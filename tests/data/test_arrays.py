import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ganloom.core.errors import DataError
from ganloom.data.decode import values
from ganloom.data.sources.arrays import DEEP_TYPES, ArraySource, open_source

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


def test_a_class_that_only_another_split_has_is_a_class(tmp_path: Path) -> None:
    source = npz(tmp_path, x_train=GREY, y_train=[0, 1, 0, 1], x_test=GREY[:1], y_test=[5])
    assert source.class_names == ["0", "1", "2", "3", "4", "5"]


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
        (
            COLOUR.transpose(0, 3, 1, 2),
            r"has shape \(4, 3, 5, 6\), NCHW instead of NHWC: save it with \.transpose\(0, 2, 3, 1\)",
        ),
        (GREY[:, None], r"has shape \(4, 1, 5, 6\), NCHW instead of NHWC"),
        (COLOUR / 255, r"is float64, not uint8: scale it to 0\.\.255 and save it with \.astype\('uint8'\)"),
        (COLOUR.astype(np.float32), "is float32, not uint8: .* Only grey images may have type uint16, .*, float64"),
        (COLOUR.astype(np.uint16), "is uint16, not uint8"),
        (GREY.astype(np.int64), "is int64, not uint8"),
        (GREY.astype(np.bool_), "is bool, not uint8"),
        (GREY.astype(np.complex64), "is complex64, not uint8"),
        (GREY[0], r"has shape \(5, 6\): it should be NHW, or NHWC"),
        (np.zeros((4, 5, 6, 2), np.uint8), r"has shape \(4, 5, 6, 2\): .* with 1, 3 or 4 channels"),
        (np.zeros((2, 4, 5, 6, 3), np.uint8), r"has shape \(2, 4, 5, 6, 3\)"),
        (np.uint8(3), r"has shape \(\)"),
        (GREY[:0], "is empty: its shape is"),
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
        (np.arange(4.0), "have type float64: class numbers should be integers"),
        (np.array(["a", "b", "a", "b"]), "have type <U1: class numbers should be integers"),
        (np.zeros((4, 2, 2)), r"have shape \(4, 2, 2\)"),
        (np.array([[1, -1]] * 4), "have negative values: write 0 and 1 instead of -1 and 1"),
        (np.full((4, 2), "a"), r"have shape \(4, 2\) and type <U1"),
    ],
)
def test_invalid_labels_are_refused(tmp_path: Path, numbers: NDArray[Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"labels 'labels' of .*file\.npz {message}"):
        npz(tmp_path, images=GREY, labels=numbers)


def test_a_file_without_training_images_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"looked for 'train_images', 'x_train'.*found pictures, test_images"):
        npz(tmp_path, pictures=GREY, test_images=GREY)


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
