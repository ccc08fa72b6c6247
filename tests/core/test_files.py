import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ganloom.core import files
from ganloom.core.errors import StorageError
from ganloom.core.files import sha256, storage_errors, write_atomically


def fail_with(monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)


def test_what_was_written_can_be_read_and_no_temporary_file_remains(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"first", b"", b"second \x00\xff"):
        write_atomically(path, data)
        assert path.read_bytes() == data
        assert list(tmp_path.iterdir()) == [path]


def test_the_data_is_on_the_disk_before_the_old_file_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, name=name, real=real: (calls.append(name), real(*given)))
    write_atomically(tmp_path / "file", b"data")
    assert calls == ["fsync", "replace"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    fail_with(monkeypatch, call, OSError(number, "full"))
    with pytest.raises(StorageError, match=r"no room left to write .*file\..*free some space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_being_read_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows does not replace it meanwhile."""
    real, fails = os.replace, iter(range(2))

    def busy(source: Path, target: Path) -> None:
        if next(fails, None) is not None:
            raise PermissionError(errno.EACCES, "Access is denied")
        real(source, target)

    monkeypatch.setattr(os, "replace", busy)
    monkeypatch.setattr(files, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(files, "REPLACE_RETRIES", 1)
    with pytest.raises(StorageError):
        write_atomically(tmp_path / "file", b"data")
    fails = iter(range(2))
    monkeypatch.setattr(files, "REPLACE_RETRIES", 2)
    write_atomically(tmp_path / "file", b"data")
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_interruption_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    fail_with(monkeypatch, call, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError("unnumbered"), "unnumbered"),
    ],
)
def test_a_read_only_or_broken_disk_is_reported_with_the_reason_and_the_remedy(error: OSError, reason: str) -> None:
    with pytest.raises(StorageError, match=rf"cannot write out/file: {reason}\. .*--out"):  # noqa: SIM117
        with storage_errors(Path("out/file")):
            raise error


def test_numpys_own_error_for_a_full_disk_is_recognized() -> None:
    with pytest.raises(StorageError, match="no room left"), storage_errors(Path("file")):
        raise OSError("737280 requested and 44928 written")


def test_other_errors_pass_through() -> None:
    with pytest.raises(KeyError), storage_errors(Path("file")):
        raise KeyError("other")


def test_a_missing_folder_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*missing/file: No such file or directory"):
        write_atomically(tmp_path / "missing" / "file", b"data")


def test_sha256_is_the_standard_one() -> None:
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folder_cannot_be_written_as_a_file() -> None:
    with pytest.raises(StorageError, match="it is a folder"):
        write_atomically(Path(), b"data")
