"""Images that are changed under a training: it ends with the reason, and goes on as if nothing had been."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ganloom
from comparison import assert_same_run
from conftest import tiny_config
from ganloom.core.errors import DataError
from ganloom.data.packed import PackedDataset, labels_path, shard_path
from ganloom.session.recorder import Recorder
from ganloom.training.step import AdversarialStep

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent.parent
PLACES = [
    pytest.param(lambda folder: shard_path(folder, "train", 0), id="images"),
    pytest.param(lambda folder: labels_path(folder, "train"), id="labels"),
]

# A training in a process of its own, as to read what was cut off may end it; the file is cut half way.
CUT = """
import os, sys
from pathlib import Path
import ganloom
from conftest import tiny_config
from ganloom.core.errors import DataError
from ganloom.session.recorder import Recorder

out, source, file = sys.argv[1:]
log = Recorder.log
def cut(self, step, *rest):
    log(self, step, *rest)
    if step.nimg == 512:
        os.truncate(file or next(Path(os.environ["GANLOOM_CACHE"]).glob("digits-*/train-00000.npy")), 200)
Recorder.log = cut
try:
    ganloom.train(out=out, device="cpu", settings=tiny_config(data__source=source).model_dump(mode="json"))
except DataError as error:
    print(error)
else:
    sys.exit("nothing was noticed")
"""


def train(out: Path, source: Path) -> None:
    ganloom.train(out=out, device="cpu", settings=tiny_config(data__source=str(source)).model_dump(mode="json"))


def train_and_cut(out: Path, source: str, file: str) -> str:
    command = [sys.executable, "-c", CUT, str(out), source, file]
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


def change(path: Path) -> None:
    """One byte, the last."""
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))


def replace(path: Path) -> None:
    """By other content, under the same name."""
    beside = path.with_suffix(".new")
    beside.write_bytes(bytes(path.stat().st_size))
    beside.replace(path)


def half_way(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    log = Recorder.log

    def logged(self: Recorder, step: AdversarialStep, *rest: Any) -> None:
        log(self, step, *rest)
        if step.nimg == 512:
            happens()

    monkeypatch.setattr(Recorder, "log", logged)


@pytest.fixture
def images(digits: PackedDataset, tmp_path: Path) -> Path:
    return shutil.copytree(digits.path, tmp_path / "images")


@pytest.fixture(scope="module")
def left_alone(digits: PackedDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "run"
    train(out, digits.path)
    return out


@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_is_cut_under_a_training(
    left_alone: Path, digits: PackedDataset, images: Path, tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    file, run = place(images), tmp_path / "run"
    assert f"{file} was changed while it was in use" in train_and_cut(run, str(images), str(file))
    with pytest.raises(DataError, match="delete it and prepare it again"):
        ganloom.resume(run, device="cpu")
    shutil.copyfile(place(digits.path), file)
    ganloom.resume(run, device="cpu")
    assert_same_run(left_alone, run)


def test_a_prepared_file_that_is_cut_under_a_training_is_prepared_anew(
    left_alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the cache, which is ours: 'ganloom resume' is all there is to do."""
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    assert "continue with 'ganloom.resume()'" in train_and_cut(run, "digits", "")
    ganloom.resume(run, device="cpu")
    assert_same_run(left_alone, run)


@pytest.mark.parametrize("place", PLACES)
def test_other_content_under_a_training_is_never_learned(
    left_alone: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Callable[[Path], Path]
) -> None:
    file, run = place(images), tmp_path / "run"
    with monkeypatch.context() as patched:
        half_way(patched, lambda: change(file))
        with pytest.raises(DataError, match="was changed while it was in use"):
            train(run, images)
    change(file)  # back
    ganloom.resume(run, device="cpu")
    assert_same_run(left_alone, run)


@pytest.mark.parametrize(
    "happens", [lambda folder: replace(shard_path(folder, "train", 0)), shutil.rmtree], ids=["replaced", "deleted"]
)
def test_a_training_outlives_its_dataset(
    left_alone: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Path], None]
) -> None:
    """Deleted, or replaced by another under the same name: what was opened is read to the end."""
    before = shard_path(images, "train", 0).stat().st_ino
    half_way(monkeypatch, lambda: happens(images))
    train(tmp_path / "run", images)
    assert not images.exists() or shard_path(images, "train", 0).stat().st_ino != before
    assert_same_run(left_alone, tmp_path / "run")
