"""Weights are the published ones, or there is an error with the remedy."""

import logging
import socket
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch import nn

from ganloom.core.errors import ModelError
from ganloom.metrics.extractors import weights
from ganloom.metrics.extractors.weights import INCEPTION, Published, hashed, locate, read, read_published

sys.path.append(str(Path(__file__).parents[1] / "data"))
from serving import serve

DATA = bytes(range(256)) * 3000  # several chunks
OTHER = DATA[:-1] + b"\x00"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANLOOM_WEIGHTS", raising=False)
    return tmp_path / "cache" / "weights"


def published(*urls: str) -> Published:
    return Published(("net.pth", "old-net.pth"), sha256(DATA).hexdigest(), len(DATA), urls)


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_given_file_comes_before_the_environment_and_that_before_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = put(cache / "net.pth", DATA)
    assert locate(published(), None) == cached
    named = put(tmp_path / "named.pth", DATA)
    monkeypatch.setenv("GANLOOM_WEIGHTS", str(named))
    assert locate(published(), None) == named
    given = put(tmp_path / "given.pth", DATA)
    assert locate(published(), given) == given


def test_a_folder_of_weights_may_hold_the_file_by_any_of_its_names_or_not_at_all(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("GANLOOM_WEIGHTS", str(tmp_path / "folder"))
    cached = put(cache / "net.pth", DATA)
    assert locate(published(), None) == cached
    old = put(tmp_path / "folder" / "old-net.pth", DATA)
    assert locate(published(), None) == old


@pytest.mark.parametrize("data", [OTHER, DATA[:1000], b""], ids=["wrong", "cut", "empty"])
@pytest.mark.parametrize("place", ["given", "environment", "cache"])
def test_a_file_that_is_not_the_published_one_is_refused_with_both_hashes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, place: str
) -> None:
    path = put(cache / "net.pth" if place == "cache" else tmp_path / "mine.pth", data)
    if place == "environment":
        monkeypatch.setenv("GANLOOM_WEIGHTS", str(path))
    asked: list[str] = []
    with serve({"net.pth": DATA}, asked=asked) as url, pytest.raises(ModelError) as caught:
        locate(published(url + "net.pth"), path if place == "given" else None)
    assert str(caught.value) == (
        f"{path} is not the published net.pth: its sha256 is {sha256(data).hexdigest()}, not "
        f"{sha256(DATA).hexdigest()}, and it has {len(data):,} bytes, not 768,000. Replace or remove it."
    )
    assert asked == []  # a wrong file is not passed over in silence


@pytest.mark.parametrize("place", ["--weights", "GANLOOM_WEIGHTS"])
def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    if place == "GANLOOM_WEIGHTS":
        monkeypatch.setenv(place, str(tmp_path / "none.pth"))
    with pytest.raises(ModelError, match=rf"none\.pth does not exist, but {place} names it"):
        locate(published(), tmp_path / "none.pth" if place == "--weights" else None)


def test_a_folder_given_as_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        locate(published(), tmp_path)


def test_without_a_copy_the_file_is_downloaded_once_and_verified_with_a_message(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    asked: list[str] = []
    with serve({"wrong": OTHER, "cut": DATA, "good": DATA}, cut=["cut"], asked=asked) as url:
        mirrors = published(*(url + name for name in ("missing", "wrong", "cut", "good")))
        path = locate(mirrors, None)
        assert locate(mirrors, None) == path == cache / "net.pth"
        host = url.removeprefix("http://").strip("/")
    assert path.read_bytes() == DATA
    assert asked == ["missing", "wrong", "cut", "good"]
    assert caplog.messages[::2] == [f"downloading net.pth from {host} to {cache}"] * 4
    assert caplog.messages[1::2] == ["net.pth: failed"] * 3 + ["net.pth: 768.0 kB"]
    assert sorted(left.name for left in cache.iterdir() if left.suffix != ".lock") == ["net.pth"]


def test_without_a_network_the_error_names_file_place_hash_addresses_and_what_needs_none(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as closed:  # a port where nobody listens any more
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/net.pth"
    with pytest.raises(ModelError) as caught:
        locate(published(url), None)
    message = str(caught.value)
    assert "net.pth (768.0 kB) could not be downloaded" in message and "ConnectionError" in message
    for part in (url, str(cache / "net.pth"), sha256(DATA).hexdigest(), "--weights FILE", "loomnet-1"):
        assert part in message


def test_the_published_inception_is_the_one_of_fid() -> None:
    assert INCEPTION.sha256 == "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
    assert INCEPTION.size == 95_628_359
    assert all(INCEPTION.sha256[:8] in url and url.startswith("https://github.com/") for url in INCEPTION.urls)


def test_tensors_are_read_by_name(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "net.pth")
    assert {name: tensor.shape for name, tensor in read(tmp_path / "net.pth").tensors.items()} == {
        "weight": (3, 2),
        "bias": (3,),
    }


@pytest.mark.parametrize("fault", ["text", "empty", "cut", "module", "numbers", "list"])
def test_what_is_not_a_file_of_weights_is_refused_and_not_executed(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "net.pth"
    contents = {"module": nn.Linear(2, 3), "numbers": {"a": 1}, "list": [torch.ones(2)], "cut": {"a": torch.ones(99)}}
    if fault in contents:
        torch.save(contents[fault], path)
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    if fault in ("text", "empty"):
        path.write_bytes(b"hello" if fault == "text" else b"")
    with pytest.raises(
        ModelError, match=r"net\.pth (cannot be read as a PyTorch file of weights|is a PyTorch file, but not)"
    ):
        read(path)


def test_the_hash_of_weights_is_that_of_the_bytes_that_were_loaded(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"a": torch.ones(3)}, path)
    assert read(path).sha256 == sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_weights_that_change_while_they_are_read_are_refused(tmp_path: Path, how: str) -> None:
    path = put(tmp_path / "net.pth", DATA)
    with pytest.raises(ModelError, match="was changed while it was read: try again"), hashed(path):
        other = put(tmp_path / "other" if how == "replaced" else path, OTHER + b"more")
        other.replace(path)


def test_published_weights_are_verified_as_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when they are looked for: in between, another file may have come into their place."""
    path = tmp_path / "net.pth"
    torch.save({"a": torch.ones(3)}, path)
    monkeypatch.setattr(weights, "locate", lambda published, given: path)
    with pytest.raises(ModelError, match=r"is not the published net\.pth"):
        read_published(published(), None)
