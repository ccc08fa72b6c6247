from pathlib import Path

import numpy as np
import pytest

from ganloom.core.errors import DataError
from ganloom.data.sources import absolute, find
from ganloom.data.sources.arrays import ArraySource
from ganloom.data.sources.digits import DigitsSource
from ganloom.data.sources.folder import FolderSource


def test_a_source_is_found_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 3), np.uint8))
    (tmp_path / "a.npy").rename(tmp_path / "A.NPY")
    assert isinstance(find(str(tmp_path)), FolderSource)
    assert isinstance(find(str(tmp_path / "A.NPY")), ArraySource)
    assert isinstance(find("digits"), DigitsSource)


def test_a_folder_named_as_a_built_in_dataset_is_found_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "1.png").touch()
    assert isinstance(find("digits"), DigitsSource)
    assert isinstance(find("./digits"), FolderSource)


def test_a_named_dataset_keeps_its_name_whatever_the_working_folder_contains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("64", "pathmnist", "tower", "scans"):
        (tmp_path / name).mkdir()
    for spec in ("shapes:64", "medmnist:pathmnist", "lsun:tower"):
        assert absolute(spec) == spec
    assert absolute("dicom:scans") == f"dicom:{tmp_path / 'scans'}"


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").touch()
    assert find("~/photos").name == "photos"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "notes.txt",
            r"notes\.txt is not read: give a folder, or a file of type \.npy, .*\.zip",
        ),
        ("missing.npz", r"there is nothing at missing\.npz: check the path"),
        ("some/folder", "there is nothing at some/folder: check the path"),
        (
            "digit",
            r"no folder, file or built-in dataset 'digit': check the path or the name\. Did you mean 'digits'\?",
        ),
    ],
)
def test_what_cannot_be_found_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=message):
        find(spec)


def test_the_built_in_digits_are_1797_grey_pictures_of_ten_classes() -> None:
    items = list(find("digits").items())
    counts = np.bincount([item.label for item in items])  # type: ignore[misc]
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert {item.split for item in items} == {"train"}
    pictures = np.stack([np.asarray(item.open()) for item in items[:50]])
    assert (pictures.shape, pictures.dtype) == ((50, 32, 32), np.uint8)
    assert pictures[:, 0].max() < 64  # the margin
    assert pictures.max(axis=(1, 2)).min() > 200  # ink


def test_an_empty_name_and_the_name_of_a_medmnist_set_are_refused_with_the_remedy() -> None:
    with pytest.raises(DataError, match="the name of the source is empty"):
        find("")
    with pytest.raises(DataError, match="Did you mean 'medmnist:pathmnist'"):
        find("PathMNIST")


def test_an_address_that_curl_does_not_know_is_not_given_to_curl() -> None:
    with pytest.raises(DataError, match=r"curl -LO https://host/x.zip") as web:
        find("https://host/x.zip")
    with pytest.raises(DataError, match="download it first, then") as bucket:
        find("s3://bucket/x")
    assert "hf:OWNER/NAME" in str(web.value) and "curl" not in str(bucket.value)
