from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from packing import pack
from torch import Tensor

from ganloom.api.costs import Noise
from ganloom.core.shapes import ImageShape
from ganloom.data.stream import Stream, permute, resident

sizes = st.integers(1, 5000)
keys = st.integers(0, 2**63 - 1)


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts with an empty cache."""
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))


@dataclass(frozen=True)
class Numbered:
    """A dataset whose image i is a row of four pixels: 255, low byte of i, high byte, 0. Its label is i too."""

    size: int

    def count(self) -> int:
        return self.size

    def images(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        bounds = np.full_like(index, 255), np.zeros_like(index)
        return np.stack([bounds[0], index % 256, index // 256, bounds[1]], axis=1).astype(np.uint8)[:, None, :, None]

    def labels(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        return index


def stream(size: int, seed: int = 0, *, with_labels: bool = True, mirror: bool = False) -> Stream:
    return Stream(Numbered(size), seed, with_labels, mirror)  # type: ignore[arg-type]


def flipped(images: Tensor) -> list[bool]:
    return (images[:, 0, 0, 0] == 0).tolist()


def numbers(images: Tensor) -> list[int]:
    """What each image shows, flipped or not."""
    flip = images[:, 0, 0, 0] == 0
    row = torch.where(flip[:, None], images[:, 0, 0].flip(1), images[:, 0, 0]).int()
    return (row[:, 1] + 256 * row[:, 2]).tolist()


# The permutation


@settings(deadline=None)
@given(size=sizes, key=keys)
def test_permute_maps_every_index_of_any_size_to_a_different_one(size: int, key: int) -> None:
    assert np.array_equal(np.sort(permute(np.arange(size), size, key)), np.arange(size))


def test_permute_is_a_bijection_at_every_small_size_and_around_powers_of_two() -> None:
    for size in (*range(1, 300), *(2**power + step for power in range(9, 15) for step in (-1, 0, 1))):
        assert np.array_equal(np.sort(permute(np.arange(size), size, size * 7)), np.arange(size)), size


@settings(deadline=None)
@given(size=sizes, key=keys, data=st.data())
def test_permute_maps_each_index_independently_of_the_others(size: int, key: int, data: Any) -> None:
    index = np.array(data.draw(st.lists(st.integers(0, size - 1), max_size=8)), dtype=np.int64)
    assert np.array_equal(permute(index, size, key), permute(np.arange(size), size, key)[index])


def test_permute_needs_no_memory_for_a_huge_size() -> None:
    size = 10**12 + 39
    found = permute(np.array([0, 1, size - 1], dtype=np.int64), size, 5)
    assert len(set(found.tolist())) == 3
    assert ((found >= 0) & (found < size)).all()


@settings(deadline=None)
@given(size=st.integers(50, 5000), key=keys, other=keys)
def test_another_key_gives_another_order(size: int, key: int, other: int) -> None:
    same = np.array_equal(permute(np.arange(size), size, key), permute(np.arange(size), size, other))
    assert same == (key == other)


@pytest.mark.slow
def test_every_image_is_equally_frequent_at_every_position_of_the_epoch() -> None:
    size, epochs = 20, 2000
    places = np.array([permute(np.arange(size), size, key) for key in range(epochs)])
    counts = np.stack([np.bincount(column, minlength=size) for column in places.T])
    expected = epochs / size
    assert ((counts - expected) ** 2 / expected).sum() < 520  # chi-square with 361 degrees of freedom, p = 1e-7


def test_neighbours_do_not_stay_neighbours() -> None:
    steps = np.diff(permute(np.arange(5000), 5000, 3))
    assert np.unique(steps, return_counts=True)[1].max() < 20


# The stream


@settings(deadline=None, max_examples=50)
@given(size=st.integers(1, 400), seed=st.integers(0, 10**6))
def test_every_epoch_shows_every_image_once(size: int, seed: int) -> None:
    order = numbers(stream(size, seed).images(0, 3 * size))
    for epoch in range(3):
        assert sorted(order[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_the_order_differs_between_epochs_and_between_seeds() -> None:
    orders = [numbers(stream(100, seed).images(epoch * 100, 100)) for seed in range(5) for epoch in range(5)]
    assert len({tuple(order) for order in orders}) == 25
    assert list(range(100)) not in orders


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(size=st.integers(1, 60), seed=st.integers(0, 99), cuts=st.lists(st.integers(1, 70), min_size=1, max_size=8))
def test_sample_i_does_not_depend_on_the_batch_size(size: int, seed: int, cuts: list[int]) -> None:
    samples, total = stream(size, seed, mirror=True), sum(cuts)
    starts = np.cumsum([0, *cuts[:-1]]).tolist()
    images = torch.cat([samples.images(start, count) for start, count in zip(starts, cuts, strict=True)])
    labels = torch.cat([samples.labels(start, count) for start, count in zip(starts, cuts, strict=True)])  # type: ignore[misc]
    assert torch.equal(images, samples.images(0, total))
    assert torch.equal(labels, samples.labels(0, total))  # type: ignore[arg-type]


def test_a_batch_may_cross_the_end_of_an_epoch_and_whole_epochs() -> None:
    samples = stream(10)
    long = numbers(samples.images(7, 26))
    assert long == [numbers(samples.images(index, 1))[0] for index in range(7, 33)]
    assert sorted(long[3:13]) == sorted(long[13:23]) == list(range(10))


def test_a_dataset_of_one_image_repeats_it() -> None:
    assert numbers(stream(1).images(5, 4)) == [0, 0, 0, 0]


def test_samples_far_into_the_stream_are_available() -> None:
    samples = stream(1000)
    start = 10**12
    assert sorted(numbers(samples.images(start, 1000))) == list(range(1000))


@pytest.mark.parametrize("mirror", [False, True])
def test_each_label_is_that_of_its_image(mirror: bool) -> None:
    samples = stream(300, mirror=mirror)
    labels = samples.labels(123, 700)
    assert labels is not None
    assert labels.tolist() == numbers(samples.images(123, 700))


def test_without_labels_there_are_none() -> None:
    assert stream(5, with_labels=False).labels(0, 3) is None


# The mirror


def test_the_mirror_flips_about_half_of_the_samples_and_nothing_is_flipped_without_it() -> None:
    assert 0.47 < np.mean(flipped(stream(50, mirror=True).images(0, 4000))) < 0.53
    assert not any(flipped(stream(50).images(0, 4000)))


def test_the_mirror_leaves_the_order_alone() -> None:
    assert numbers(stream(50, mirror=True).images(0, 200)) == numbers(stream(50).images(0, 200))


def test_flips_depend_on_the_seed_and_the_sample_and_not_on_the_image() -> None:
    coins = [flipped(stream(64, seed, mirror=True).images(0, 640)) for seed in (0, 0, 1)]
    assert coins[0] == coins[1]
    assert 0.4 < np.mean(np.array(coins[0]) == np.array(coins[2])) < 0.6
    only = flipped(stream(1, mirror=True).images(0, 100))
    assert set(only) == {False, True}


def test_a_flipped_image_is_turned_left_to_right_only(tmp_path: Path) -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(1, 2, 3, 3)
    shown = (
        Stream(pack(tmp_path, images=image), 0, with_labels=False, mirror=True)
        .images(0, 50)
        .permute(0, 2, 3, 1)
        .numpy()
    )
    turned = [np.array_equal(each, image[0, :, ::-1]) for each in shown]
    assert any(turned)
    assert all(turn or np.array_equal(each, image[0]) for turn, each in zip(turned, shown, strict=True))


# Over a packed dataset


def test_only_training_images_are_streamed_each_with_its_label(tmp_path: Path) -> None:
    images = np.arange(60, dtype=np.uint8).repeat(6).reshape(60, 2, 3)
    dataset = pack(tmp_path, x_val=images[:20], y_val=range(20), x_train=images[20:], y_train=range(20, 60))
    samples = Stream(dataset, 0, with_labels=True)
    shown, labels = samples.images(0, 80), samples.labels(0, 80)
    assert labels is not None
    assert sorted(shown[:, 0, 0, 0].tolist()) == sorted([*range(20, 60)] * 2)
    assert [int(dataset.class_names[label]) for label in labels] == shown[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("mirror", [False, True])
def test_resident_images_are_those_of_the_dataset(tmp_path: Path, mirror: bool) -> None:
    images = np.arange(420, dtype=np.uint16).astype(np.uint8).reshape(7, 4, 5, 3)
    dataset = pack(tmp_path, images=images)
    whole = torch.from_numpy(dataset.images(np.arange(dataset.count())))
    kept = Stream(dataset, 0, with_labels=False, mirror=mirror, resident=whole)
    mapped = Stream(dataset, 0, with_labels=False, mirror=mirror)
    assert torch.equal(kept.images(3, 40), mapped.images(3, 40))
    whole += 1  # the stream reads the resident tensor
    assert not torch.equal(kept.images(3, 40), mapped.images(3, 40))
    assert resident(dataset, torch.device("cpu")) is None


def test_images_are_not_resident_on_a_gpu_without_room_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Works for any `Dataset`, even without a description, as the proposal of `inspect` uses."""
    dataset = Noise(ImageShape(3, 32, 32), [], 1000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000 * 3 * 32 * 32, 0))
    assert resident(dataset, torch.device("cuda")) is None


@pytest.mark.parametrize("labels", [range(7), np.eye(7, 3)], ids=["class", "shares"])
def test_a_batch_is_uint8_nchw_and_channels_last_in_memory(tmp_path: Path, labels: Any) -> None:
    dataset = pack(tmp_path, images=np.arange(420, dtype=np.uint16).astype(np.uint8).reshape(7, 4, 5, 3), labels=labels)
    samples = Stream(dataset, 0, with_labels=True)
    images, y = samples.images(0, 6), samples.labels(0, 6)
    assert (images.dtype, images.shape) == (torch.uint8, (6, 3, 4, 5))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert y is not None
    assert (y.dtype, y.shape) == ((torch.int64, (6,)) if isinstance(labels, range) else (torch.float32, (6, 3)))
