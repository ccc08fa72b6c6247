"""What a score says of itself is computed; what is not known is said."""

import logging
from pathlib import Path

import numpy as np
import pytest
from small import make_run, save_images, save_model

import ganloom
from ganloom.core.errors import DataError, RunError
from ganloom.core.files import cache_folder
from ganloom.metrics.scores import read_scores


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    ganloom.prepare(save_images(tmp_path / "images", 1), tmp_path / "packed", holdout=0.3)
    return tmp_path / "packed"


@pytest.fixture
def run(tmp_path: Path, packed: Path) -> Path:
    return make_run(tmp_path / "run", packed)


def fd(target: Path, data: Path | None = None, **options: str) -> ganloom.Score:
    return ganloom.evaluate(target, data, metrics="fd", n=50, device="cpu", **options)[0]


def test_scores_of_another_model_with_the_same_count_of_images_are_left_out(run: Path, tmp_path: Path) -> None:
    """The count may be the same after a rollback, or after a copy of another run's model."""
    fd(run)
    other = tmp_path / "other.json"
    ganloom.evaluate(run, metrics="fd", n=50, device="cpu", out=other)
    assert ganloom.compare([run, other]).rows
    header = ganloom.load(run).header
    save_model(run / "model.safetensors", **{**header.training, "recipe": "another"})
    assert ganloom.load(run).header.training["nimg"] == header.training["nimg"]
    with pytest.raises(DataError, match="are of an earlier model, which is gone"):
        ganloom.compare([run, other])


def set_data(run: Path, line: str) -> None:
    text = (run / "config.yaml").read_text()
    key = line.partition(":")[0]
    lines = [each for each in text.splitlines() if each.partition(":")[0] != f"  {key}"]
    place = lines.index("data:") + 1
    (run / "config.yaml").write_text("\n".join([*lines[:place], f"  {line}", *lines[place:]]) + "\n")


def test_without_verification_the_score_says_so_and_nothing_is_cached(run: Path, packed: Path) -> None:
    assert fd(run).verified is True
    assert list((cache_folder() / "features").iterdir())
    for file in (cache_folder() / "features").iterdir():
        file.unlink()
    set_data(run, "verify: false")
    assert fd(run).verified is False
    assert not list((cache_folder() / "features").iterdir())
    assert read_scores(run / "scores.json")[-1].verified is False


def test_a_damaged_dataset_measured_without_verification_does_not_poison_the_cache(run: Path, packed: Path) -> None:
    shard = packed / "train-00000.npy"
    before = shard.read_bytes()
    array = np.load(shard)
    set_data(run, "verify: false")
    np.save(shard, 255 - array)
    wrong = fd(run)
    shard.write_bytes(before)
    set_data(run, "verify: true")
    assert fd(run).value != wrong.value


@pytest.mark.parametrize("setting", ["classes: [c]", "splits: {x: train}", "class_level: 7", "group_by: zzz"])
def test_settings_that_are_not_for_other_images_are_left_out_with_the_reason(
    run: Path, tmp_path: Path, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = save_images(tmp_path / "other", 5)
    usual = fd(run, other)
    set_data(run, setting)
    caplog.set_level(logging.INFO, "ganloom")
    assert fd(run, other).content_hash == usual.content_hash
    assert f"{other} is read without the settings for the images of the run: " in caplog.text


def test_images_that_are_damaged_are_not_read_with_other_settings(
    run: Path, packed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other"
    ganloom.prepare(save_images(tmp_path / "images of it", 5), other, holdout=0.3)
    shard = other / "train-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    caplog.set_level(logging.INFO, "ganloom")
    with pytest.raises(DataError, match="is not what it was when it was prepared"):
        fd(run, other)
    assert "is read without the settings" not in caplog.text
    with pytest.raises((DataError, RunError)):
        fd(run, tmp_path / "nothing")


def test_what_a_hash_of_custom_code_does_not_cover_is_said(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mine.py").write_text("def means():\n    return lambda x: x.flatten(1)[:, :6]\n")
    caplog.set_level(logging.INFO, "ganloom")
    fd(run)
    assert "your own code" not in caplog.text
    fd(run, extractor=f"{tmp_path / 'mine.py'}:means")
    assert "means is your own code. Its hash covers the file and the weights" in caplog.text
