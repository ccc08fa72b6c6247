"""A dataset can be looked at and handed to PyTorch: len, an index, a view of a split."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import ganloom
from ganloom.core.errors import DataError
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import Item


@pytest.fixture
def flat(tmp_path: Path) -> ganloom.Dataset:
    """Twelve images without classes, whose level is their number."""
    (tmp_path / "in").mkdir()
    for number in range(12):
        Image.new("RGB", (6, 4), (number, 100, 200)).save(tmp_path / "in" / f"{number:02d}.png")
    return ganloom.prepare(tmp_path / "in", tmp_path / "out", holdout=0.25)


def test_its_length_is_that_of_the_training_split(digits: PackedDataset) -> None:
    assert len(digits) == digits.count("train") == 1720
    assert len(digits.view("val")) == digits.count("val") == 77


def test_an_image_is_a_uint8_tensor_with_the_number_of_its_class(digits: PackedDataset) -> None:
    image, label = digits[3]
    assert image.shape == (1, 32, 32) and image.dtype == torch.uint8 and image.is_contiguous()
    assert isinstance(label, int) and digits.class_names[label] == str(label)
    index = np.array([3])
    assert np.array_equal(image.permute(1, 2, 0).numpy(), digits.images(index)[0]) and label == digits.labels(index)[0]


def test_an_index_may_count_from_the_end_and_must_be_there(digits: PackedDataset) -> None:
    assert torch.equal(digits[-1][0], digits[1719][0])
    assert torch.equal(digits[np.int64(5)][0], digits[5][0])
    for wrong in (1720, -1721):
        with pytest.raises(IndexError, match=f"there is no image {wrong}: 'train' of digits has 1,720"):
            digits[wrong]


def test_iterating_ends(flat: ganloom.Dataset) -> None:
    assert len(list(flat)) == len(flat)


def test_without_a_label_it_is_minus_one(flat: ganloom.Dataset) -> None:
    assert flat.class_names == [] and {label for _, label in flat.view()} == {-1}


def test_labels_of_overlapping_classes_are_vectors() -> None:
    class Overlapping:
        name, class_names, splits, ignored, count, remarks = "overlapping", ("a", "b"), ("train",), 0, 4, ()

        def fingerprint(self) -> Iterator[str]:
            yield "overlapping"

        def items(self) -> Iterator[Item]:
            for number in range(4):
                label = np.array([number % 2, 1], np.float32)
                yield Item(f"{number}", "train", label, lambda number=number: Image.new("L", (4, 4), number))

    dataset = prepare(Overlapping(), Preprocessing())
    _, label = dataset[0]
    assert isinstance(label, torch.Tensor) and label.dtype == torch.float32 and label.shape == (2,)
    images, labels = next(iter(DataLoader(dataset.view(), batch_size=2)))
    assert images.shape == (2, 1, 4, 4) and labels.shape == (2, 2)


def test_a_data_loader_reads_every_image_once(flat: ganloom.Dataset) -> None:
    loader = DataLoader(flat.view("train"), batch_size=4, shuffle=True)
    images = torch.cat([images for images, _ in loader])
    assert images.shape == (len(flat), 3, 4, 6) and images.dtype == torch.uint8
    assert len(set(images[:, 0, 0, 0].tolist())) == len(flat)


@pytest.mark.slow
def test_workers_of_a_data_loader_open_it_again(flat: ganloom.Dataset) -> None:
    flat.images(np.arange(2))  # mapped already
    loader = DataLoader(flat.view(), batch_size=4, num_workers=1, multiprocessing_context="spawn")
    assert sum(len(images) for images, _ in loader) == len(flat)


def test_a_copy_by_pickle_is_the_same(flat: ganloom.Dataset) -> None:
    flat.images(np.arange(2))
    copy = pickle.loads(pickle.dumps(flat))
    assert copy.content_hash == flat.content_hash and torch.equal(copy[1][0], flat[1][0])


def test_a_split_that_is_not_there_is_named(digits: PackedDataset) -> None:
    with pytest.raises(DataError, match=r"digits has no split 'test'\. Its splits: train, val"):
        digits.view("test")


def test_it_says_in_a_line_what_it_is(digits: PackedDataset) -> None:
    assert repr(digits) == f"Dataset({str(digits.path)!r}, 32x32 grey, 1,720 train, 77 val in 10 classes)"
    assert "77 images in 'val' of Dataset(" in repr(digits.view("val"))


def test_findings_say_in_a_line_what_they_are(tmp_path: Path) -> None:
    assert repr(ganloom.inspect("digits")) == "Findings(digits: 1,797 images in 10 classes, 32x32 grey)"
    for number in range(3):
        Image.new("RGB", (4 + number % 2, 4), (9, 0, 200)).save(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    found = repr(ganloom.inspect(tmp_path))
    assert found.startswith(f"Findings({tmp_path.name}: 3 images, 2 sizes, mostly 4x4 colour, 1 damaged file")
    assert "\n" not in found
