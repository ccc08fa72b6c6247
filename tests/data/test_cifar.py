import io
import os
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from serving import md5, serve

from ganloom.core.errors import DataError
from ganloom.data.sources import cifar10, cifar100
from ganloom.data.sources.cifar10 import CifarSource

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), np.uint8)
LABELS = [3, 0, 9, 9, 1, 7, 2]
# One image per training batch and two in the test batch.
BATCHES = [*cifar10.PUBLISHED.files, "test_batch.bin"]


@pytest.fixture(autouse=True)
def folder(data_home: Path) -> Path:
    return data_home


def record(image: NDArray[np.uint8], *labels: int) -> bytes:
    """One image as it is in the files: labels, then the red, green and blue plane."""
    return bytes(labels) + b"".join(image[:, :, channel].tobytes() for channel in range(3))


def batches() -> dict[str, bytes]:
    """Five training batches with one image each, and a test batch with two."""
    files = dict.fromkeys(cifar10.PUBLISHED.files, b"")
    for name, image, label in zip(BATCHES, PIXELS, LABELS, strict=True):
        files[name] += record(image, label)
    return files


def unpack(folder: Path, files: dict[str, bytes]) -> None:
    (folder / "cifar-10-batches-bin").mkdir()
    for name, data in files.items():
        (folder / "cifar-10-batches-bin" / name).write_bytes(data)


def tar_gz(root: str, files: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files:
            info = tarfile.TarInfo(f"{root}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def check(source: CifarSource) -> None:
    """Seven images, to the pixel, in the order of the files."""
    items = list(source.items())
    assert np.array_equal(np.stack([np.asarray(item.open()) for item in items]), PIXELS)
    assert [item.label for item in items] == LABELS
    assert [item.split for item in items] == ["train"] * 5 + ["test"] * 2
    assert [item.name for item in items[-3:]] == ["data_batch_5.bin/0", "test_batch.bin/0", "test_batch.bin/1"]
    assert (source.count, source.splits, source.ignored) == (7, ["train", "test"], 0)


def test_the_archive_is_downloaded_verified_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled = sorted(batches().items(), key=lambda file: file[0][::-1])  # as the published one is
    data = tar_gz("cifar-10-batches-bin", [*shuffled, ("batches.meta.txt", b"airplane\n")])
    with serve({"bad": data[:-9], "archive": data}) as url:
        archive = replace(cifar10.PUBLISHED.archive, md5=md5(data), urls=(url + "bad", url + "archive"))
        published = replace(cifar10.PUBLISHED, archive=archive, counts={"train": 5, "test": 2})
        monkeypatch.setattr(cifar10, "PUBLISHED", published)
        source = cifar10.open_source("")
    assert source.name == "cifar10"
    check(source)
    assert list(source.fingerprint()) == [f"cifar-10-binary.tar.gz\t{md5(data)}"]


def test_an_unpacked_folder_is_read_where_it_lies(folder: Path) -> None:
    unpack(folder, batches())
    check(cifar10.open_source(""))


def test_an_archive_beside_the_folder_is_preferred_as_it_can_be_verified(folder: Path) -> None:
    unpack(folder, batches())
    (folder / "cifar-10-binary.tar.gz").write_bytes(b"not it")
    with pytest.raises(DataError, match=r"is not the published cifar-10-binary\.tar\.gz"):
        cifar10.open_source("")


def test_only_one_batch_is_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpack(folder, batches())
    read: list[str] = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or original(path))  # type: ignore[func-returns-value]
    items = cifar10.open_source("").items()
    assert read == []
    next(items)
    next(items)
    assert read == ["data_batch_1.bin", "data_batch_2.bin"]


def test_a_folder_that_lacks_files_is_refused_by_their_names(folder: Path) -> None:
    files = batches()
    del files["data_batch_2.bin"], files["test_batch.bin"]
    unpack(folder, files)
    with pytest.raises(
        DataError, match=r"lacks data_batch_2\.bin, test_batch\.bin: unpack cifar-10-binary\.tar\.gz again"
    ):
        cifar10.open_source("")


def test_a_file_cut_short_is_refused_before_it_is_read(folder: Path) -> None:
    unpack(folder, {**batches(), "data_batch_3.bin": record(PIXELS[0], 0)[:-1]})
    with pytest.raises(DataError, match=r"data_batch_3\.bin is damaged, 3072 bytes are not a whole number of images"):
        cifar10.open_source("")


def test_a_label_out_of_range_is_refused(folder: Path) -> None:
    unpack(folder, {**batches(), "data_batch_3.bin": record(PIXELS[0], 10)})
    source = cifar10.open_source("")
    with pytest.raises(DataError, match=r"data_batch_3\.bin of .* has label 10 for 10 classes"):
        list(source.items())


def test_an_archive_that_lacks_a_file_is_refused(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    data = tar_gz("cifar-10-batches-bin", list(batches().items())[:-1])
    (folder / "cifar-10-binary.tar.gz").write_bytes(data)
    archive = replace(cifar10.PUBLISHED.archive, md5=md5(data))
    monkeypatch.setattr(cifar10, "PUBLISHED", replace(cifar10.PUBLISHED, archive=archive))
    with pytest.raises(DataError, match=r"test_batch\.bin of .* cannot be read"):
        list(cifar10.open_source("").items())


def test_the_fingerprint_of_a_folder_is_that_of_its_files(folder: Path) -> None:
    unpack(folder, batches())
    before = list(cifar10.open_source("").fingerprint())
    os.utime(folder / "cifar-10-batches-bin" / "test_batch.bin", ns=(1, 1))
    after = list(cifar10.open_source("").fingerprint())
    assert len(before) == 6
    assert before[:5] == after[:5]
    assert before[5] != after[5]


def test_the_classes_of_cifar100_are_its_fine_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"train.bin": record(PIXELS[0], 19, 99) + record(PIXELS[1], 4, 0), "test.bin": record(PIXELS[2], 0, 53)}
    data = tar_gz("cifar-100-binary", files.items())
    with serve({"archive": data}) as url:
        archive = replace(cifar100.PUBLISHED.archive, md5=md5(data), urls=(url + "archive",))
        published = replace(cifar100.PUBLISHED, archive=archive, counts={"train": 2, "test": 1})
        monkeypatch.setattr(cifar100, "PUBLISHED", published)
        source = cifar100.open_source("")
    items = list(source.items())
    assert [source.class_names[item.label] for item in items] == ["worm", "apple", "orange"]  # type: ignore[index]
    assert [item.split for item in items] == ["train", "train", "test"]
    assert np.array_equal(np.stack([np.asarray(item.open()) for item in items]), PIXELS[:3])
    assert (source.name, source.count) == ("cifar100", 3)


def test_a_hundred_classes_have_a_hundred_names_in_alphabetical_order() -> None:
    names = cifar100.PUBLISHED.class_names
    assert len(set(names)) == 100
    assert list(names) == sorted(names)
