"""Features are the same whatever the batch is, and the cache never gives those of something else."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ganloom.core.errors import DataError, ModelError
from ganloom.core.files import cache_folder
from ganloom.core.memory import Blocks
from ganloom.metrics.contract import Images
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors import loomnet
from ganloom.metrics.extractors.contract import Extractor, Outputs, to_rgb

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (150, 40, 24, 3), np.uint8)


@pytest.fixture(autouse=True)
def own_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path))


def images(pixels: np.ndarray = PIXELS, identity: str = "some", rows: int | None = None) -> Images:
    return Images(lambda index: pixels[index], np.arange(rows or len(pixels)), None, "noise", identity, "train")


class Counting(Extractor):
    """The mean of each channel; counts how many images it has seen."""

    id, weights, resize = "counting", "0" * 64, "none"

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, images: Tensor) -> Outputs:
        self.seen += len(images)
        return Outputs(to_rgb(images).mean(dim=(2, 3)), None)


@pytest.mark.parametrize("batch", [1, 7, 150])
def test_the_batch_does_not_change_a_digit(batch: int) -> None:
    encoder = loomnet.load()
    usual = Extraction(encoder, CPU).features(images()).pooled
    other = Extraction(encoder, CPU, blocks=Blocks(batch)).features(images()).pooled
    np.testing.assert_allclose(other, usual, rtol=1e-5, atol=1e-6)


def test_features_are_computed_once() -> None:
    counting = Counting()
    first = Extraction(counting, CPU).cached(images())
    second = Extraction(counting, CPU).cached(images())
    assert counting.seen == len(PIXELS)
    np.testing.assert_array_equal(first.pooled, second.pooled)


def test_a_cache_file_cut_in_half_or_changed_is_replaced() -> None:
    counting = Counting()
    whole = Extraction(counting, CPU).cached(images())
    (file,) = (cache_folder() / "features").iterdir()
    data = file.read_bytes()
    flipped = bytearray(data)
    flipped[-5] ^= 1
    for damaged in (data[: len(data) // 2], bytes(flipped), b"", b"nonsense"):
        file.write_bytes(damaged)
        np.testing.assert_array_equal(Extraction(counting, CPU).cached(images()).pooled, whole.pooled)
        assert file.read_bytes() == data
    assert counting.seen == 5 * len(PIXELS)


def test_a_cache_file_of_other_images_is_replaced() -> None:
    counting = Counting()
    own = Extraction(counting, CPU).cached(images())
    (file,) = (cache_folder() / "features").iterdir()
    Extraction(counting, CPU).cached(images(PIXELS[::-1], identity="another"))
    (other,) = set((cache_folder() / "features").iterdir()) - {file}
    file.write_bytes(other.read_bytes())
    np.testing.assert_array_equal(Extraction(counting, CPU).cached(images()).pooled, own.pooled)


def changes() -> Iterator[tuple[str, Images, dict[str, str]]]:
    yield "content", images(identity="another"), {}
    yield "choice", images(rows=149), {}
    yield "split", dataclasses.replace(images(), split="val"), {}
    yield "weights", images(), {"weights": "1" * 64}
    yield "resize", images(), {"resize": "clean"}
    yield "extractor", images(), {"id": "another"}


@pytest.mark.parametrize(
    ("changed", "attributes"), [case[1:] for case in changes()], ids=[case[0] for case in changes()]
)
def test_the_cache_is_keyed_by_everything(changed: Images, attributes: dict[str, str]) -> None:
    Extraction(Counting(), CPU).cached(images())
    counting = Counting()
    for name, value in attributes.items():
        setattr(counting, name, value)
    Extraction(counting, CPU).cached(changed)
    assert counting.seen == len(changed)


def test_out_of_memory_halves_the_batch_and_changes_nothing() -> None:
    class Small(Counting):
        def forward(self, images: Tensor) -> Outputs:
            if len(images) > 20:
                raise torch.OutOfMemoryError("no")
            return super().forward(images)

    extraction = Extraction(Small(), CPU)
    np.testing.assert_array_equal(
        extraction.features(images()).pooled, Extraction(Counting(), CPU).features(images()).pooled
    )
    assert extraction.blocks.size <= 20


def test_an_error_of_the_network_is_not_taken_for_missing_memory() -> None:
    class Broken(Counting):
        def forward(self, images: Tensor) -> Outputs:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Extraction(Broken(), CPU).features(images())


def test_features_that_are_not_finite_are_refused_and_not_cached() -> None:
    class Diverged(Counting):
        def forward(self, images: Tensor) -> Outputs:
            return Outputs(super().forward(images).features / 0, None)

    with pytest.raises(DataError, match="not finite"):
        Extraction(Diverged(), CPU).cached(images())
    assert not (cache_folder() / "features").exists()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_number_of_channels_comes_to_rgb(channels: int) -> None:
    pixels = torch.from_numpy(PIXELS[:2]).permute(0, 3, 1, 2)
    grey = pixels[:, :1]
    given = {
        1: grey,
        3: grey.expand(-1, 3, -1, -1),
        4: torch.cat([grey.expand(-1, 3, -1, -1), torch.full_like(grey, 255)], 1),
    }
    torch.testing.assert_close(to_rgb(given[channels]), grey.float().expand(-1, 3, -1, -1))


def test_what_is_transparent_is_white() -> None:
    clear = torch.zeros(1, 4, 2, 2, dtype=torch.uint8)
    assert (to_rgb(clear) == 255).all()


def test_features_that_a_hash_does_not_identify_are_never_cached() -> None:
    counting = Counting()
    counting.is_pinned = False
    for _ in range(2):
        Extraction(counting, CPU).cached(images())
    assert counting.seen == 2 * len(PIXELS)


def test_batches_of_different_width_are_refused() -> None:
    class Ragged(Counting):
        def forward(self, images: Tensor) -> Outputs:
            return Outputs(torch.zeros(len(images), len(images)), None)

    with pytest.raises(ModelError, match="more features for some batches than for others"):
        Extraction(Ragged(), CPU).features(images())
