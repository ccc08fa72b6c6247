"""Every setting of a run's config.yaml may be edited: it takes effect, named in a line, or is refused by its name."""

import logging
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

import ganloom
from ganloom.cli import app
from ganloom.config import Config, known_keys, merge, nested
from ganloom.core.errors import ConfigError, GanloomError, RunError
from ganloom.runs import RunFolder, checkpoints
from ganloom.tracking.jsonl import read_log

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {  # a part of every kind that has a state, and no guard that stops it
    "data.size": 16,
    "data.holdout": 0.2,
    "net": {"name": "dcgan", "latent": 8, "g": {"width": 4}, "d": {"width": 4, "norm": "none"}},
    "loss": "bce",
    "penalties": {"r1": {"weight": 0.1, "interval": 2}},
    "augment": {"name": "ada", "policy": ["shift"]},
    "burn_in": {"share": 0.5},
    "optimizer.g.schedule": {"name": "plateau", "interval": "16 images"},
    "optimizer.d.schedule": {"name": "plateau", "interval": "16 images"},
    "train": {"length": "32 images", "batch": 8},
    "checkpoint.every": "16 images",
    "sample.every": "0 images",
    "sample.count": 4,
    "log.every": "8 images",
    "evaluate.every": "0 images",
    "evaluate.n": 100,
    "guard.every": "0 images",
    "trackers.tensorboard": False,
}
GROWING = {
    **SETTINGS,
    "net": {"name": "progressive", "latent": 8, "g": {"width": 4}, "d": {"width": 4}},
    "growth": {"hold": "8 images", "fade": "40 images"},
    "augment": None,
}
AFRESH = "start afresh"

