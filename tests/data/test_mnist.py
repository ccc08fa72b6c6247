import gzip
import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from serving import md5, serve

from ganloom.core.errors import DataError
from ganloom.data.sources import fashion_mnist, mnist
from ganloom.data.sources.idx import read_idx
from ganloom.data.sources.mnist import IdxSource

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
LABELS = np.array([3, 9, 0, 9, 1], np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANLOOM_DATA", raising=False)


def idx(array: NDArray[np.uint8]) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


def download(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *contents: bytes) -> IdxSource:
    """The source of four files with these contents, from a server."""
    names = [name for pair in mnist.FILES.values() for name in pair]
    monkeypatch.setattr(module, "MD5", tuple(md5(content) for content in contents))
    with serve(dict(zip((f"set/{name}" for name in names), contents, strict=True))) as url:
        monkeypatch.setattr(module, "MIRRORS", (f"{url}nothing/", f"{url}set/"))
        source: IdxSource = module.open_source("")
    return source


@pytest.mark.parametrize("module", [mnist, fashion_mnist], ids=["mnist", "fashion_mnist"])
def test_four_files_are_downloaded_verified_and_read_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    source = download(module, monkeypatch, idx(IMAGES[:3]), idx(LABELS[:3]), idx(IMAGES[3:]), idx(LABELS[3:]))
    items = list(source.items())
    assert np.array_equal(np.stack([np.asarray(item.open()) for item in items]), IMAGES)
    assert [item.label for item in items] == LABELS.tolist()
    assert all(type(item.label) is int for item in items)
    assert [item.name for item in items] == ["train/0", "train/1", "train/2", "test/0", "test/1"]
    assert [item.split for item in items] == ["train"] * 3 + ["test"] * 2
    assert (source.count, source.splits, source.ignored) == (5, ("train", "test"), 0)
    assert len(source.class_names) == 10
    folder = module.__name__.rpartition(".")[2]
    assert source.name == folder
    assert (tmp_path / "cache" / "downloads" / folder / "train-images-idx3-ubyte.gz").exists()


def test_mnist_and_fashion_mnist_do_not_use_each_others_files(monkeypatch: pytest.MonkeyPatch) -> None:
    first = download(mnist, monkeypatch, idx(IMAGES[:3]), idx(LABELS[:3]), idx(IMAGES[3:]), idx(LABELS[3:]))
    other = [idx(255 - IMAGES[:3]), idx(LABELS[:3]), idx(255 - IMAGES[3:]), idx(LABELS[3:])]
    second = download(fashion_mnist, monkeypatch, *other)
    assert np.array_equal(np.asarray(next(first.items()).open()), IMAGES[0])
    assert np.array_equal(np.asarray(next(second.items()).open()), 255 - IMAGES[0])
    assert set(first.fingerprint()).isdisjoint(second.fingerprint())


def test_a_folder_of_local_copies_holds_both_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_DATA", str(tmp_path / "data"))
    contents = [idx(IMAGES[:3]), idx(LABELS[:3]), idx(IMAGES[3:]), idx(LABELS[3:])]
    for folder in ("mnist", "fashion_mnist"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for name, content in zip([name for pair in mnist.FILES.values() for name in pair], contents, strict=True):
            (tmp_path / "data" / folder / name).write_bytes(content)
    for module in (mnist, fashion_mnist):
        monkeypatch.setattr(module, "MD5", tuple(md5(content) for content in contents))
        monkeypatch.setattr(module, "MIRRORS", ())
        assert module.open_source("").count == 5


def test_a_wrong_number_of_labels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz has 1 labels for the 2 images"):
        download(mnist, monkeypatch, idx(IMAGES[:3]), idx(LABELS[:3]), idx(IMAGES[3:]), idx(LABELS[:1]))


def test_a_label_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.array([3, 10, 0], np.uint8)
    source = download(mnist, monkeypatch, idx(IMAGES[:3]), idx(labels), idx(IMAGES[3:]), idx(LABELS[3:]))
    with pytest.raises(DataError, match="has label 10 for 10 classes"):
        list(source.items())


GOOD = gzip.decompress(idx(IMAGES))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(GOOD[:-1]), r"has 3919 bytes of data; its header \(5, 28, 28\) says 3920"),
        (gzip.compress(GOOD + b"\x00"), "has 3921 bytes of data"),
        (
            gzip.compress(b"\x00\x00\x0d\x03" + GOOD[4:]),
            "is not an IDX file of bytes with 3 dimensions, it begins with 00000d03",
        ),
        (idx(LABELS), "is not an IDX file of bytes with 3 dimensions"),
        (gzip.compress(GOOD[:10]), "is not an IDX file"),
        (gzip.compress(b""), "is not an IDX file .* begins with nothing"),
        (gzip.compress(GOOD)[:-20], "cannot be unzipped"),
        (gzip.compress(GOOD)[:-5] + bytes(5), "cannot be unzipped"),
    ],
    ids=["short", "long", "floats", "dimensions", "half a header", "empty", "cut off", "checksum"],
)
def test_a_file_that_is_not_what_its_header_says_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file.gz").write_bytes(content)
    with pytest.raises(DataError, match=rf"file\.gz {message}"):
        read_idx(tmp_path / "file.gz", 3)
