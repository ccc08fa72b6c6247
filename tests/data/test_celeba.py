import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import md5

from ganloom.core.errors import DataError
from ganloom.data.sources import celeba

COUNT = 40
NAMES = [f"{number:06}.jpg" for number in range(1, COUNT + 1)]
ATTRIBUTES = "40\nSmiling Young Male\n" + "".join(
    f"{name} {'-1' if index % 2 else ' 1'}  1 -1\n" for index, name in enumerate(NAMES)
)
PARTITION = "".join(f"{name} {0 if index < 30 else 1 if index < 35 else 2}\n" for index, name in enumerate(NAMES))


@pytest.fixture(autouse=True)
def folder(data_home: Path) -> Path:
    return data_home


def photograph(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((218, 178, 3), shade, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def images(files: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The archive. Without `files`, image i has the grey level i."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.mkdir("img_align_celeba")
        for name, data in (files or {name: photograph(index) for index, name in enumerate(NAMES)}).items():
            archive.writestr(f"img_align_celeba/{name}", data)
    return buffer.getvalue()


def put(folder: Path, monkeypatch: pytest.MonkeyPatch, **contents: bytes | str) -> celeba.CelebaSource:
    """The source when these files lie in the folder."""
    for constant, content in contents.items():
        data = content.encode() if isinstance(content, str) else content
        remote = getattr(celeba, constant)
        (folder / remote.name).write_bytes(data)
        monkeypatch.setattr(celeba, constant, replace(remote, md5=md5(data)))
    return celeba.open_source("")


def shade(image: Image.Image) -> int:
    return int(np.asarray(image)[100, 100, 0])


def test_without_lists_all_faces_are_for_training_and_have_no_labels(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(folder, monkeypatch, IMAGES=images())
    items = list(source.items())
    assert [shade(item.open()) for item in items] == list(range(COUNT))
    assert [item.name for item in items] == [f"img_align_celeba/{name}" for name in NAMES]
    assert {(item.split, item.label) for item in items} == {("train", None)}
    assert (source.name, source.count, source.splits, source.ignored) == ("celeba", COUNT, ["train"], 0)
    assert source.class_names == []
    assert len(list(source.fingerprint())) == 1


def test_attributes_are_labels_and_the_partition_makes_splits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(folder, monkeypatch, IMAGES=images(), ATTRIBUTES=ATTRIBUTES, PARTITION=PARTITION)
    items = list(source.items())
    labels = np.stack([np.asarray(item.label) for item in items])
    assert labels.dtype == np.float32
    assert labels[:2].tolist() == [[1, 1, 0], [0, 1, 0]]
    assert labels.sum(axis=0).tolist() == [20, 40, 0]
    assert source.class_names == ["Smiling", "Young", "Male"]
    assert [item.split for item in items] == ["train"] * 30 + ["val"] * 5 + ["test"] * 5
    assert source.splits == ["train", "val", "test"]
    assert len(list(source.fingerprint())) == 3


def test_images_may_be_opened_from_many_threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(folder, monkeypatch, IMAGES=images())
    items = list(source.items()) * 25
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda item: shade(item.open()), items)) == list(range(COUNT)) * 25


def test_without_the_archive_the_message_says_what_to_download_from_where() -> None:
    with pytest.raises(DataError, match=r"img_align_celeba\.zip must be downloaded by hand.*CelebA\.html.*put it at"):
        celeba.open_source("")


def test_a_wrong_list_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "list_eval_partition.txt").write_text(PARTITION)
    with pytest.raises(DataError, match=r"is not the published list_eval_partition\.txt"):
        put(folder, monkeypatch, IMAGES=images())


@pytest.mark.parametrize("constant", ["ATTRIBUTES", "PARTITION"])
def test_a_face_that_a_list_does_not_have_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, constant: str
) -> None:
    text = {"ATTRIBUTES": ATTRIBUTES, "PARTITION": PARTITION}[constant].replace("000007.jpg", "other.jpg")
    source = put(folder, monkeypatch, **{"IMAGES": images(), constant: text})
    with pytest.raises(DataError, match=r"000007\.jpg of .* is not in the lists beside it"):
        list(source.items())


def test_a_damaged_face_is_an_oserror_of_that_face_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = images({"1.jpg": photograph(1), "2.jpg": photograph(2), "3.jpg": b"no photograph"})
    data = data.replace(photograph(1)[-50:], bytes(50), 1)  # the ends of all files are equal
    one, two, three = put(folder, monkeypatch, IMAGES=data).items()
    with pytest.raises(OSError, match="it cannot be unzipped: Bad CRC-32"):
        one.open()
    assert shade(two.open()) == 2
    with pytest.raises(OSError, match="cannot identify image file"):
        three.open()


def test_a_face_that_unzips_to_too_much_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celeba, "MAX_BYTES", 100_000)
    data = images({"1.jpg": bytes(100_001), "2.jpg": photograph(2)}, zipfile.ZIP_DEFLATED)
    one, two = put(folder, monkeypatch, IMAGES=data).items()
    with pytest.raises(OSError, match="it has 100001 bytes; an image may have at most 100000"):
        one.open()
    assert shade(two.open()) == 2
