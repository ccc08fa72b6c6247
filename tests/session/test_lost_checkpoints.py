"""A run that has lost its checkpoints is not started again over what it has learned; changed settings are named."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import ganloom
from comparison import assert_same_run
from conftest import tiny_config
from ganloom.core.errors import RunError
from ganloom.runs import Change, RunFolder
from ganloom.session.resumable import check_before

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """640 images, a checkpoint every 150, a best model of 320."""
    settings = tiny_config(
        train__length="640 images", evaluate__every="300 images", evaluate__n=100, evaluate__metrics=["fd"]
    ).model_dump(mode="json")
    return ganloom.train("digits", out=tmp_path_factory.mktemp("lost") / "run", device="cpu", settings=settings).path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def content(run: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def all_of_them(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")


def the_files_alone(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        path.unlink()


def the_manifests(run: Path) -> None:
    for path in (run / "checkpoints").glob("*.json"):
        path.unlink()


def the_tensors(run: Path) -> None:
    for path in (run / "checkpoints").glob("*.safetensors"):
        path.unlink()


def without_best(lose: Callable[[Path], None]) -> Callable[[Path], None]:
    def lost(run: Path) -> None:
        lose(run)
        shutil.rmtree(run / "best")

    lost.__name__ = f"{lose.__name__}, best"
    return lost


def and_the_log(run: Path) -> None:
    without_best(all_of_them)(run)
    (run / "log.jsonl").unlink()
    (run / "status.json").unlink()
    shutil.rmtree(run / "samples")


@pytest.mark.parametrize(
    "lose", [*map(without_best, (all_of_them, the_files_alone, the_manifests, the_tensors)), and_the_log],
    ids=lambda lose: lose.__name__,
)  # fmt: skip
def test_a_run_without_its_checkpoints_is_refused_and_not_touched(run: Path, lose: Callable[[Path], None]) -> None:
    lose(run)
    before = content(run)
    remedy = rf'was trained with 640 images.*ganloom\.train\("digits", start="{re.escape(str(run))}/model.safetensors"'
    with pytest.raises(RunError, match=remedy):
        ganloom.resume(run, device="cpu")
    with pytest.raises(RunError, match="was trained with 640 images"):
        ganloom.resume(run, length="960 images", device="cpu")
    assert content(run) == before


def test_the_remedy_works(run: Path, tmp_path: Path) -> None:
    without_best(all_of_them)(run)
    settings = {
        "train.length": "32 images",
        "evaluate.every": "0 images",
        "guard.every": "0 images",
        "trackers.tensorboard": False,
    }
    more = ganloom.train(
        "digits", start=run / "model.safetensors", out=tmp_path / "new", device="cpu", settings=settings
    )
    assert more.status.state == "finished"


def test_the_checkpoint_of_the_best_score_is_offered_and_resumes(run: Path) -> None:
    all_of_them(run)
    with pytest.raises(RunError, match=r"copy .*best/checkpoints/\* to .*: then it resumes from the best score"):
        ganloom.resume(run, device="cpu")
    shutil.copytree(run / "best" / "checkpoints", run / "checkpoints")
    assert ganloom.resume(run, device="cpu").status.nimg == 640


def test_without_a_model_the_log_shows_what_was_trained(run: Path) -> None:
    without_best(all_of_them)(run)
    (run / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"ganloom\.train\(recipe=.*config\.yaml"):
        ganloom.resume(run, device="cpu")


@pytest.mark.parametrize("lost", ["samples", "log.jsonl", "model.safetensors", "status.json", "best"])
def test_a_run_without_anything_else_resumes(run: Path, trained: Path, lost: str) -> None:
    (shutil.rmtree if (run / lost).is_dir() else Path.unlink)(run / lost)
    ganloom.resume(run, length="672 images", device="cpu")
    assert ganloom.load(run, device="cpu").header.training["nimg"] == 672
    assert (run / "samples" / "reals.png").exists()


def test_a_rollback_to_the_start_starts_again(run: Path) -> None:
    """It leaves no checkpoints behind, and the model of the training that was rejected."""
    without_best(the_files_alone)(run)
    folder, facts = RunFolder(run), RunFolder(run).facts
    change = Change(reason="collapse", text="", nimg=640, to=0, seconds=1.0, before={}, after={})
    folder.save_changes([change])
    check_before(folder, folder.config, facts)
    rows = [{"nimg": 0, "event": "rollback", "text": ""}, {"nimg": 640, "loss_d": 1.0}]  # and then came this far again
    folder.log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RunError, match="was trained with 640 images"):
        check_before(folder, folder.config, facts)


def test_a_best_model_from_before_the_first_checkpoint_is_no_reason_to_refuse(tmp_path: Path) -> None:
    """A kill before the first checkpoint, where evaluations are more frequent than checkpoints: it starts again."""
    settings = tiny_config(
        train__length="640 images",
        evaluate__every="64 images",
        evaluate__n=100,
        evaluate__metrics=["fd"],
        checkpoint__every="500 images",
    ).model_dump(mode="json")

    def killed(event: ganloom.TrainingEvent) -> None:
        if event.kind == "step" and event.nimg == 320:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ganloom.train("digits", out=tmp_path / "run", device="cpu", settings=settings, callback=killed)
    assert list((tmp_path / "run" / "best" / "checkpoints").iterdir())
    ganloom.resume(tmp_path / "run", device="cpu")
    whole = ganloom.train("digits", out=tmp_path / "whole", device="cpu", settings=settings)
    assert_same_run(tmp_path / "run", whole.path)
    assert content_of_best(tmp_path / "run") == content_of_best(whole.path)


def content_of_best(run: Path) -> tuple[list[str], bytes]:
    return [path.name for path in sorted(run.glob("best/checkpoints/*"))], (run / "best/model.safetensors").read_bytes()


@pytest.mark.parametrize("name", [".x.tmp", ".config.yaml.7.tmp"])
def test_a_folder_of_the_users_in_a_run_is_not_touched(run: Path, name: str) -> None:
    (run / name).mkdir()
    (run / ".notes.tmp").write_text("mine")
    ganloom.resume(run, length="672 images", device="cpu")
    assert (run / name).is_dir() and (run / ".notes.tmp").read_text() == "mine"


# settings that were changed in config.yaml


def change(run: Path, section: str, **values: object) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config[section] |= values
    (run / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size": [16, 16]}, "data.size was 32x32 and is 16x16"),
        ({"channels": 3}, "data.channels was 1 and is 3"),
        ({"holdout": 0.5}, "data.holdout was 0.05 and is 0.5"),
        ({"classes": ["1", "2"]}, "data.classes was null and is 1, 2"),
        ({"drop_duplicates": True, "holdout": 0.2}, "data.holdout was 0.05 and is 0.2, data.drop_duplicates was false"),
    ],
)
def test_a_changed_setting_of_the_images_is_named(run: Path, values: dict[str, object], said: str) -> None:
    change(run, "data", **values)
    with pytest.raises(RunError, match=said):
        ganloom.resume(run, device="cpu")


def test_a_run_of_an_older_version_names_the_size_too(run: Path) -> None:
    """Its run.json does not say with what settings it started."""
    facts = json.loads((run / "run.json").read_text())
    del facts["config"]
    (run / "run.json").write_text(json.dumps(facts))
    change(run, "data", size=[16, 16])
    with pytest.raises(RunError, match=r"data\.size was 32x32 and is 16x16"):
        ganloom.resume(run, device="cpu")


def test_a_changed_network_is_named_with_both_values(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["net"]["latent"] = 50
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(RunError, match=r"does not match config\.yaml.*net\.latent was \d+ and is 50\. Set them back"):
        ganloom.resume(run, device="cpu")


def test_a_setting_that_may_change_changes(run: Path) -> None:
    change(run, "log", every="32 images")
    ganloom.resume(run, length="704 images", device="cpu")
    assert [row["nimg"] for row in map(json.loads, (run / "log.jsonl").read_text().splitlines())][-1] == 704
