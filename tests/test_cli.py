"""The verbs, as a person types them."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

import ganloom
from conftest import tiny_flags
from ganloom.cli import app
from ganloom.config import Config, recipe_names
from ganloom.core.distributed import without_processes
from ganloom.core.errors import ConfigError, GanloomError
from ganloom.core.flags import FLAGS, settings_of
from ganloom.core.terminal import log, shown


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished training of a folder a class, through the command line."""
    folder = tmp_path_factory.mktemp("cli")
    for name in ("cat", "dog"):
        (folder / "pets" / name).mkdir(parents=True)
        for index in range(20):
            pixels = np.random.default_rng(index).integers(0, 255, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pets" / name / f"{index}.png")
    flags = tiny_flags(**{"data.labels": True, "train.length": "64 images"})
    invoke("train", folder / "pets", "--out", folder / "run", *flags)
    return folder / "run"


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def ganloom_process(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "ganloom", *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def test_version_is_printed() -> None:
    assert invoke("--version") == f"ganloom {ganloom.__version__}\n"


@pytest.mark.slow
def test_train_first_says_what_it_chose(tmp_path: Path) -> None:
    done = ganloom_process(
        "train", *tiny_flags(**{"train.length": "32 images"}), "--out", tmp_path / "run", "--device", "cpu"
    )
    assert done.returncode == 0, done.stderr
    takes_long = re.compile(r"(\.\.\.|: \d+ s)$")  # said of what takes long on a busy machine
    lines = [line for line in done.stdout.splitlines() if not takes_long.search(line)]
    assert [line.split()[0] for line in lines[:5]] == ["data", "shape", "recipe", "length", "device"]
    assert "1,720 training images in 10 classes (with labels)" in lines[0]  # 77 of 1,797 are held out
    assert "32x32 grey" in lines[1] and "digits" in lines[2] and "32 images" in lines[3] and "cpu" in lines[4]
    assert str(tmp_path / "run" / "samples") in done.stdout


def test_a_run_folder_holds_what_it_promises(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "config.yaml", "run.json", "status.json", "log.jsonl", "samples", "checkpoints", "model.safetensors",
    }  # fmt: skip
    assert (run / "samples" / "reals.png").exists()
    with Image.open(run / "samples" / "000000000064.png") as grid:
        size = grid.size
    assert size == (2 * 26 + 2, 10 * 22 + 2)  # one class a column, 20 pictures of 24x20
    facts = json.loads((run / "run.json").read_text())
    assert facts["class_names"] == ["cat", "dog"] and facts["images"] == 38  # of 40, two are held out


@pytest.mark.slow
def test_short_flags_reach_the_configuration(tmp_path: Path) -> None:
    flags = tiny_flags(**{"train.length": None, "train.batch": None})
    invoke(
        "train", "--out", tmp_path / "run", *flags, "--seed", 5, "--epochs", 0.05, "--batch", 16, "--micro-batch", 8,
        "--lr-g", "1e-3", "--lr-d", "4e-3", "--beta1", 0.1, "--beta2", 0.9, "--latent", 7, "--size", "16x24",
        "--set", "ema.half_life=30 kimg", "--device", "cpu",
    )  # fmt: skip
    config = Config.load(tmp_path / "run" / "config.yaml")
    assert config.seed == 5 and str(config.train.length) == "0.05 epochs"
    assert (config.train.batch, config.train.micro_batch) == (16, 8)
    assert (config.optimizer.g.lr, config.optimizer.d.lr) == (1e-3, 4e-3)
    assert {o.beta1 for o in (config.optimizer.g, config.optimizer.d)} == {0.1}
    assert {o.beta2 for o in (config.optimizer.g, config.optimizer.d)} == {0.9}
    assert config.net.latent == 7 and config.data.size == (16, 24) and str(config.ema.half_life) == "30 kimg"


def test_sample_writes_a_grid_and_the_same_seed_is_the_same_grid(run: Path, tmp_path: Path) -> None:
    for name, model in (("a", run), ("b", run / "model.safetensors")):
        invoke("sample", model, "--n", 16, "--seed", 3, "--out", tmp_path / f"{name}.png")
    invoke("sample", run, "--n", 16, "--seed", 4, "--out", tmp_path / "c.png")
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_sample_of_one_class_and_separate_files(run: Path, tmp_path: Path) -> None:
    invoke("sample", run, "--n", 3, "--class", "dog", "--separate", tmp_path / "dogs")
    files = sorted((tmp_path / "dogs" / "dog").iterdir())
    assert [file.name for file in files] == [f"dog-seed0-{number:06d}.png" for number in range(3)]
    expected = ganloom.load(run).sample(3, class_name="dog").permute(0, 2, 3, 1).numpy()
    assert all((np.asarray(Image.open(file)) == picture).all() for file, picture in zip(files, expected, strict=True))


def test_recipes_lists_and_prints() -> None:
    listed = invoke("recipes")
    assert {"digits", "dcgan-32", "dcgan-64", "mlp-28"} <= set(recipe_names())
    assert all(name in listed for name in recipe_names())
    assert "length:" in invoke("recipes", "dcgan-32")


def test_doctor_names_the_machine_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganloom.doctor.is_installed", lambda module: module != "lmdb")
    report = invoke("doctor")
    assert "missing: pip install 'ganloom[lmdb]'" in report and report.count("missing") == 1
    for word in ("ganloom", "python", "torch", "cuda", "cache", "wandb", "bf16", "will use"):
        assert word in report


@pytest.mark.slow
def test_minutes_end_a_run(tmp_path: Path) -> None:
    output = invoke(
        "train", "--out", tmp_path / "run", *tiny_flags(**{"train.length": "0.02 minutes"}), "--device", "cpu"
    )
    assert "about" in output
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["images_per_minute"] > 0
    assert (tmp_path / "run" / "log.jsonl").read_text()
    before = max(path.name for path in (tmp_path / "run" / "checkpoints").glob("*.json"))
    invoke("resume", tmp_path / "run", "--length", "0.1 minutes", "--device", "cpu")
    assert max(path.name for path in (tmp_path / "run" / "checkpoints").glob("*.json")) > before


def test_what_was_made_is_opened_if_asked(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", opened.append)
    invoke("sample", run, "--out", tmp_path / "g.png", "--truncation", "0.7", "--show")
    assert opened == [str(tmp_path / "g.png")]


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        (["--seed", "3"], {"seed": 3}),
        (["--epochs", "2"], {"train.length": "2.0 epochs"}),
        (["--beta1", "0", "--beta2", ".9"],
         {"optimizer.g.beta1": 0, "optimizer.d.beta1": 0, "optimizer.g.beta2": 0.9, "optimizer.d.beta2": 0.9}),
        (["--latent", "7", "--compile"], {"net.latent": 7, "train.compile": True}),
        (["--from", "run", "--freeze-d", "2", "--freeze-g", "1"],
         {"start.model": "run", "start.freeze_d": 2, "start.freeze_g": 1}),
        (["--lr-g", "1e-4", "--set", "optimizer.g.lr=.001"], {"optimizer.g.lr": 1e-3}),
    ],
)  # fmt: skip
def test_flags_are_settings(
    flags: list[str], settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    heard: list[Any] = []
    monkeypatch.setattr("ganloom.train", lambda data, **given: heard.append((data, given)))
    invoke("train", "photos", *flags)
    [(data, given)] = heard
    assert data == "photos"
    assert settings_of({name: given[name] for name in FLAGS}, given["settings"]) == settings


@pytest.mark.parametrize(
    ("verb", "flags", "expected"),
    [
        ("ganloom.prepare", ["prepare", "in", "out", "--drop-duplicates", "--fast", "--follow-links"],
         {"drop_duplicates": True, "fast": True, "follow_links": True}),
        ("ganloom.prepare", ["prepare", "in", "out", "--max-skipped", "20%", "--classes", "a,b"],
         {"max_skipped": "20%", "classes": "a,b", "drop_duplicates": False}),
        ("ganloom.evaluation.measuring.evaluate", ["evaluate", "run", "--per-class", "--n-real", "9", "--trust-code"],
         {"per_class": True, "n_real": 9, "trust_code": True}),
        ("ganloom.resume", ["resume", "run", "--length", "2 hours", "--data", "photos"],
         {"length": "2 hours", "data": "photos"}),
    ],
)  # fmt: skip
def test_flags_reach_the_verb(
    verb: str, flags: list[str], expected: dict[str, Any], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "run")
    heard: dict[str, Any] = {}
    monkeypatch.setattr(verb, lambda *arguments, **given: heard.update(given))
    invoke(*flags)
    assert {name: heard[name] for name in expected} == expected


BAD: list[tuple[list[str], str]] = [
    (["train", "--freeze-d", "1"], "name it with --from"),
    (["train", "no-such-folder"], "no folder, file or built-in dataset"),
    (["train", "no/such.npz"], "check the path"),
    (["train", "--recipe", "dcgan32"], "Did you mean 'dcgan-32'"),
    (["train", "--set", "train.btach=3"], "Did you mean 'train.batch'"),
    (["train", "--set", "train.batch=many"], "train.batch"),
    (["train", "--set", "batch"], "KEY=VALUE"),
    (["train", "--set", "net=dcgam"], "Did you mean 'dcgan'"),
    (["train", "--set", "loss=hinges"], "Did you mean 'hinge'"),
    (["train", "--set", "loss.smoothing=1"], "label_smoothing"),
    (["train", "--set", "penalties.r3.weight=1"], "unknown penalty 'r3'"),
    (["train", "--set", "net.g.widht=3"], "Did you mean 'width'"),
    (["train", "--set", "net.g.width=0"], "width"),
    (["train", "--length", "30"], "30 epochs"),
    (["train", "--length", "30 parsecs"], "30 epochs"),
    (["train", "--set", "sample.every=3 minutes"], "minutes and hours may only end a run"),
    (["train", "--length", "3 epochs", "--epochs", "3"], "one of them"),
    (["train", "--size", "big"], "HEIGHTxWIDTH"),
    (["train", "--size", "4"], "8 to 1024 pixels"),
    (["train", "digits", "--size", "2000"], "8 to 1024 pixels"),
    (["train", "digits", "--recipe", "mlp-28", "--size", "2000"], "1 to 1024 pixels"),
    (["prepare", "digits", "packed", "--size", "64x1025"], "at most 1024 pixels"),
    (["train", "digits", "--set", "data=photos"], "data is a section"),
    (["train", "digits", "--set", "data=null"], "data is a section"),
    (["train", "digits", "--set", "start=runs/a"], "start is a section"),
    (["train", "shapes", "--set", "penalties=5"], "penalties is a section"),
    (["train", "shapes", "--set", "data.size=64.0"], "data.size"),
    (["train", "digits", "--set", "guard=off"], "guard is a section: set its keys, such as guard.every"),
    (["train", "digits", "--set", "penalties.r1=3"], r"penalties\.r1 is a section: set its keys"),
    (["train", "digits", "--set", "x=1"], "'ganloom config' lists all keys"),
    (["train", "digits", "--length", "1e300 images"], "exceeds the maximum length"),
    (["inspect", "shapes", "--html", "."], "name a file"),
    (["unpack", ".", "x"], "is not a packed dataset: make one with ganloom prepare"),
    (["train", "shapes", "--size", "0", "--length", "10 minutes"], "data.size"),
    (["train", "shapes", "--set", "data.sise=8"], "Did you mean 'data.size'"),
    (["evaluate", "x", "--seed", "0"], "nothing at x"),
    (["train", "--batch", "10", "--micro-batch", "3"], "does not divide"),
    (["train", "--batch", "0"], "train.batch"),
    (["train", "--device", "gpu"], "unknown device"),
    (["train", "--set", "sede=1"], "Did you mean 'seed'"),
    (["train", "--set", "a..b=3"], "unknown key"),
    (["train", "--set", "optimizer.g.schedule=cosin"], "Did you mean 'cosine'"),
    (["train", "--recipe", "mlp-28", "--batch", "1"], "micro-batch of 2"),
    (["train", "--out", "."], "name a new one with --out"),
    (["resume", "no-such-run"], "no run at"),
    (["resume", "no-such-run", "--length", "soon"], "no run at"),
    (["sample", "no-such-run"], "no model file"),
    (["recipes", "dcgan"], "Did you mean"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_what_a_person_can_mend_is_said_with_the_remedy(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GanloomError, match=message):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert not (tmp_path / "runs").exists(), "a run folder was left behind"


@pytest.mark.slow
def test_errors_exit_with_2_and_without_a_traceback(tmp_path: Path) -> None:
    for arguments in (["train", str(tmp_path)], ["sample", str(tmp_path)]):
        done = ganloom_process(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_model_files_that_are_none_are_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("hello")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, message in (("text", "not a readable"), ("other", "not a ganloom model")):
        with pytest.raises(GanloomError, match=message):
            CliRunner().invoke(app, ["sample", str(tmp_path / f"{name}.safetensors")], catch_exceptions=False)
    with pytest.raises(GanloomError, match="Did you mean 'cat'"):
        CliRunner().invoke(app, ["sample", str(run), "--class", "cut"], catch_exceptions=False)


@pytest.mark.slow
def test_a_path_that_may_not_be_looked_at_is_an_error_without_a_traceback() -> None:
    done = ganloom_process("train", "a" * 300)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_reader_that_goes_away_does_not_end_the_training(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ganloom", "train", "--out", str(tmp_path / "run"), "--device", "cpu"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*command, *tiny_flags()], stdout=write, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_what_a_terminal_has_no_sign_for_is_written_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr("sys.stdout", output)
    with shown():
        log.info("\u0444")
    output.flush()
    assert output.buffer.getvalue().split() == [b"\\u0444"]  # type: ignore[attr-defined]


def test_a_grid_is_a_picture_that_a_browser_shows(run: Path, tmp_path: Path) -> None:
    with pytest.raises(GanloomError, match=r"a \.png, \.jpg or \.webp file: name it g\.png"):
        CliRunner().invoke(app, ["sample", str(run), "--out", "g.gif"], catch_exceptions=False)
    said = invoke("sample", run, "--n", 1, "--out", tmp_path / "g.jpg", "--scale", 2)
    assert said.startswith("1 image in ")
    with Image.open(tmp_path / "g.jpg") as picture:
        assert picture.format == "JPEG" and picture.size == (48, 40)


def test_a_class_may_be_repeated(run: Path, tmp_path: Path) -> None:
    invoke("sample", run, "--n", 5, "--class", "dog", "--class", "cat", "--out", tmp_path / "both.png")
    with Image.open(tmp_path / "both.png") as picture:
        assert picture.size == (3 * 26 + 2, 2 * 22 + 2)  # one row per class, with a place left free


def test_a_folder_with_pictures_is_refused_before_anything_is_generated(run: Path, tmp_path: Path) -> None:
    invoke("sample", run, "--n", 3, "--separate", tmp_path / "out")
    with pytest.raises(GanloomError, match="is not empty: name a new folder"):
        CliRunner().invoke(app, ["sample", str(run), "--separate", str(tmp_path / "out")], catch_exceptions=False)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3


@pytest.mark.slow
def test_a_second_run_of_the_same_images_gets_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a reader of the README types it, twice."""
    monkeypatch.chdir(tmp_path)
    flags = [*tiny_flags(**{"train.length": "32 images"}), "--device", "cpu"]
    first, second = invoke("train", "digits", *flags), invoke("train", "digits", *flags)
    assert "runs/digits-2" not in first and "note: runs/digits exists, so this run is runs/digits-2" in second
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["digits", "digits-2"]
    assert all((tmp_path / "runs" / name / "model.safetensors").exists() for name in ("digits", "digits-2"))
    with pytest.raises(GanloomError, match="there is a run at runs/digits"):
        CliRunner().invoke(app, ["train", "digits", "--out", "runs/digits", *flags], catch_exceptions=False)


def test_a_folder_named_as_the_built_in_dataset_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    for index in range(4):
        Image.new("RGB", (20, 20), (index, 0, 9)).save(tmp_path / "digits" / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    output = invoke("train", "./digits", *tiny_flags(**{"train.length": "32 images"}), "--device", "cpu")
    assert "4 training images" in output and "dcgan-32" in output and "20x20 RGB" in output


def test_a_tracker_that_cannot_start_does_not_stop_the_training(tmp_path: Path, run: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "tensorboard").write_text("in the way")
    config_file = copy / "config.yaml"
    config_file.write_text(config_file.read_text().replace("tensorboard: false", "tensorboard: true"))
    assert "TensorBoard could not start" in invoke("resume", copy, "--length", "96 images", "--device", "cpu")


def test_a_class_of_a_model_without_labels_is_refused(tmp_path: Path) -> None:
    flags = tiny_flags(**{"data.labels": False, "train.length": "32 images"})
    invoke("train", "--out", tmp_path / "run", *flags, "--device", "cpu")
    with pytest.raises(GanloomError, match="without labels"):
        CliRunner().invoke(app, ["sample", str(tmp_path / "run"), "--class", "7"], catch_exceptions=False)


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    done = ganloom_process("train", "--length", "32 images", GANLOOM_CACHE="/proc/nothing", HOME=str(tmp_path))
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "GANLOOM_CACHE" in done.stderr, done.stderr


def test_the_processes_flag_is_not_passed_on() -> None:
    assert without_processes(["train", "x", "--processes", "2", "--seed", "1"]) == ["train", "x", "--seed", "1"]
    assert without_processes(["train", "--processes=2", "x"]) == ["train", "x"]


def test_processes_under_torchrun_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="torchrun"):
        CliRunner().invoke(app, ["train", "--processes", "2"], catch_exceptions=False)
