"""`--at`: the generator of a run as it was when a checkpoint was made."""

import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import ganloom
from conftest import tiny_config
from ganloom.cli import app
from ganloom.core.errors import ConfigError, GanloomError, ModelError

pytestmark = pytest.mark.slow

SCORED = {"evaluate__every": "150 images", "evaluate__n": 100, "evaluate__metrics": ["fd"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ganloom.Run:
    """With checkpoints at 160, 320 and 384 images, the last of which is the model."""
    settings = tiny_config(train__length="384 images", checkpoint__keep=9, **SCORED).model_dump(mode="json")
    return ganloom.train(out=tmp_path_factory.mktemp("moments") / "run", device="cpu", settings=settings)


def nimg(model: ganloom.Model) -> int:
    return int(model.header.training["nimg"])


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("last", 384),
        (0, 160),
        (160, 160),
        (200, 160),
        ("300", 320),
        ("320 images", 320),
        ("0.3 kimg", 320),
        (10**9, 384),
    ],
)
def test_the_nearest_moment_that_was_saved_is_taken(run: ganloom.Run, at: int | str, found: int) -> None:
    assert nimg(run.model(at=at, device="cpu")) == found
    assert nimg(ganloom.load(run, at=at, device="cpu")) == found


def test_a_length_in_epochs_or_steps_is_a_moment(run: ganloom.Run) -> None:
    assert nimg(run.model("5 steps", device="cpu")) == 160
    assert nimg(run.model("0.19 epochs", device="cpu")) == 320


def test_the_last_checkpoint_holds_the_model(run: ganloom.Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "run")
    model = run.model(device="cpu").sample(5)
    shutil.copyfile(copy / "best" / "model.safetensors", copy / "model.safetensors")  # now only a checkpoint has it
    assert torch.equal(ganloom.load(copy, at=384, device="cpu").sample(5), model)
    assert not torch.equal(ganloom.load(copy, at=160, device="cpu").sample(5), model)


def test_the_best_is_that_of_the_folder_best(run: ganloom.Run) -> None:
    best = ganloom.load(run.path / "best", device="cpu")
    assert torch.equal(run.model("best", device="cpu").sample(4), best.sample(4))


def test_the_command_says_which_moment_was_taken(run: ganloom.Run, tmp_path: Path) -> None:
    arguments = ["sample", str(run.path), "--at", "300", "--out", str(tmp_path / "a.png"), "--device", "cpu"]
    output = CliRunner().invoke(app, arguments, catch_exceptions=False).output
    assert "000000000320.safetensors: EMA generator at 320 images (the nearest to 300)" in output
    assert "16 images in" in output


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    run: ganloom.Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = shutil.copytree(run.path, tmp_path / "run")
    (copy / "checkpoints" / "000000000160.safetensors").write_bytes(b"torn")
    shutil.rmtree(copy / "best")
    assert nimg(ganloom.load(copy, at=160, device="cpu")) == 320
    assert "damaged checkpoint skipped" in caplog.text


@pytest.mark.parametrize("at", ["soon", "3 minutes", "", "-5"])
def test_what_is_no_moment_is_refused_with_what_is_one(run: ganloom.Run, at: str) -> None:
    with pytest.raises(ConfigError, match="'best', 'last' or a length such as 20000"):
        run.model(at=at)


def test_a_model_file_has_one_moment(run: ganloom.Run) -> None:
    with pytest.raises(ModelError, match="not a run folder, and only a run has several models"):
        ganloom.load(run.folder.model, at=160)


@pytest.mark.parametrize(
    ("place", "at"),
    [
        ("checkpoints/000000000160.safetensors", "160"),
        ("checkpoints/000000000160.json", "160"),
        ("checkpoints", "IMAGES"),
        ("best/checkpoints", "best"),
    ],
)
@pytest.mark.parametrize("verb", ["sample", "evaluate"])
def test_a_checkpoint_is_no_model_and_the_message_says_how_to_use_it(
    run: ganloom.Run, place: str, at: str, verb: str
) -> None:
    arguments = [verb, str(run.path / place), *(["digits"] if verb == "evaluate" else [])]
    with pytest.raises(GanloomError, match=f"from which a run resumes.*ganloom sample {run.path} --at {at}$"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_a_checkpoint_given_to_python_is_answered_in_python(run: ganloom.Run) -> None:
    with pytest.raises(ModelError, match=rf"ganloom\.load\(\"{run.path}\", at=160\)"):
        ganloom.load(run.path / "checkpoints" / "000000000160.safetensors")
