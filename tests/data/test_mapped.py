"""Files that are changed while they are mapped. Tests that could kill the process run in another one."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from packing import pack

from ganloom.core.errors import DataError
from ganloom.data import packed
from ganloom.data.packed import PackedDataset, labels_path, open_packed, shard_path

IMAGES = np.random.default_rng(0).integers(0, 256, (500, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(500) % 3
ROWS = np.array([3, 499])

# Reads, cuts the file, and reads what was cut off.
CUT = """
import os, sys
from pathlib import Path
import numpy as np
from ganloom.core.errors import DataError
from ganloom.data.packed import open_packed
dataset, rows = open_packed(Path(sys.argv[1])), np.array([3, 499])
dataset.images(rows), dataset.labels(rows)
os.truncate(sys.argv[2], int(sys.argv[3]))
try:
    dataset.images(rows), dataset.labels(rows)
except DataError as error:
    print(error)
else:
    sys.exit("nothing was noticed")
"""


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def dataset(tmp_path: Path) -> PackedDataset:
    """The dataset opened again, with everything read once."""
    opened = open_packed(pack(tmp_path, images=IMAGES, labels=LABELS).path)
    assert np.array_equal(opened.images(ROWS), IMAGES[ROWS])
    assert np.array_equal(opened.labels(ROWS), LABELS[ROWS])
    return opened


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 100])
@pytest.mark.parametrize("name", ["train-00000.npy", "train-labels.npy"])
def test_a_mapped_file_that_is_cut_short_does_not_kill_the_process(tmp_path: Path, name: str, size: int) -> None:
    path = pack(tmp_path, images=IMAGES, labels=LABELS).path
    command = [sys.executable, "-c", CUT, str(path), str(path / name), str(size)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert f"{path / name} was changed while it was in use" in done.stdout
    assert "prepare it again" in done.stdout and "ganloom resume" in done.stdout


def test_changed_pixels_are_noticed_before_they_are_read(dataset: PackedDataset) -> None:
    with open(shard_path(dataset.path, "train", 0), "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x00")
    with pytest.raises(DataError, match=r"train-00000\.npy was changed while it was in use"):
        dataset.images(ROWS)
    assert np.array_equal(dataset.labels(ROWS), LABELS[ROWS])


def test_changed_labels_are_noticed_before_they_are_read(dataset: PackedDataset) -> None:
    with open(labels_path(dataset.path, "train"), "r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(bytes(8))
    with pytest.raises(DataError, match=r"train-labels\.npy was changed while it was in use"):
        dataset.labels(ROWS)
    assert np.array_equal(dataset.images(ROWS), IMAGES[ROWS])


def test_a_dataset_that_is_read_copied_renamed_or_deleted_still_works(dataset: PackedDataset) -> None:
    """None of these changes the file that is mapped."""
    for path in dataset.path.iterdir():
        path.read_bytes()
        path.chmod(0o444)
        beside = path.with_suffix(".other")
        beside.write_bytes(bytes(path.stat().st_size))
        os.replace(beside, path)
    assert np.array_equal(dataset.images(ROWS), IMAGES[ROWS])
    assert np.array_equal(dataset.labels(ROWS), LABELS[ROWS])
    for path in dataset.path.iterdir():
        path.unlink()
    assert np.array_equal(dataset.images(ROWS), IMAGES[ROWS])
    assert np.array_equal(dataset.labels(ROWS), LABELS[ROWS])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_no_file_stays_open_after_its_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor after another shard replaced it: a hundred thousand files cannot be open at once."""
    monkeypatch.setattr("ganloom.data.shards.SHARD_BYTES", IMAGES[0].nbytes * 10)
    monkeypatch.setattr(packed, "OPEN_SHARDS", 4)
    dataset = pack(tmp_path, images=IMAGES)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    assert np.array_equal(dataset.images(np.arange(500)), IMAGES)
    assert len(os.listdir("/proc/self/fd")) <= before + 2 * 4
    del dataset
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize(
    "content",
    [
        IMAGES[:499],
        IMAGES.astype(np.int16),
        IMAGES.reshape(500, -1),
        np.asfortranarray(IMAGES),
        np.zeros((500, 8, 8, 3), np.dtype([("a", "u1"), ("b", "u1")])),
    ],
    ids=["too few rows", "another type", "another shape", "Fortran order", "records"],
)
def test_a_shard_that_does_not_match_the_description_is_damaged(tmp_path: Path, content: object) -> None:
    dataset = pack(tmp_path, images=IMAGES)
    with open(shard_path(dataset.path, "train", 0), "wb") as file:
        np.save(file, content)
        file.write(bytes(IMAGES.nbytes))  # so that the file is long enough
    with pytest.raises(DataError, match=r"is damaged .*: delete it and prepare it again"):
        open_packed(dataset.path).images(ROWS)


@pytest.mark.parametrize(
    "content",
    [LABELS[:499], LABELS.astype(np.int32), LABELS.astype(np.float32), np.zeros((500, 4), np.float32), np.int64(3)],
    ids=["too few", "another type", "shares in one column", "shares of more classes", "one number"],
)
def test_labels_that_do_not_match_the_description_are_damaged(tmp_path: Path, content: object) -> None:
    dataset = pack(tmp_path, images=IMAGES, labels=LABELS)
    np.save(labels_path(dataset.path, "train"), content)
    with pytest.raises(DataError, match=r"is damaged .*: delete it and prepare it again"):
        open_packed(dataset.path).labels(ROWS)


def test_an_invalid_header_is_damage(tmp_path: Path) -> None:
    dataset = pack(tmp_path, images=IMAGES)
    shard = shard_path(dataset.path, "train", 0)
    for text in (b"(" * 5000, b"{'descr': '|u1'", b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 8, 8, 3)}"):
        head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
        shard.write_bytes(head + bytes(IMAGES.nbytes))
        with pytest.raises(DataError, match="is damaged"):
            open_packed(dataset.path).images(ROWS)
