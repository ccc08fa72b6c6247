"""How files are read can be set, is part of the fingerprint, and is said."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from making import encoded, noise, pictures, prepared, write

from ganloom.config import Data, Reading
from ganloom.core.errors import ConfigError, DataError
from ganloom.data.sources import Source, files, find
from ganloom.data.sources.content import HEAD, has_image_content


@pytest.fixture(params=["folder", "zip", "tar"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def packed(folder: Path, form: str) -> str:
    """The folder itself, or an archive of it."""
    return str(folder if form == "folder" else shutil.make_archive(str(folder), form, folder))


def taken(source: Source) -> list[str]:
    return sorted(item.name for item in source.items())


def said(source: Source) -> str:
    return "\n".join(f"{topic}: {text}" for topic, text in source.remarks)


def odd(root: Path, known: bool = True) -> Path:
    for index in range(3):
        picture = noise(4, 5, 3, index)
        write(root / f"photo{index}", encoded(picture, "JPEG"))
        write(root / f"web{index}.jpg_large", encoded(picture, "PNG"))
        if known:
            write(root / f"{index}.png", encoded(picture))
    write(root / "diary", b"Dear diary")
    write(root / "notes.txt", b"\xff\xd8\xff no image")
    return root


def test_images_without_a_known_suffix_are_said_and_taken_when_asked(tmp_path: Path, form: str) -> None:
    given = packed(odd(tmp_path / "in"), form)
    source = find(given)
    assert taken(source) == ["0.png", "1.png", "2.png"] and source.ignored == 8
    assert "6 of 7 files without a known suffix are images by their content (photo0, photo1, " in said(source)
    assert "--any-suffix" in said(source)
    more = find(Reading(source=given, any_suffix=True))
    assert more.count == len(taken(more)) == 9 and more.ignored == 2
    for item in more.items():
        item.open().load()


@pytest.mark.parametrize("any_suffix", [False, True])
def test_pipes_and_links_that_lead_out_are_not_opened(tmp_path: Path, any_suffix: bool) -> None:
    """Opening a pipe would wait for ever."""
    pictures(tmp_path / "in", "1.png", "2.png")
    write(tmp_path / "secret", encoded(noise(4, 5), "JPEG"))
    write(tmp_path / "labels.json", b'{"labels": [["1.png", 0], ["2.png", 1]]}')
    os.mkfifo(tmp_path / "in" / "pipe")
    os.mkfifo(tmp_path / "in" / "pipe_mask.png")
    (tmp_path / "in" / "photo").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "dataset.json").symlink_to(tmp_path / "labels.json")
    source = find(Reading(source=str(tmp_path / "in"), any_suffix=any_suffix))
    assert taken(source) == ["1.png", "2.png", "pipe_mask.png"]
    unread = ["2 other files cannot be read (photo, pipe)"] if any_suffix else []  # asked for, so their absence is said
    assert not source.class_names and [text for _, text in source.remarks] == unread


def test_a_folder_of_images_without_a_suffix_names_the_flag(tmp_path: Path, form: str) -> None:
    given = packed(odd(tmp_path / "in", known=False), form)
    with pytest.raises(DataError, match=r"no images in .* 6 of 7 files without a known suffix are .*--any-suffix"):
        find(given)
    assert find(Reading(source=given, any_suffix=True)).count == 6


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "JPEG2000", "PPM"])
def test_every_format_is_known_by_its_content(format: str) -> None:
    assert has_image_content(encoded(noise(4, 5), format)[:HEAD])


@pytest.mark.parametrize(
    "content", [b"", b"BM is not always a bitmap, nor is", b"P1", b"\x89HDF\r\n", b"%PDF-1.4", b"II"]
)
def test_other_contents_are_not_images(content: bytes) -> None:
    assert not has_image_content(content)


@pytest.mark.parametrize("suffix", ["j2k", "j2c", "jpx", "jpf"])
def test_the_suffixes_of_jpeg_2000_are_known(tmp_path: Path, suffix: str) -> None:
    for index in range(2):
        write(tmp_path / f"{index}.{suffix}", encoded(noise(8, 8, 3, index), "JPEG2000", no_jp2=suffix[1] == "2"))
    assert find(str(tmp_path)).count == 2


READINGS: list[dict[str, Any]] = [
    {"splits": "none"},
    {"splits": "train=train,test=val"},
    {"class_level": 0},
    {"keep_masks": True},
    {"any_suffix": True},
]


@pytest.mark.parametrize("settings", READINGS, ids=str)
def test_a_dataset_is_prepared_again_when_it_is_read_in_another_way(
    tmp_path: Path, form: str, settings: dict[str, Any]
) -> None:
    given = packed(pictures(tmp_path / "in", "train/a/1.png", "train/b/1.png", "test/a/1.png"), form)
    before = list(find(given).fingerprint())
    assert list(find(given).fingerprint()) == before
    assert list(find(Reading.model_validate({"source": given, **settings})).fingerprint()) != before


def test_settings_that_do_not_concern_reading_do_not_prepare_again(tmp_path: Path, form: str) -> None:
    given = packed(pictures(tmp_path / "in", "a/1.png", "b/1.png"), form)
    assert list(find(Data(source=given, mirror=True, size=(8, 8))).fingerprint()) == list(find(given).fingerprint())


def test_a_dataset_is_prepared_again_by_a_new_reader_of_layouts(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = packed(pictures(tmp_path / "in", "a/1.png", "b/1.png"), form)
    before = list(find(given).fingerprint())
    monkeypatch.setattr(files, "VERSION", files.VERSION + 1)
    assert list(find(given).fingerprint()) != before


def test_a_table_of_splits_settles_folders_that_could_be_splits(tmp_path: Path, form: str) -> None:
    names = [f"{folder}/{index}.png" for folder in ("cat", "test") for index in range(3)]
    pictures(tmp_path / "in", *names)
    with pytest.raises(DataError, match="--splits"):
        find(packed(tmp_path / "in", form))
    table = "file_name,split\n" + "".join(f"{name},{'test' if name[-5] == '2' else 'train'}\n" for name in names)
    write(tmp_path / "in" / "metadata.csv", table.encode())
    source = find(packed(tmp_path / "in", form))
    assert {item.name for item in source.items() if item.split == "test"} == {"cat/2.png", "test/2.png"}


def test_folders_of_dicom_files_are_read_in_the_same_way(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    for folder in ("Training/a", "Training/b", "Testing/a"):
        write(tmp_path / folder / "1.dcm", b"")
    source = find(str(tmp_path))
    assert list(source.splits) == ["test", "train"] and "Testing is test" in said(source)
    assert list(find(Reading(source=str(tmp_path), splits={}, class_level=0)).class_names) == []


def test_a_packed_dataset_says_how_it_was_read(tmp_path: Path, form: str) -> None:
    given = packed(pictures(tmp_path / "in", "Training/a/1.png", "Training/b/1.png", "Testing/a/1.png"), form)
    dataset = prepared(given, tmp_path / "out")
    assert dataset.description.splits == {"train": 2, "test": 1}
    assert [remark.topic for remark in dataset.description.remarks] == ["splits"]


@pytest.mark.parametrize("settings", [{"splits": "a=b"}, {"splits": "a"}, {"class_level": -1}])
def test_wrong_values_are_refused(settings: dict[str, Any]) -> None:
    from ganloom import inspect

    with pytest.raises(ConfigError, match=r"^(splits|class_level)"):
        inspect("photos", **settings)
