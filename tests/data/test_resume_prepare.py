"""A preparation killed at any moment resumes where it stopped, and its result is the same to the byte."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from making import bytes_of, encoded, noise, pictures, prepared, rows, write
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data import parallel, shards
from ganloom.data import prepare as room
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.rows import Rows
from ganloom.data.sources import Item, Label, Source

SAVED_OFTEN = 2.5  # seconds of the clock below, which advances by one at every reading


@pytest.fixture(autouse=True)
def small_shards_that_are_kept_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 4 * 3 * 3 * 4)  # four images
    monkeypatch.setattr(room, "SAVE_EVERY", SAVED_OFTEN)
    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    monkeypatch.setattr(parallel, "IN_FLIGHT", 1)
    monkeypatch.setattr(parallel, "CHUNK", 1)
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))


class Made:
    """A source of images in memory that counts how often they are opened."""

    name = "made"
    ignored = 0
    remarks = ()

    def __init__(
        self,
        images: Sequence[NDArray[np.uint8] | None],
        labels: Sequence[Label] | None = None,
        splits: Sequence[str] | None = None,
        class_names: Sequence[str] = (),
        on_open: Callable[[int], None] = lambda index: None,
    ) -> None:
        self.images = images
        self.labels = labels or [None] * len(images)
        self.of = splits or ["train"] * len(images)
        self.splits = [split for split in ("train", "val", "test") if split in self.of]
        self.class_names = list(class_names)
        self.count = len(images)
        self.on_open = on_open
        self.opened: list[int] = []

    def fingerprint(self) -> Iterator[str]:
        yield str([None if image is None else image.tolist() for image in self.images])

    def items(self) -> Iterator[Item]:
        for index, image in enumerate(self.images):

            def read(index: int = index, image: NDArray[np.uint8] | None = image) -> Image.Image:
                self.opened.append(index)
                self.on_open(index)
                if image is None:
                    raise OSError("is broken")
                return Image.fromarray(image)

            yield Item(f"{index}.png", self.of[index], self.labels[index], read)


def greys(count: int) -> list[NDArray[np.uint8] | None]:
    return [noise(3, 4, 1, seed) for seed in range(count)]


def plain() -> Made:
    return Made(greys(14))


def three_labelled_splits() -> Made:
    return Made(greys(18), [n % 3 for n in range(18)], ["train", "test", "val", "train"] * 4 + ["train"] * 2, "abc")


def colour_comes_late() -> Made:
    images = greys(16)
    images[11] = noise(3, 4, 3, 99)
    return Made(images, None, ["train", "val"] * 8)


def labels_come_late() -> Made:
    late: list[Label] = [None] * 5 + [1] * 5 + [None] * 3
    return Made(greys(26), [0] * 13 + late, ["train"] * 13 + ["test"] * 13, "ab")


def shares_broken_ones_and_equal_ones() -> Made:
    images = greys(16)
    images[3] = images[9] = None
    images[12] = images[2]
    return Made(images, [np.array([1, n % 2, 0.25], np.float32) for n in range(16)], None, "abc")


SOURCES = (plain, three_labelled_splits, colour_comes_late, labels_come_late, shares_broken_ones_and_equal_ones)


def packed(source: Made, dest: Path, **options: Any) -> dict[str, bytes]:
    choice = Selection(holdout=0.3, drop_duplicates=True)
    checked: Source = source
    return bytes_of(prepare(checked, Preprocessing(), choice, dest, workers=1, max_skipped=1.0, **options))


def unfinished(dest: Path) -> Path:
    return dest.parent / f".{dest.name}.unfinished"


def record(dest: Path, snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """From now on, before and after every write, copy what a kill would leave of `dest`."""
    append, replace, save = Rows.append, os.replace, room._save
    taken: list[Path] = []

    def snapshot() -> None:
        if unfinished(dest).exists():
            taken.append(snapshots / str(len(taken)))
            shutil.copytree(unfinished(dest), taken[-1])

    def wrapped(function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            snapshot()
            function(*arguments)
            snapshot()

        return call

    monkeypatch.setattr(Rows, "append", wrapped(append))
    monkeypatch.setattr(shards, "os", SimpleNamespace(**{**vars(os), "replace": wrapped(replace)}))
    monkeypatch.setattr(room, "_save", wrapped(save))

    def stop() -> list[Path]:
        monkeypatch.setattr(Rows, "append", append)
        monkeypatch.setattr(shards, "os", os)
        monkeypatch.setattr(room, "_save", save)
        return taken

    return stop


def lines_of(folder: Path) -> int:
    path = folder / "files.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("make", SOURCES)
def test_killed_at_any_write_it_resumes_to_the_same_bytes_and_opens_nothing_twice(
    tmp_path: Path, make: Callable[[], Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = record(tmp_path / "whole", tmp_path / "killed", monkeypatch)
    whole = packed(make(), tmp_path / "whole")
    snapshots = stop()
    assert len({lines_of(snapshot) for snapshot in snapshots}) > 4  # it was saved several times
    for number, snapshot in enumerate(snapshots):
        dest = tmp_path / f"out{number}"
        snapshot.rename(unfinished(dest))
        done, source = lines_of(unfinished(dest)), make()
        assert packed(source, dest) == whole, f"killed at {number} of {len(snapshots)}"
        assert source.opened == list(range(done, source.count))
        assert not unfinished(dest).exists()


@pytest.mark.slow
@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize("first", [0.4, 0.75])
def test_killed_twice_it_resumes_to_the_same_bytes(
    tmp_path: Path, make: Callable[[], Made], first: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = record(tmp_path / "whole", tmp_path / "killed", monkeypatch)
    whole = packed(make(), tmp_path / "whole")
    snapshots = stop()
    snapshots[int(first * len(snapshots))].rename(unfinished(tmp_path / "once"))
    stop = record(tmp_path / "once", tmp_path / "again", monkeypatch)
    assert packed(make(), tmp_path / "once") == whole
    for number, snapshot in enumerate(stop()[::3]):
        snapshot.rename(unfinished(tmp_path / f"out{number}"))
        assert packed(make(), tmp_path / f"out{number}") == whole, f"killed the second time at {number}"


@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize("at", [0, 5, 11, 13])
def test_after_ctrl_c_it_resumes_with_the_next_image(tmp_path: Path, make: Callable[[], Made], at: int) -> None:
    whole = packed(make(), tmp_path / "whole")

    def interrupt(index: int) -> None:
        if index == at:
            raise KeyboardInterrupt

    source = make()
    source.on_open = interrupt
    with pytest.raises(KeyboardInterrupt):
        packed(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert lines_of(unfinished(tmp_path / "out")) == at  # no image is lost
    source = make()
    assert packed(source, tmp_path / "out") == whole
    assert source.opened == list(range(at, source.count))


def test_ctrl_c_in_the_middle_of_writing_a_row_costs_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = packed(three_labelled_splits(), tmp_path / "whole")
    append, calls = Rows.append, itertools.count()

    class Torn:
        """A file that is interrupted after its data is written, which is when Python handles signals."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, data: bytes) -> None:
            self.file.write(data)
            raise KeyboardInterrupt

    def torn(self: Rows, row: Any) -> None:
        if next(calls) == 9:
            self._file = Torn(self._file)  # type: ignore[assignment]
        try:
            append(self, row)
        finally:
            self._file = getattr(self._file, "file", self._file)

    monkeypatch.setattr(Rows, "append", torn)
    with pytest.raises(KeyboardInterrupt):
        packed(three_labelled_splits(), tmp_path / "out")
    assert packed(three_labelled_splits(), tmp_path / "out") == whole


