import logging
import os
import re
import socket
from pathlib import Path

import pooch
import pytest
from serving import md5, serve

from ganloom.core.errors import DataError
from ganloom.core.terminal import shown
from ganloom.data.sources.fetch import Remote, fetch

DATA = bytes(range(256)) * 5000  # several chunks
OTHER = DATA[:-1] + b"\x00"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANLOOM_DATA", raising=False)
    return tmp_path / "cache"


def remote(*urls: str, name: str = "set/file.gz", page: str = "") -> Remote:
    return Remote(name, md5(DATA), urls, page)


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_a_file_is_downloaded_once_and_kept_below_the_cache(cache: Path) -> None:
    asked: list[str] = []
    with serve({"file.gz": DATA}, asked=asked) as url:
        path = fetch(remote(url + "file.gz"))
        assert fetch(remote(url + "file.gz")) == path
    assert path == cache / "downloads" / "set" / "file.gz"
    assert path.read_bytes() == DATA
    assert asked == ["file.gz"]
    assert left_in(cache) == ["file.gz"]


def test_a_download_logs_its_origin_and_destination(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with serve({"file.gz": DATA}) as url, shown():
        fetch(remote(url + "file.gz"))
        host = url.removeprefix("http://").strip("/")
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        f"downloading file.gz from {host} to {cache / 'downloads' / 'set'}",
        "file.gz: 1.3 MB",
    ]
    assert not pooch.get_logger().isEnabledFor(logging.INFO)  # it would repeat the message


def test_only_the_first_process_of_a_training_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with serve({"file.gz": DATA}) as url, shown():
        fetch(remote(url + "file.gz"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("fault", ["wrong hash", "cut off", "not there"])
def test_a_mirror_that_fails_is_followed_by_the_next(cache: Path, fault: str) -> None:
    asked: list[str] = []
    first = {"wrong hash": {"bad": OTHER}, "cut off": {"bad": DATA}, "not there": {}}[fault]
    with serve({**first, "good": DATA}, cut=["bad"] if fault == "cut off" else [], asked=asked) as url:
        path = fetch(remote(url + "bad", url + "good"))
    assert asked == ["bad", "good"]
    assert path.read_bytes() == DATA
    assert left_in(cache) == ["file.gz"]


def test_when_all_mirrors_fail_the_message_says_why_and_what_to_put_where(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    with serve({"wrong": OTHER, "cut": DATA}, cut=["cut"]) as url:
        urls = [url + name for name in ("wrong", "cut", "missing")]
        with pytest.raises(DataError) as caught:
            fetch(remote(*urls))
    message = str(caught.value)
    host = url.removeprefix("http://").strip("/")
    assert f"set/file.gz could not be downloaded ({host}: it is not the published file (its MD5" in message
    assert f"{host}: ChunkedEncodingError; {host}: HTTPError)" in message
    assert all(url in message for url in urls)
    assert "put it at FOLDER/set/file.gz, and set GANLOOM_DATA=FOLDER" in message
    assert md5(DATA) in message
    assert left_in(cache) == []
    assert caplog.messages[1::2] == ["file.gz: failed"] * 3


def test_without_a_network_the_message_names_the_folder_of_local_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANLOOM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as closed:  # a port without a server
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.gz"
    with pytest.raises(DataError, match=rf"ConnectionError.*put it at {re.escape(str(tmp_path))}/data/set/file\.gz\."):
        fetch(remote(url))


def test_a_file_without_an_address_must_be_downloaded_by_hand_from_its_page() -> None:
    with pytest.raises(DataError, match=r"set/file\.gz must be downloaded by hand\. Download it from https://page/"):
        fetch(remote(page="https://page/"))


def test_a_local_copy_is_used_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANLOOM_DATA", str(tmp_path / "data"))
    local = tmp_path / "data" / "set" / "file.gz"
    local.parent.mkdir(parents=True)
    local.write_bytes(DATA)
    assert fetch(remote("http://127.0.0.1:1/file.gz")) == local
    assert capsys.readouterr().err == ""


def test_a_wrong_local_copy_is_refused_and_nothing_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANLOOM_DATA", str(tmp_path))
    (tmp_path / "file.gz").write_bytes(OTHER)
    asked: list[str] = []
    with (
        serve({"file.gz": DATA}, asked=asked) as url,
        pytest.raises(
            DataError, match=rf"file\.gz is not the published file\.gz: its MD5 is {md5(OTHER)}, not {md5(DATA)}"
        ),
    ):
        fetch(remote(url + "file.gz", name="file.gz"))
    assert asked == []


def test_a_local_copy_is_verified_again_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_DATA", str(tmp_path))
    (tmp_path / "file.gz").write_bytes(DATA)
    fetch(remote(name="file.gz"))
    kept = (tmp_path / "file.gz").stat()
    (tmp_path / "file.gz").write_bytes(OTHER)
    os.utime(tmp_path / "file.gz", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    fetch(remote(name="file.gz"))  # same size and time: not read again
    os.utime(tmp_path / "file.gz", ns=(1, 1))
    with pytest.raises(DataError, match="is not the published file"):
        fetch(remote(name="file.gz"))


def test_a_local_copy_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_DATA", str(tmp_path))
    (tmp_path / "file.gz").mkdir()
    with pytest.raises(DataError, match=r"file\.gz cannot be read: Is a directory"):
        fetch(remote(name="file.gz"))