# By key: the other settings that it needs, if any, with itself; and what becomes of it, besides being named.
EDITS: dict[str, tuple[Any, str] | tuple[Any, str, dict[str, Any]]] = {
    "seed": (1, "refused"),
    "data.source": ("OTHER", "refused"),
    "data.splits": ("none", ""),
    "data.class_level": (1, ""),
    "data.keep_masks": (True, ""),
    "data.label_file": ("none", ""),
    "data.label_column": ("label", "refused"),
    "data.group_column": ("patient", "refused"),
    "data.any_suffix": (True, ""),
    "data.frames": ("all", ""),
    "data.follow_links": (True, ""),
    "data.size": (8, "refused"),
    "data.channels": (3, "refused"),
    "data.resize": ("fit", ""),
    "data.window": ("0:10", ""),
    "data.fast": (True, ""),
    "data.holdout": (0.1, "refused"),
    "data.group_by": ("1", "refused"),
    "data.classes": ("1", "refused"),
    "data.drop_duplicates": (True, ""),
    "data.max_skipped": (0.5, ""),
    "data.verify": (False, ""),
    "data.labels": (True, "refused"),
    "data.mirror": (True, ""),
    "net.name": ("mlp", "refused", {"net.g": {}, "net.d": {}}),
    "net.latent": (9, "refused"),
    "net.g": ({"width": 8}, "refused"),
    "net.d": ({"width": 8, "norm": "none"}, "refused"),
    "growth.hold": ("16 images", ""),
    "growth.fade": ("16 images", ""),
    "growth": (None, ""),
    "burn_in.share": (0.9, ""),
    "burn_in.lr": (2.0, ""),
    "burn_in.beta2": (0.5, ""),
    "burn_in.penalties": (2.0, ""),
    "burn_in.half_life": (0.5, ""),
    "burn_in.augment": (0.5, ""),
    "burn_in": (None, ""),
    "start.model": ("elsewhere", "refused"),
    "start.sha256": ("0" * 64, "refused"),
    "start.optimizers": (True, "refused"),
    "start.freeze_d": (1, ""),
    "start.freeze_g": (1, ""),
    "start": (None, "refused"),
    "loss.name": ("hinge", AFRESH),
    "penalties.*.weight": (0.2, ""),
    "penalties.*.interval": (3, ""),
    "augment.name": ("diffaugment", "", {"augment": {"name": "diffaugment"}}),
    "augment": (None, ""),
    "augment.p": (0.25, AFRESH),
    "train.length": ("48 images", ""),
    "train.batch": (16, "", {"train.batch_g": 16}),
    "train.micro_batch": (4, ""),
    "train.batch_g": (16, ""),
    "train.micro_batch_g": (4, ""),
    "train.d_updates": (2, ""),
    "train.precision": ("bf16", ""),
    "train.compile": (True, ""),
    "train.recompute": (True, ""),
    "ema.half_life": ("0 images", ""),
    "ema.ramp_up": (0.5, ""),
    "checkpoint.every": ("8 images", ""),
    "checkpoint.keep": (1, ""),
    "sample.every": ("8 images", ""),
    "sample.count": (5, ""),
    "evaluate.every": ("8 images", ""),
    "evaluate.budget": (0.5, "has no effect"),
    "evaluate.n": (110, ""),
    "evaluate.metrics": (["fd"], ""),
    "evaluate.best": ("precision", ""),
    "evaluate.patience": (1, ""),
    "guard.every": ("8 images", ""),
    "guard.budget": (0.5, "has no effect"),
    "guard.n": (60, AFRESH),
    "guard.patience": (2, ""),
    "guard.rollbacks": (0, ""),
    **{f"guard.{fault}": ("stop", "") for fault in ("divergence", "collapse", "overpowering")},
    **{f"guard.{fault}": ("stop", "") for fault in ("overfitting", "memorisation", "tone", "stalled")},
    "log.every": ("16 images", ""),
    "trackers.tensorboard": (True, ""),
    "trackers.wandb.mode": ("offline", ""),
    "trackers.wandb.project": ("other", ""),
}
for place in "gd":
    EDITS |= {
        f"optimizer.{place}.name": ("rmsprop", AFRESH),
        f"optimizer.{place}.lr": (1e-4, ""),
        f"optimizer.{place}.beta1": (0.25, ""),
        f"optimizer.{place}.beta2": (0.5, ""),
        f"optimizer.{place}.weight_decay": (0.1, ""),
        f"optimizer.{place}.clip": (1.0, ""),
        f"optimizer.{place}.clip_weights": (1.0, ""),
        f"optimizer.{place}.schedule.warmup": ("8 images", ""),
        f"optimizer.{place}.schedule.name": ("cosine", "", {f"optimizer.{place}.schedule": {"name": "cosine"}}),
        f"optimizer.{place}.schedule.final": (0.5, "", {f"optimizer.{place}.schedule": {"name": "linear"}}),
        f"optimizer.{place}.schedule.score": (True, AFRESH, {"evaluate.every": "16 images"}),
        f"optimizer.{place}.schedule.factor": (0.25, ""),
        f"optimizer.{place}.schedule.patience": (1, ""),
        f"optimizer.{place}.schedule.interval": ("8 images", ""),
        f"optimizer.{place}.schedule.threshold": (0.5, ""),
    }


def test_every_setting_is_edited_here() -> None:
    known = set(known_keys(Config))
    sections = {key for key in known if any(other.startswith(f"{key}.") for other in known)}
    assert known - sections - EDITS.keys() == set()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of 32 images: one fine-tunes, one grows."""
    folder = tmp_path_factory.mktemp("edited")
    pictures(folder / "images", 0)
    pictures(folder / "others", 1)
    source = folder / "images"
    other = {**SETTINGS, "train.length": "8 images", "burn_in": None}
    start = ganloom.train(source, recipe="dcgan-32", out=folder / "start", device="cpu", settings=other)
    return {
        "start": start.path,
        "fine-tunes": ganloom.train(
            source, recipe="dcgan-32", out=folder / "run", start=start, device="cpu", settings=SETTINGS
        ).path,
        "grows": ganloom.train(
            source, recipe="progressive-64", out=folder / "grows", device="cpu", settings=GROWING
        ).path,
    }


def pictures(folder: Path, seed: int) -> None:
    """300 grey images in two classes."""
    random = np.random.default_rng(seed)
    for index in range(300):
        path = folder / str(1 + index % 2) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16), np.uint8)).save(path)


def edit(run: Path, settings: dict[str, Any]) -> None:
    values = yaml.safe_load((run / "config.yaml").read_text())
    for key, value in settings.items():  # a section is replaced, not merged
        *above, last = key.split(".")
        section = values
        for name in above:
            section = section[name]
        section[last] = value
    (run / "config.yaml").write_text(yaml.safe_dump(values))


def resumed(run: Path, caplog: pytest.LogCaptureFixture) -> str:
    """What a resumption for one more step says."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="ganloom"):
        ganloom.resume(run, device="cpu", length=None)
    return caplog.text


