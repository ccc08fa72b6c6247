"""A run folder that may not be written, at the start or from some moment on: said with the remedy, and nothing lost."""

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ganloom
from comparison import assert_same_run
from conftest import tiny_config
from ganloom.core.errors import RunError, StorageError
from ganloom.core.files import sha256
from ganloom.runs.checkpoints import Manifest
from ganloom.session.recorder import Recorder
from ganloom.training.step import AdversarialStep

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def not_almighty() -> Iterator[None]:
    """Permissions hold for root as well: without its capabilities, as Linux calls them, it is a user like any other."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("permissions do not hold for root here")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, in two halves
    assert libc.capget(header, sets) == 0
    without = (ctypes.c_uint32 * 6)(0, *sets[1:3], 0, *sets[4:])
    assert libc.capset(header, without) == 0
    try:
        yield
    finally:
        assert libc.capset(header, sets) == 0


def close(run: Path, *, files: bool) -> None:
    for path in (run, *run.rglob("*")):
        if path.is_dir():
            path.chmod(0o555)
        elif files:
            path.chmod(0o444)


def reopen(run: Path) -> None:
    for path in (run, *run.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def content(run: Path) -> dict[str, Any]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in run.rglob("*")}


def train(out: Path, **settings: Any) -> None:
    ganloom.train(out=out, device="cpu", settings=tiny_config(**settings).model_dump(mode="json"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "run"
    train(out)
    return out


@pytest.fixture
def half(uninterrupted: Path, tmp_path: Path) -> Iterator[Path]:
    """A run that was killed after its first checkpoints; may be written again at the end, so that it can be removed."""
    run = shutil.copytree(uninterrupted, tmp_path / "run")
    newest = max((run / "checkpoints").glob("*.safetensors"))
    newest.unlink()
    newest.with_suffix(".json").unlink()
    yield run
    reopen(run)


def leave_nothing(run: Path) -> None:
    """The kill came at a quiet moment."""


def leave_half_written(run: Path) -> None:
    """The kill came while a checkpoint was written."""
    (run / "checkpoints" / ".000000000960.safetensors.7.tmp").write_bytes(b"half")


def leave_a_damaged_checkpoint(run: Path) -> None:
    (run / "checkpoints" / "000000000960.safetensors").write_bytes(b"half")
    shutil.copyfile(min((run / "checkpoints").glob("*.json")), run / "checkpoints" / "000000000960.json")


def leave_a_later_grid(run: Path) -> None:
    shutil.copyfile(min((run / "samples").glob("0*.png")), run / "samples" / "000000009999.png")


@pytest.mark.parametrize("files", [True, False], ids=["all of it", "folders alone"])
@pytest.mark.parametrize("left", [leave_nothing, leave_half_written])
def test_a_run_that_may_not_be_written_is_not_touched(
    uninterrupted: Path, half: Path, left: Callable[[Path], None], files: bool
) -> None:
    left(half)
    close(half, files=files)
    before = content(half)
    with not_almighty(), pytest.raises(StorageError, match=r"Permission denied.* Make it writable"):
        ganloom.resume(half, device="cpu")
    assert content(half) == before
    reopen(half)
    ganloom.resume(half, device="cpu")
    assert_same_run(uninterrupted, half)


@pytest.mark.parametrize(
    ("folder", "left"),
    [
        ("checkpoints", leave_nothing),
        ("checkpoints", leave_half_written),
        ("checkpoints", leave_a_damaged_checkpoint),
        ("samples", leave_a_later_grid),
    ],
)
def test_a_folder_of_a_run_that_may_not_be_written(
    uninterrupted: Path, half: Path, folder: str, left: Callable[[Path], None]
) -> None:
    left(half)
    (half / folder).chmod(0o555)
    before = content(half / folder)
    with not_almighty(), pytest.raises(StorageError, match=r"Permission denied.* Make it writable"):
        ganloom.resume(half, device="cpu")
    assert content(half / folder) == before
    reopen(half)
    ganloom.resume(half, device="cpu")
    assert_same_run(uninterrupted, half)


@pytest.mark.parametrize("folder", ["checkpoints", "samples", "."])
def test_a_folder_that_is_closed_under_a_training_ends_it_and_what_was_saved_is_whole(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    run, log = tmp_path / "run", Recorder.log

    def logged(self: Recorder, step: AdversarialStep, *rest: Any) -> None:
        log(self, step, *rest)
        if step.nimg == 512:
            (run / folder).chmod(0o555)

    with not_almighty(), monkeypatch.context() as patched:
        patched.setattr(Recorder, "log", logged)
        with pytest.raises(StorageError, match=r"Permission denied.* Make it writable"):
            train(run)
    reopen(run)
    assert_whole(run)
    ganloom.resume(run, device="cpu")
    assert_same_run(uninterrupted, run)


def assert_whole(run: Path) -> None:
    manifests = list((run / "checkpoints").glob("*.json"))
    assert manifests
    for path in manifests:
        manifest = Manifest.model_validate_json(path.read_bytes())
        assert sha256(path.with_suffix(".safetensors").read_bytes()) == manifest.sha256


@pytest.mark.parametrize("name", ["log.jsonl", "config.yaml", "run.json", "model.safetensors"])
def test_a_file_that_may_not_be_written_is_replaced(uninterrupted: Path, half: Path, name: str) -> None:
    """It is the folder that must allow it."""
    (half / name).chmod(0o444)
    with not_almighty():
        ganloom.resume(half, device="cpu")
    assert_same_run(uninterrupted, half)


def test_a_run_that_may_not_be_read_is_said_with_the_reason(half: Path) -> None:
    (half / "checkpoints").chmod(0o000)
    with not_almighty(), pytest.raises((StorageError, RunError), match="Permission denied"):
        ganloom.resume(half, device="cpu")
