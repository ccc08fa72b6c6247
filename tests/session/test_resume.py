"""A run is never lost: kill it anywhere, resume, and the end is the same to the bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from kills import kill_again_and_again

import ganloom
from comparison import assert_same_run, log_of, state_of
from conftest import tiny_config, tiny_flags
from ganloom.config import Config
from ganloom.core import tensors
from ganloom.core.errors import ConfigError, RunError, StorageError
from ganloom.core.files import sha256
from ganloom.runs import RunFolder, create_folder, open_folder

pytestmark = pytest.mark.slow

# Everything that keeps state: lazy penalty, momenta, plateau, warm-up, several D updates, accumulation, labels, mirror.
SETTINGS = {
    "train.d_updates": 2,
    "train.batch": 16,
    "train.micro_batch": 8,
    "train.batch_g": 24,
    "penalties.r1.interval": 3,
    "optimizer.d.schedule": {"name": "plateau", "interval": "96 images", "patience": 0},
    "optimizer.g.schedule": {"name": "cosine", "warmup": "100 images"},
    "data.mirror": True,
}


def config(**settings: object) -> Config:
    return tiny_config(**{**SETTINGS, **settings})


def train(out: Path, settings: dict[str, object]) -> None:
    ganloom.train(out=out, device="cpu", settings=settings)


def as_settings(wanted: Config) -> dict[str, object]:
    values = wanted.model_dump(mode="json")
    return {key: values[key] for key in values}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "run"
    train(out, as_settings(config()))
    return out


def test_twenty_kills_at_random_moments_change_nothing(uninterrupted: Path, tmp_path: Path) -> None:
    """Kill -9: while starting, between checkpoints, while one is written, before the first, after the last."""
    outcome = kill_again_and_again(as_settings(config()), uninterrupted, tmp_path, kills=20, seed=0)
    assert outcome.kills >= 20 and outcome.finished >= 1


def test_a_kill_before_the_first_checkpoint(uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, as_settings(config()))
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    (run / "model.safetensors").unlink()
    shutil.rmtree(run / "samples")
    rows = [line for line in (run / "log.jsonl").read_text().splitlines() if json.loads(line)["nimg"] <= 160]
    (run / "log.jsonl").write_text("\n".join(rows) + "\n")
    (run / "status.json").write_text((run / "status.json").read_text().replace('"nimg": 960', '"nimg": 160'))
    ganloom.resume(run, device="cpu")
    assert_same_run(uninterrupted, run)


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "empty", "voucher torn", "voucher gone"])
def test_a_damaged_checkpoint_is_passed_over(uninterrupted: Path, tmp_path: Path, damage: str) -> None:
    """The newest is damaged, the one before it is used, and the run ends as if nothing had been."""
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    newest = max((run / "checkpoints").glob("*.safetensors"))
    data = bytearray(newest.read_bytes())
    if damage == "flipped bit":
        data[len(data) // 2] ^= 1
        newest.write_bytes(data)
    elif damage == "truncated":
        newest.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        newest.write_bytes(b"")
    elif damage == "voucher torn":
        newest.with_suffix(".json").write_text('{"nimg": 9')
    else:
        newest.with_suffix(".json").unlink()
    ganloom.resume(run, device="cpu")
    assert_same_run(uninterrupted, run)


def test_a_checkpoint_of_before_there_was_a_guard(uninterrupted: Path, tmp_path: Path) -> None:
    """Format 1 had no state of it: that begins anew, and all else is as it was."""
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    newest = max((run / "checkpoints").glob("*.safetensors"))
    data = tensors.pack({name: value for name, value in state_of(run).items() if not name.startswith("health/")})
    newest.write_bytes(data)
    voucher = json.loads(newest.with_suffix(".json").read_text())
    newest.with_suffix(".json").write_text(json.dumps({**voucher, "format": 1, "sha256": sha256(data)}))
    ganloom.resume(run, device="cpu")
    ours, theirs = state_of(run), state_of(uninterrupted)
    assert [name for name in theirs if name[:7] != "health/" and not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize("more", [{}, {"precision": "fp8"}, {"seconds": {"spent": 3}}], ids=str)
def test_a_checkpoint_of_a_newer_ganloom_is_refused(uninterrupted: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    """Also one with fields that are not known here: it is not damaged, and must not be passed over."""
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    newest = max((run / "checkpoints").glob("*.json"))
    newest.write_text(json.dumps({**json.loads(newest.read_text()), "format": 99, **more}))
    with pytest.raises(RunError, match="a newer ganloom"):
        ganloom.resume(run, device="cpu")


def test_a_damaged_checkpoint_does_not_crowd_out_good_ones(uninterrupted: Path, tmp_path: Path) -> None:
    """Stopped again before it reaches the damaged one, with one checkpoint to keep."""
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    newest = max((run / "checkpoints").glob("*.safetensors"))
    newest.write_bytes(b"torn")
    config_file = run / "config.yaml"
    text = config_file.read_text().replace("keep: 2", "keep: 1")
    config_file.write_text(text.replace("length: 960 images", "length: 100 images"))
    ganloom.resume(run, device="cpu")  # trains nothing, saves what was restored
    assert max((run / "checkpoints").glob("*.json")).stem < newest.stem
    ganloom.resume(run, length="960 images", device="cpu")
    ours, theirs = state_of(run), state_of(uninterrupted)
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_pictures_of_a_future_that_is_trained_anew_are_removed(uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    shutil.copyfile(run / "samples" / "000000000960.png", run / "samples" / "000000009999.png")
    ganloom.resume(run, device="cpu")
    assert not (run / "samples" / "000000009999.png").exists()


def test_other_networks_than_the_checkpoints_are_an_error_with_the_remedy(uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    config_file = run / "config.yaml"
    config_file.write_text(config_file.read_text().replace("width: 8", "width: 4"))
    changed = r"does not match config\.yaml.*net\.g\.width was 8 and is 4, net\.d\.width was 8 and is 4\. Set them back"
    with pytest.raises(RunError, match=changed):
        ganloom.resume(run, device="cpu")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"train: [", b"trian: {}"])
def test_a_damaged_configuration_is_an_error_with_its_path(uninterrupted: Path, tmp_path: Path, content: bytes) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    (run / "config.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"run/config\.yaml"):
        ganloom.resume(run, device="cpu")


def test_only_damaged_checkpoints_are_an_error_with_the_remedy(uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    for path in (run / "checkpoints").glob("*.safetensors"):
        path.write_bytes(b"torn")
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(RunError, match=r"every checkpoint is damaged.*ganloom\.train\(.*start=.*model\.safetensors"):
        ganloom.resume(run, device="cpu")
    assert (run / "model.safetensors").read_bytes() == before


def test_a_length_that_is_behind_the_run_is_refused_and_not_written(uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(RunError, match="has seen 960 images already, more than 320 images"):
        ganloom.resume(run, length="320 images", device="cpu")
    assert (run / "config.yaml").read_bytes() == before


def test_what_lies_beside_the_checkpoints_is_no_checkpoint(uninterrupted: Path, tmp_path: Path) -> None:
    """Copies that a person made, and what macOS writes beside files on other disks."""
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    for name in ("000000050000 (1).json", "backup.safetensors", "._000000000150.json"):
        (run / "checkpoints" / name).write_bytes(b"something else")
    ganloom.resume(run, length="1100 images", device="cpu")
    assert RunFolder(run).saved_seconds() is not None
    assert len(list((run / "checkpoints").glob("*"))) >= 3


def test_the_last_k_checkpoints_are_kept(uninterrupted: Path) -> None:
    assert len(list((uninterrupted / "checkpoints").glob("*.safetensors"))) == 2
    assert len(list((uninterrupted / "checkpoints").glob("*.json"))) == 2


def test_a_longer_length_is_as_if_it_had_been_asked_for_at_once(uninterrupted: Path, tmp_path: Path) -> None:
    """With schedules that do not look at the length; the shorter run ends on a logged step."""
    plain = {"optimizer.g.schedule": {"name": "constant"}}
    short, long = tmp_path / "short", tmp_path / "long"
    train(short, as_settings(config(**plain, train__length="480 images")))
    ganloom.resume(short, length="960 images", device="cpu")
    train(long, as_settings(config(**plain)))
    ours, theirs = state_of(short), state_of(long)
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert log_of(short)[-1] == log_of(long)[-1]
    assert str(open_folder(short).config.train.length) == "960 images"


def test_resuming_a_finished_run_changes_nothing(uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    ganloom.resume(run, device="cpu")
    assert_same_run(uninterrupted, run)


def test_other_images_are_refused(uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    opened = open_folder(run)
    opened.save_facts(opened.facts.model_copy(update={"content_hash": "0" * 64}))
    with pytest.raises(RunError, match="not those that"):
        ganloom.resume(run, device="cpu")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_finish_the_step_save_and_say_how_to_go_on(tmp_path: Path, uninterrupted: Path, number: int) -> None:
    flags = [*tiny_flags(), "--set", "train.length=100 kimg", "--device", "cpu", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "ganloom", "train", *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    log = tmp_path / "run" / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 128 + number, output
    assert "ganloom resume" in output and "Traceback" not in output
    checkpoints = list((tmp_path / "run" / "checkpoints").glob("*.json"))
    assert checkpoints and (tmp_path / "run" / "model.safetensors").exists()


def test_a_full_disk_leaves_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may not grow beyond a limit, as on a disk with so much left: first enough for all but checkpoints."""
    run = tmp_path / "run"
    script = (
        "import resource, sys, ganloom\n"
        "from ganloom.core.errors import StorageError\n"
        "from conftest import tiny_config\n"
        "settings = tiny_config(train__length='320 images').model_dump(mode='json')\n"
        f"ganloom.train(out={str(run)!r}, device='cpu', settings=settings)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        f"try: ganloom.resume({str(run)!r}, length='960 images', device='cpu')\n"
        "except StorageError as error: print(error)\n"
        "else: sys.exit('no error')\n"
    )
    tests = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": tests}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "larger than its file system or a limit (ulimit -f)" in done.stdout and "raise the limit" in done.stdout
    assert not list(run.rglob(".*.tmp"))
    ganloom.resume(run, device="cpu")  # goes on to the longer length from what was saved
    train(tmp_path / "whole", as_settings(tiny_config()))
    ours, theirs = state_of(run), state_of(tmp_path / "whole")
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_a_run_that_exists_is_refused(uninterrupted: Path) -> None:
    with pytest.raises(RunError, match=r"ganloom\.resume\("):
        train(uninterrupted, as_settings(config()))


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not an empty folder"):
        train(tmp_path, as_settings(config()))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_two_trainings_in_one_folder_are_refused(uninterrupted: Path, tmp_path: Path) -> None:
    """And one that was killed leaves the folder free, which the twenty kills show."""
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    holding = "import sys, ganloom\nwith ganloom.open_run(sys.argv[1]).folder.alone(): print(); input()"
    with subprocess.Popen([sys.executable, "-u", "-c", holding, str(run)], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(RunError, match="another process is training"):
            ganloom.resume(run, device="cpu")
        other.kill()
    ganloom.resume(run, device="cpu")


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run at"):
        open_folder(tmp_path)


def test_a_run_folder_is_made_whole_or_not_at_all(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    facts = open_folder(uninterrupted).facts
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(StorageError):
        create_folder(tmp_path / "run", config(), facts)
    assert list(tmp_path.iterdir()) == []


def test_the_saved_configuration_repeats_the_run(uninterrupted: Path, tmp_path: Path) -> None:
    ganloom.train(recipe=str(uninterrupted / "config.yaml"), out=tmp_path / "again", device="cpu")
    ours, theirs = state_of(tmp_path / "again"), state_of(uninterrupted)
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert RunFolder(tmp_path / "again").config == RunFolder(uninterrupted).config