@pytest.mark.parametrize("key", EDITS)
def test_an_edited_setting_takes_effect_with_a_line_or_is_refused_by_its_name(
    trained: dict[str, Path],
    tmp_path: Path,
    key: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value, outcome, *more = EDITS[key]
    value = str(trained["start"].parent / "others") if value == "OTHER" else value
    run = shutil.copytree(trained["grows" if key.startswith("growth") else "fine-tunes"], tmp_path / "run")
    monkeypatch.setattr(torch, "compile", lambda network: network)  # which takes a minute
    monkeypatch.setenv("WANDB_MODE", "disabled")
    key = key.replace("*", "r1")
    edit(run, {"train.length": "40 images"} | (more[0] if more else {}) | {key: value})
    before = (run / "config.yaml").read_bytes()
    if outcome == "refused":
        with pytest.raises(GanloomError, match=re.escape(key)):
            ganloom.resume(run, device="cpu")
        assert (run / "config.yaml").read_bytes() == before
        return
    said = resumed(run, caplog)
    changed = next(line for line in said.splitlines() if "changed:" in line)
    assert f" {key}" in changed and outcome in said
    assert (AFRESH in said) == (outcome == AFRESH)
    assert RunFolder(run).status.nimg >= 40
    assert any("changed: " in row.get("text", "") and key in row["text"] for row in read_log(run / "log.jsonl"))
    assert "changed:" not in resumed(run, caplog)  # it is a setting of the run from now on


@pytest.mark.parametrize("place", ["g", "d"])
def test_the_advice_of_an_out_of_memory_error_works(
    trained: dict[str, Path], tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """optimizer.*.name=rmsprop in config.yaml; and back again."""
    run = shutil.copytree(trained["fine-tunes"], tmp_path / "run")
    for name, length in (("rmsprop", "40 images"), ("adam", "48 images")):
        edit(run, {f"optimizer.{place}.name": name, "train.length": length})
        said = resumed(run, caplog)
        assert f"the optimizer of {place.upper()} start" in said and name in said


def test_adam_continues_as_adamw_and_says_so(
    trained: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = shutil.copytree(trained["fine-tunes"], tmp_path / "run")
    edit(run, {"optimizer.d.name": "adamw", "train.length": "40 images"})
    said = resumed(run, caplog)
    assert "the optimizer of D keeps its saved state: adam and adamw" in said and AFRESH not in said


def test_an_edit_survives_a_kill_before_the_next_checkpoint(
    trained: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The checkpoint says with which settings it was saved, so the edit is known until there is a newer one."""
    run, kept = shutil.copytree(trained["fine-tunes"], tmp_path / "run"), tmp_path / "kept"
    shutil.copytree(run / "checkpoints", kept)
    edit(run, {"loss.name": "hinge", "train.length": "40 images"})
    resumed(run, caplog)
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(kept, run / "checkpoints")
    assert "loss.name bce -> hinge" in (RunFolder(run).log.read_text())
    assert AFRESH in resumed(run, caplog) or "the schedule of G" in RunFolder(run).log.read_text()


def test_a_run_of_an_older_version_starts_the_optimizer_afresh_too(
    trained: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its checkpoints do not say with which settings they were saved."""
    run = shutil.copytree(trained["fine-tunes"], tmp_path / "run")
    for path in (run / "checkpoints").glob("*.json"):
        manifest = checkpoints.Manifest.model_validate_json(path.read_bytes())
        path.write_text(manifest.model_copy(update={"format": 3}).model_dump_json(exclude={"config"}))
    facts = RunFolder(run).facts
    RunFolder(run).save_facts(facts.model_copy(update={"config": {}}))
    edit(run, {"optimizer.g.name": "rmsprop", "augment": None, "train.length": "40 images"})
    assert "the optimizer of G" in resumed(run, caplog)


def test_a_run_that_has_not_come_to_a_checkpoint_may_be_changed(trained: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(trained["fine-tunes"], tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    for name in ("model.safetensors", "log.jsonl", "status.json"):
        (run / name).unlink()
    shutil.rmtree(run / "samples")
    edit(run, {"seed": 3, "net.g": {"width": 8}})
    assert ganloom.resume(run, device="cpu").status.nimg == 32


def test_a_new_setting_of_a_newer_version_is_no_edit(
    trained: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = shutil.copytree(trained["fine-tunes"], tmp_path / "run")
    for path in (run / "checkpoints").glob("*.json"):
        manifest = checkpoints.Manifest.model_validate_json(path.read_bytes())
        del manifest.config["data"]["verify"], manifest.config["log"]
        path.write_text(manifest.model_dump_json())
    edit(run, {"train.length": "40 images", "log.every": "4 kimg"})
    assert "changed: train.length 32 images -> 40 images" in resumed(run, caplog)


def test_the_remedy_of_another_start_works(trained: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(trained["fine-tunes"], tmp_path / "run")
    edit(run, {"seed": 7})
    with pytest.raises(RunError, match=r"seed of .* was 0 and is 7.*ganloom\.train\(recipe=.*config\.yaml"):
        ganloom.resume(run, device="cpu")
    again = ganloom.train(recipe=f"{run}/config.yaml", out=tmp_path / "new", device="cpu")
    assert again.config.seed == 7
    run = shutil.copytree(trained["fine-tunes"], tmp_path / "another run")
    with pytest.raises(RunError, match=r"start\.model of .* start a new run: ganloom\.train\(.*start=.*another model"):
        ganloom.resume(run, device="cpu", settings={"start.model": str(tmp_path / "another model")})


def test_settings_are_changed_from_the_command_line_too(
    trained: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As the guard advises: --set optimizer.g.lr=5e-05. One that is refused leaves the run as it was."""
    run = shutil.copytree(trained["fine-tunes"], tmp_path / "run")
    before = [(run / name).read_bytes() for name in ("config.yaml", "status.json")]
    with pytest.raises(RunError, match=r"net\.g\.width was 4 and is 8\. Set them back"):
        ganloom.resume(run, device="cpu", settings={"net.g.width": 8})
    assert [(run / name).read_bytes() for name in ("config.yaml", "status.json")] == before
    with caplog.at_level(logging.INFO, logger="ganloom"):
        resumed = CliRunner().invoke(app, ["resume", str(run), "--set", "optimizer.g.lr=5e-05", "--device", "cpu"])
    assert resumed.exit_code == 0 and RunFolder(run).config.optimizer.g.lr == 5e-5
    assert "optimizer.g.lr 0.0002 -> 5e-05" in (run / "log.jsonl").read_text().replace("\\u003e", ">")


def test_the_settings_of_a_checkpoint_are_those_it_was_trained_with(trained: dict[str, Path]) -> None:
    run = RunFolder(trained["fine-tunes"])
    manifest = checkpoints.newest_manifest(run.checkpoints)
    assert manifest is not None and Config.build(manifest.config) == run.config
    with pytest.raises(ConfigError):
        Config.build(merge(manifest.config, nested({"seed": -1})))