@pytest.mark.parametrize("torn", [b'{"file": "7.png", "spl', b"{", b'{"file": "7.png"}'])
def test_an_incomplete_last_line_is_done_again(tmp_path: Path, torn: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = record(tmp_path / "whole", tmp_path / "killed", monkeypatch)
    whole = packed(three_labelled_splits(), tmp_path / "whole")
    snapshots = stop()
    snapshots[len(snapshots) // 2].rename(unfinished(tmp_path / "out"))
    with open(unfinished(tmp_path / "out") / "files.jsonl", "ab") as file:
        file.write(torn)
    assert packed(three_labelled_splits(), tmp_path / "out") == whole


DRIVER = """
import os, signal, sys
sys.path[:0] = sys.argv[1].split(os.pathsep)
from functools import partial
from pathlib import Path
import test_resume_prepare as tests
from ganloom.data import parallel, prepare as room, shards

shards.SHARD_BYTES, room.SAVE_EVERY, parallel.IN_FLIGHT, parallel.CHUNK = 4 * 3 * 3 * 4, 0, 1, 1

def kill(index):
    if index == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

source = getattr(tests, sys.argv[2])()
source.on_open = kill
tests.packed(source, Path(sys.argv[3]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "at"),
    [(colour_comes_late, 12), (three_labelled_splits, 17)],
)
def test_the_next_process_resumes_a_killed_one(tmp_path: Path, make: Callable[[], Made], at: int) -> None:
    whole = packed(make(), tmp_path / "whole")
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", DRIVER, paths, make.__name__, str(tmp_path / "out"), str(at)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    done = lines_of(unfinished(tmp_path / "out"))
    assert at - 2 <= done <= at
    source = make()
    assert packed(source, tmp_path / "out") == whole
    assert source.opened == list(range(done, source.count))


def interrupted(folder: Path, dest: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start to prepare a folder, and stop after some images."""
    with monkeypatch.context() as patches:
        decode, calls = room.decode, itertools.count()

        def stopping(*arguments: Any) -> Any:
            if next(calls) == at:
                raise KeyboardInterrupt
            return decode(*arguments)

        patches.setattr(room, "decode", stopping)
        with pytest.raises(KeyboardInterrupt):
            prepared(folder, dest, workers=1)


NAMES = [f"{number:02}.png" for number in range(12)]


@pytest.mark.parametrize("change", ["an image", "a new image", "an image less"])
def test_a_source_that_was_changed_meanwhile_is_prepared_from_the_beginning(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pictures(tmp_path / "in", *NAMES)
    interrupted(folder, tmp_path / "out", 8, monkeypatch)
    assert lines_of(unfinished(tmp_path / "out")) == 8
    if change == "an image":
        write(folder / "03.png", encoded(noise(4, 5, 1, 77)))
        os.utime(folder / "03.png", (1, 1))
    elif change == "a new image":
        write(folder / "025.png", encoded(noise(4, 5, 1, 78)))
    else:
        (folder / "03.png").unlink()
    dataset = prepared(folder, tmp_path / "out")
    expected = [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]
    assert np.array_equal(rows(dataset)[..., 0], expected)


def test_other_settings_start_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(tmp_path / "in", *NAMES)
    interrupted(folder, tmp_path / "out", 8, monkeypatch)
    dataset = prepared(folder, tmp_path / "out", Preprocessing((2, 2)))
    assert rows(dataset).shape == (12, 2, 2, 1)


@pytest.mark.parametrize("other", ["a file", "a folder with something", "another dataset", "a listing"])
def test_a_folder_with_other_content_is_refused_and_kept(tmp_path: Path, other: str) -> None:
    folder, dest = pictures(tmp_path / "in", *NAMES), tmp_path / "place" / "out"
    dest.parent.mkdir()
    if other == "a file":
        dest.write_text("mine")
    elif other == "another dataset":
        prepared(folder, dest, Preprocessing((2, 2)))
    else:
        write(dest / ("dataset.json" if other == "a listing" else "photo.png"), b'{"labels": null}')
    before = dest.read_bytes() if dest.is_file() else {path: path.read_bytes() for path in dest.iterdir()}
    with pytest.raises(DataError, match=r"exists and is not this dataset.*another folder"):
        prepared(folder, dest)
    assert before == (dest.read_bytes() if dest.is_file() else {path: path.read_bytes() for path in dest.iterdir()})
    assert [path.name for path in dest.parent.iterdir()] == ["out"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert prepared(pictures(tmp_path / "in", *NAMES), tmp_path / "out").count() == 12


def test_a_finished_dataset_is_opened_and_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(tmp_path / "in", *NAMES)
    before = bytes_of(prepared(folder, tmp_path / "out"))
    monkeypatch.setattr(room, "decode", lambda *arguments: pytest.fail("decoded again"))
    assert bytes_of(prepared(folder, tmp_path / "out")) == before


@pytest.mark.parametrize("damage", ["a row less", "no shard", "no number", "key", "shard", "line", "labels"])
def test_a_damaged_unfinished_dataset_is_refused_or_replaced_and_the_next_attempt_works(
    tmp_path: Path, damage: str
) -> None:
    def interrupt(index: int) -> None:
        if index == 8:
            raise KeyboardInterrupt

    whole = packed(three_labelled_splits(), tmp_path / "whole")
    source = three_labelled_splits()
    source.on_open = interrupt
    with pytest.raises(KeyboardInterrupt):
        packed(source, tmp_path / "out")
    begun = unfinished(tmp_path / "out")
    shard = begun / "train-00000.npy"
    if damage == "a row less":
        os.truncate(shard, shard.stat().st_size - 1)
    elif damage == "no shard":
        shard.unlink()
    elif damage == "shard":
        shard.write_bytes(b"nonsense" * 100)
    elif damage == "labels":
        (begun / "train-labels.npy").write_bytes(b"")
    elif damage == "key":
        (begun / room.KEY_FILE).write_bytes(b"\xff\xfe")
    elif damage == "line":
        (begun / "files.jsonl").write_bytes(b"{nonsense\n")
    else:
        (begun / "files.jsonl").write_bytes(b'[1, 2]\n{"file": 3}\n{"file": "a", "sha256": "x", "split": "nowhere"}\n')
    try:
        made = packed(three_labelled_splits(), tmp_path / "out")
    except DataError as error:
        assert "damaged" in str(error) and "prepare again" in str(error)
        assert not begun.exists()
        made = packed(three_labelled_splits(), tmp_path / "out")
    assert made == whole


def test_ctrl_c_while_saving_writes_nothing_twice() -> None:
    written: list[str] = []

    def interrupted() -> None:
        raise KeyboardInterrupt

    rows = SimpleNamespace(flush=lambda: None)
    lines = ["one\n", "two\n"]
    with pytest.raises(KeyboardInterrupt):
        room._save(rows, SimpleNamespace(writelines=written.extend, flush=interrupted), lines)  # type: ignore[arg-type]
    room._save(rows, SimpleNamespace(writelines=written.extend, flush=lambda: None), lines)  # type: ignore[arg-type]
    assert written == ["one\n", "two\n"]
