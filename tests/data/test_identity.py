"""A packed dataset is what its hash says, or it is refused."""

import errno
import json
import logging
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganloom.config import Data
from ganloom.core.errors import DataError, OutOfMemoryError, StorageError
from ganloom.core.sealed import seal, unseal
from ganloom.data import identity
from ganloom.data import mapped as mapped_room
from ganloom.data import packed as packed_room
from ganloom.data.from_config import prepare_from_config
from ganloom.data.packed import PackedDataset, open_packed
from ganloom.data.sources import find

COUNT = 40


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Labelled images, prepared and opened once, so that their state is recorded."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=draw.integers(0, 3, COUNT))
    prepare_from_config(find(str(tmp_path / "x.npz")), Data(source="x"), tmp_path / "packed")
    return tmp_path / "packed"


def opened(path: Path, **values: bool) -> PackedDataset:
    return prepare_from_config(find(str(path)), Data(source=str(path), **values))


def test_an_unchanged_dataset_is_not_read_again(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "content_hash", lambda *given: pytest.fail("it was read"))
    assert opened(packed).count() + opened(packed).count("val") == COUNT


def test_a_copy_is_read_once(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(packed, tmp_path / "copy")
    assert opened(tmp_path / "copy").content_hash == opened(packed).content_hash
    monkeypatch.setattr(identity, "content_hash", lambda *given: pytest.fail("it was read"))
    opened(tmp_path / "copy")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_noticed(packed: Path, data: st.DataObject) -> None:
    """Of any file of images or labels, beyond its header."""
    file = data.draw(st.sampled_from(sorted(packed.glob("*.npy"))))
    before = file.read_bytes()
    place = data.draw(st.integers(128, len(before) - 1))
    bit = data.draw(st.integers(0, 7))
    after = bytearray(before)
    after[place] ^= 1 << bit
    try:
        file.write_bytes(after)
        with pytest.raises(DataError, match=r"is not what it was when it was prepared|is damaged"):
            opened(packed)
    finally:
        file.write_bytes(before)
        opened(packed)


@pytest.mark.parametrize("key", ["content_hash", "class_names", "splits"])
def test_a_changed_description_is_noticed(packed: Path, key: str) -> None:
    values = unseal((packed / "dataset.json").read_bytes())
    changed = {
        "content_hash": "0" * 64,
        "class_names": ["a", "b", "c"],
        "splits": {"train": values["splits"]["train"] - 1, "val": values["splits"]["val"]},
    }
    stored = json.loads((packed / "dataset.json").read_text())
    (packed / "dataset.json").write_text(json.dumps(stored | {key: changed[key]}))
    with pytest.raises(DataError, match="does not match its checksum"):
        opened(packed)
    (packed / "dataset.json").write_bytes(seal(values | {key: changed[key]}))
    with pytest.raises(DataError, match=r"is not what it was when it was prepared|is damaged"):
        opened(packed)


def test_a_description_without_a_checksum_is_read_and_one_with_spaces_is_the_same(packed: Path) -> None:
    """Datasets of earlier versions have none."""
    values = json.loads((packed / "dataset.json").read_text())
    (packed / "dataset.json").write_text(json.dumps(dict(reversed(values.items())), indent=7))
    opened(packed)
    del values["checksum"]
    (packed / "dataset.json").write_text(json.dumps(values))
    opened(packed)


@pytest.mark.parametrize("name", ["train-00000.npy", "train-labels.npy", "dataset.json"])
def test_a_damaged_copy_in_the_cache_is_prepared_again_and_that_is_said(
    packed: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    small = prepare_from_config(find(str(packed)), Data(source=str(packed), size=4))
    file = small.path / name
    before = file.read_bytes()
    file.write_bytes(before[:-5] + bytes([before[-5] ^ 1]) + before[-4:])
    os.utime(file, ns=(1, 1))
    caplog.set_level(logging.INFO, "ganloom")
    again = prepare_from_config(find(str(packed)), Data(source=str(packed), size=4))
    assert again.path == small.path and file.read_bytes() == before
    assert f"{small.path}, is damaged: it is deleted and prepared again" in caplog.text


def test_a_damaged_dataset_that_the_user_named_is_refused_and_kept(packed: Path, tmp_path: Path) -> None:
    """As the source, and as the place that a dataset was prepared into."""
    shard = packed / "train-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    for source, dest in ((packed, None), (tmp_path / "x.npz", packed)):
        with pytest.raises(DataError, match="restore it, or delete the dataset and prepare it again"):
            prepare_from_config(find(str(source)), Data(source=str(source)), dest)
        assert shard.exists()


def test_a_file_that_is_replaced_after_the_verification_is_not_opened(packed: Path) -> None:
    dataset = opened(packed)
    shard = packed / "train-00000.npy"
    state = shard.stat()
    (packed / "other").write_bytes(shard.read_bytes()[:-1] + b"\0")
    os.utime(packed / "other", ns=(state.st_atime_ns, state.st_mtime_ns))
    (packed / "other").replace(shard)
    for reader in (dataset, pickle.loads(pickle.dumps(dataset))):  # as in the workers of a DataLoader
        with pytest.raises(DataError, match="changed or replaced after its content was verified"):
            reader.images(np.arange(2))


def test_a_change_during_the_verification_is_noticed(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is not what would be used."""
    shard = packed / "train-00000.npy"
    compute = identity.content_hash

    def compute_and_change(*given: Any) -> str:
        found = compute(*given)
        shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
        return found

    os.utime(shard, ns=(1, 1))
    monkeypatch.setattr(identity, "content_hash", compute_and_change)
    with pytest.raises(DataError, match="was changed while it was read"):
        opened(packed)


def test_a_change_that_keeps_the_time_is_noticed(packed: Path) -> None:
    """`cp -p`, `touch -r` and `rsync -t` set back the time of a change, but not that of the change of the status."""
    shard = packed / "train-00000.npy"
    state = shard.stat()
    with open(shard, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\0")
    os.utime(shard, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(DataError, match="is not what it was when it was prepared"):
        opened(packed)


def test_what_is_not_verified_is_no_key_of_what_is(packed: Path) -> None:
    """Neither of cached features, nor of the copy at another size that is prepared from it."""
    assert identity.verified_hash(opened(packed)) == opened(packed).content_hash
    shard = packed / "train-00000.npy"
    before = shard.read_bytes()
    shard.write_bytes(before[:-1] + bytes([before[-1] ^ 255]))
    damaged = opened(packed, verify=False)
    assert damaged.verified is None and identity.verified_hash(damaged) == ""
    sized = Data(source=str(packed), size=4)
    other = prepare_from_config(find(str(packed)), sized.model_copy(update={"verify": False}))
    shard.write_bytes(before)
    good = prepare_from_config(find(str(packed)), sized)
    assert good.path != other.path and good.content_hash != other.content_hash


def test_without_verification_that_is_said(packed: Path, caplog: pytest.LogCaptureFixture) -> None:
    shard = packed / "train-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    with caplog.at_level(logging.INFO, "ganloom"):
        opened(packed, verify=False)
    assert f"not verified (data.verify): {packed} may have changed" in caplog.text


def test_a_cache_that_cannot_be_written_only_costs_time(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "file"))
    read, content_hash = [], identity.content_hash
    monkeypatch.setattr(identity, "content_hash", lambda *given: (read.append(given), content_hash(*given))[1])
    identity.verify(open_packed(packed))
    identity.verify(open_packed(packed))
    assert len(read) == 2


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ESTALE, errno.EACCES, errno.ENOMEM])
@pytest.mark.parametrize(("room", "call"), [(packed_room, "read_regular"), (mapped_room, "open_regular")])
def test_a_copy_that_cannot_be_read_now_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, room: Any, call: str
) -> None:
    """Nothing says that it is damaged: what was prepared for hours may be sound."""
    source = tmp_path / "x.npz"
    np.savez(source, images=np.zeros((3, 8, 8), np.uint8))
    copy = prepare_from_config(find(str(source)), Data(source=str(source)))
    shard = copy.path / "train-00000.npy"
    os.utime(shard, ns=(1, 1))  # so that it is verified again

    def fail(path: Path, *given: Any) -> Any:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(room, call, fail)
        with pytest.raises((StorageError, OutOfMemoryError), match=r"cannot be read now|out of memory"):
            prepare_from_config(find(str(source)), Data(source=str(source)))
    assert shard.exists() and prepare_from_config(find(str(source)), Data(source=str(source))).count() == 3


def test_a_file_that_was_opened_before_the_verification_is_opened_again(packed: Path) -> None:
    """It was replaced in between, so what was verified is another file."""
    dataset = open_packed(packed)
    shard = packed / "train-00000.npy"
    good = shard.read_bytes()
    shard.write_bytes(bytes(byte ^ 1 if place >= 128 else byte for place, byte in enumerate(good)))
    changed = dataset.images(np.arange(2))
    (packed / "other").write_bytes(good)
    (packed / "other").replace(shard)
    identity.verify(dataset)
    assert (dataset.images(np.arange(2)) == changed ^ 1).all()
