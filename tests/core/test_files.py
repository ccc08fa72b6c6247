import errno
import os
import socket
import sys
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganloom.core import files
from ganloom.core.errors import ConfigError, StorageError
from ganloom.core.files import (
    built_beside,
    is_leftover,
    read_regular,
    safe_names,
    sha256,
    storage_errors,
    user_path,
    write_atomically,
)
from ganloom.core.plain_json import read_json


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
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
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


def test_a_file_above_the_limit_is_not_called_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, "fsync", OSError(errno.EFBIG, "File too large"))
    with pytest.raises(StorageError, match=r"larger than its file system or a limit \(ulimit -f\) allows"):
        write_atomically(tmp_path / "file", b"new")


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


HOSTILE = ["../up", "/etc/passwd", "a/b", "a\\b", "..", ".", "", "C:", "con", "NUL.txt", "x ", "trailing.", " .hidden",
           "ünïcode", "猫", "a" * 400, "猫" * 200, "tab\there", 'q"<>|?*', "\ud800", "emoji 🐈"]  # fmt: skip


def test_safe_names_never_leave_their_folder(tmp_path: Path) -> None:
    names = safe_names(HOSTILE)
    assert len({name.casefold() for name in names}) == len(HOSTILE)
    for name in names:
        (tmp_path / name).write_text("x")
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
        assert not set('\\/:*?"<>|') & set(name) and name[0] not in ". " and name[-1] not in ". "
        assert name.partition(".")[0].lower() not in ("con", "nul") and len(name.encode()) <= 160
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_names_that_are_safe_stay_as_they_are_unless_they_are_one_file() -> None:
    assert safe_names(["cat", "Hund, groß", "猫"]) == ["cat", "Hund, groß", "猫"]
    assert safe_names(["cat", "CAT", "dog"]) == ["cat-0", "CAT-1", "dog-2"]
    assert len(set(safe_names(["a", "A", "a-0", "A-1"]))) == 4
    assert safe_names([]) == []


def test_json_nested_too_deeply_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json("[" * 100_000)
    assert read_json('{"a": [1]}') == {"a": [1]}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in ((tmp_path / "pipe", "not a regular file"), (Path("/dev/zero"), "not a regular file")):
        with pytest.raises(OSError, match=reason):
            read_regular(path)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
    (tmp_path / "file").write_bytes(b"content")
    assert read_regular(tmp_path / "file") == b"content" and read_regular(tmp_path / "file", 3) == b"con"


def test_the_home_of_nobody_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"no home folder for ~nobody-there.*\./~nobody-there"):
        user_path("~nobody-there/photos")
    assert user_path("~/photos") == Path.home() / "photos" and user_path("photos") == Path("photos")


@given(names=st.lists(st.text(), min_size=1, max_size=4))
def test_no_name_becomes_a_path(names: list[str]) -> None:
    """Each is one different part of a path, whatever it contains."""
    safe = safe_names(names)
    assert len({name.casefold() for name in safe}) == len(names)
    for name in safe:
        assert name not in ("", ".", "..")
        assert Path("a", name).parent == Path("a") and PureWindowsPath("a", name).parent == PureWindowsPath("a")


def test_what_a_killed_process_left_is_removed_with_the_next_file_of_that_name(tmp_path: Path, nobody: int) -> None:
    """Of that name alone, and not what a living process is writing."""
    left = tmp_path / f".report.html.{nobody}.tmp"
    kept = [tmp_path / f".other.{nobody}.tmp", tmp_path / f".report.html.{os.getppid()}.tmp", tmp_path / ".report.tmp"]
    for path in (left, *kept):
        path.write_bytes(b"half")
        os.utime(path, (0, 0))
    write_atomically(tmp_path / "report.html", b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "report.html"])


def test_what_a_process_elsewhere_may_be_writing_is_kept(tmp_path: Path, nobody: int) -> None:
    """In another container, or on another machine, numbers of processes mean others."""
    young = tmp_path / f".report.html.{nobody}.tmp"
    young.write_bytes(b"half")
    write_atomically(tmp_path / "report.html", b"whole")
    assert young.read_bytes() == b"half"


def test_the_remains_of_a_process_that_had_the_same_number_are_removed(tmp_path: Path) -> None:
    """In a container the only process has the same number after each start."""
    with built_beside(tmp_path / "run", is_folder=True) as beside:
        left = beside
    (left / "checkpoints").mkdir(parents=True)
    os.utime(left, (0, 0))
    files._leftovers.cache_clear()  # as in a new process
    with built_beside(tmp_path / "run", is_folder=True) as beside:
        (beside / "checkpoints").mkdir(parents=True)
        assert not left.exists()


def test_processes_with_the_same_number_build_in_different_places(tmp_path: Path) -> None:
    """Containers that share a folder: none removes what another is building."""
    with built_beside(tmp_path / "run", is_folder=True) as first:
        first.mkdir()
        with built_beside(tmp_path / "run", is_folder=True) as second:
            assert first != second and first.is_dir()
        assert first.is_dir()


def test_a_number_means_nothing_on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "elsewhere")
        patch.setattr(os, "getpid", os.getppid)  # a number that is in use here
        with built_beside(tmp_path / "file") as left:
            pass
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    assert is_leftover(left)
    files._leftovers.cache_clear()
    write_atomically(tmp_path / "file", b"whole")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_writing_a_file_removes_no_folder(tmp_path: Path, nobody: int) -> None:
    for number in (nobody, os.getpid() + 1):
        (tmp_path / f".report.html.{number}.tmp" / "deep").mkdir(parents=True)
        os.utime(tmp_path / f".report.html.{number}.tmp", (0, 0))
    write_atomically(tmp_path / "report.html", b"whole")
    assert len(list(tmp_path.glob(".report.html.*.tmp/deep"))) == 2


def test_a_half_built_folder_of_a_killed_process_is_removed(tmp_path: Path, nobody: int) -> None:
    (tmp_path / f".run.{nobody}.tmp" / "deep").mkdir(parents=True)
    os.utime(tmp_path / f".run.{nobody}.tmp", (0, 0))
    with built_beside(tmp_path / "run", is_folder=True) as beside:
        beside.mkdir()
        beside.rename(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), built_beside(tmp_path / "more", is_folder=True) as beside:
        (beside / "deep").mkdir(parents=True)
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_a_folder_is_listed_once_however_many_files_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, listed = os.listdir, []
    monkeypatch.setattr(os, "listdir", lambda path: (listed.append(path), real(path))[1])
    for number in range(5):
        write_atomically(tmp_path / f"{number}.png", b"")
    assert len(listed) == 1


def test_a_folder_that_was_deleted_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"There is no folder .*gone: was it moved or deleted\?"):
        write_atomically(tmp_path / "gone" / "file", b"")


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes")
def test_a_pipe_or_a_device_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StorageError, match="it is a pipe or a device"):
        write_atomically(pipe, b"x")
    assert pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]
    link = tmp_path / "link"
    link.symlink_to(pipe)
    with pytest.raises(StorageError, match="it is a pipe or a device"):
        write_atomically(link, b"x")
    assert link.is_symlink()
