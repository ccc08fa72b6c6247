"""Advice is tried: each error is made, its advice is taken, and then it works.

`tests/test_advice_exists.py` checks of all advice that what it names exists.
"""

import csv
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganloom
from conftest import tiny_config
from ganloom.core.errors import ConfigError, DataError, GanloomError, ModelError, RunError
from ganloom.data.packed import PackedDataset
from ganloom.session.preflight import check as check_networks
from stepping import OFF, make

# Settings that do not go together: (settings, what the error says, ways out that it names).
SETTINGS: list[tuple[dict[str, Any], str, list[dict[str, Any]]]] = [
    (
        {"loss": "wasserstein", "penalties": OFF},
        r"penalties\.wgan_gp\.weight=10, or optimizer\.d\.clip_weights=0\.01",
        [{"penalties.wgan_gp.weight": 10}, {"optimizer.d.clip_weights": 0.01}],
    ),
    (
        {"loss": "relativistic", "augment": "ada"},
        r"set augment\.target=null and augment\.p=0\.3",
        [{"augment.target": None, "augment.p": 0.3}],
    ),
    (
        {"net.d": {"labels": "classifier", "norm": "none", "width": 8}, "data.labels": False},
        r"set data\.labels=true, or net\.d\.labels=projection",
        [{"data.labels": True, "penalties.auxiliary_classifier.weight": 1}, {"net.d.labels": "projection"}],
    ),
    (
        {"net.d": {"labels": "classifier", "norm": "none", "width": 8}, "data.labels": True},
        r"set penalties\.auxiliary_classifier\.weight=1, or net\.d\.labels=projection",
        [{"penalties.auxiliary_classifier.weight": 1}, {"net.d.labels": "projection"}],
    ),
    (
        {"penalties.auxiliary_classifier.weight": 1, "data.labels": False},
        r"train with data\.labels=true",
        [{"data.labels": True, "net.d.labels": "classifier"}],
    ),
    (
        {"penalties.auxiliary_classifier.weight": 1, "data.labels": True},
        r"set net\.d\.labels=classifier",
        [{"net.d.labels": "classifier"}],
    ),
    (
        {"net.d": {"norm": "batch", "width": 8}, "penalties": {**OFF, "wgan_gp": {"weight": 10}}},
        r"set net\.d\.norm=none \(or spectral, or layer\)",
        [{"net.d.norm": norm} for norm in ("none", "spectral", "layer")],
    ),
    (
        {"penalties.path_length.weight": 2.0},
        r"leave the penalty out, or set net=stylegan2",
        [{"penalties.path_length.weight": 0}, {"net": "stylegan2", "net.g.width": 8, "net.d.width": 8}],
    ),
    (
        {"growth": {"hold": "1 kimg", "fade": "1 kimg"}},
        r"set net=progressive, or growth=null",
        [{"growth": None}, {"net": "progressive", "net.g.width": 8, "net.d.width": 8}],
    ),
    (
        {"train.recompute": True, "train.compile": True},
        r"set one of them to false",
        [{"train.compile": False}],
    ),
    (
        {"net": "mlp", "net.g": {}, "net.d": {}, "train.batch": 2, "train.micro_batch": 1},
        r"use a micro-batch of 2 or more",
        [{"train.micro_batch": 2}],
    ),
    (
        {"start.model": "elsewhere", "start.freeze_d": 99},
        r"give at most 3",
        [{"start.freeze_d": 3}],
    ),
    (
        {"penalties": {"drift": {"weight": None}}},
        r"give a number",
        [{"penalties.drift.weight": 0.001}],
    ),
]


def shortly(value: object) -> str:
    """The id of a parameter, the same in every process."""
    return str(getattr(value, "__name__", value))[:50]


@pytest.mark.parametrize(("settings", "said", "ways_out"), SETTINGS, ids=shortly)
def test_settings_that_do_not_go_together(
    digits: PackedDataset, settings: dict[str, Any], said: str, ways_out: list[dict[str, Any]]
) -> None:
    config = tiny_config(**{key.replace(".", "__"): value for key, value in settings.items()})
    with pytest.raises(ConfigError, match=said):
        check_networks(make(config, digits))
    for way_out in ways_out:
        check_networks(make(config.with_overrides(way_out), digits))


# Settings that are refused by themselves, or before the images are read.
VALUES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"train.batch": 8, "train.micro_batch": 3}, "choose one of 1, 2, 4, 8", {"train.micro_batch": 4}),
    ({"trian.batch": 8}, "Did you mean 'train'", {"train.batch": 8}),
    ({"optimizer.g.schedule": "cosin"}, "'cosine'", {"optimizer.g.schedule": "cosine"}),
    ({"train.length": "5 fortnights"}, "10 minutes", {"train.length": "10 minutes"}),
    ({"evaluate.metrics": ["fid"]}, "Choose from .*fd", {"evaluate.metrics": ["fd"]}),
    ({"evaluate.best": "fdd"}, "'fd'", {"evaluate.best": "fd"}),
    (
        {"optimizer.g.schedule": {"name": "plateau", "score": True}, "evaluate.every": "0 images"},
        r"set evaluate\.every=null",
        {"evaluate.every": None},
    ),
    ({"data.holdout": 2}, "data.holdout", {"data.holdout": "20%"}),
    ({"net": "dcgn"}, "'dcgan'", {"net": "dcgan"}),
    ({"net.g.wdith": 8}, "'width'", {"net.g.width": 8}),
    ({"augment": "diff"}, "ada, diffaugment", {"augment": "diffaugment"}),
    ({"penalties.r3.weight": 1}, "Known: .* r1,", {"penalties.r1.weight": 1}),
]


@pytest.mark.parametrize(("settings", "said", "way_out"), VALUES, ids=shortly)
def test_values_that_are_refused(settings: dict[str, Any], said: str, way_out: dict[str, Any]) -> None:
    base = {"trackers.tensorboard": False}
    with pytest.raises(ConfigError, match=said):
        ganloom.plan("digits", recipe="digits", device="cpu", settings={**base, **settings})
    kept = {key: value for key, value in settings.items() if key != "trian.batch"}
    kept = {key: value for key, value in kept.items() if not key.startswith(("net.g.wd", "penalties.r3"))}
    ganloom.plan("digits", recipe="digits", device="cpu", settings={**base, **kept, **way_out})


# Images: what lies there, arguments of `prepare`, what the error says, other arguments or what else is to be done.


def pictures(folder: Path, count: int = 40, size: int = 16, key: str = "a") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = np.random.default_rng([index, size, ord(key)]).integers(0, 256, (size, size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{key}{index}.png")


def of_two_sizes(home: Path) -> None:
    pictures(home / "in", 60)
    pictures(home / "in", 60, size=20, key="b")


def with_table(home: Path) -> None:
    pictures(home / "in")
    rows = [("file", "id", "kind"), *((f"a{i}.png", f"p{i}", "xy"[i % 2]) for i in range(40))]
    with open(home / "in" / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)


def without_suffixes(home: Path) -> None:
    pictures(home / "in")
    for path in (home / "in").iterdir():
        path.rename(path.with_suffix(""))


def several_arrays(home: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    (home / "in").mkdir()
    np.savez(home / "in" / "a.npz", first=images, second=images)


def folds(home: Path) -> None:
    for index in range(3):
        for split in ("train", "test"):
            pictures(home / "in" / f"fold{index}" / split, key="abcdef"[2 * index + (split == "test")])


def not_square(home: Path) -> None:
    (home / "in").mkdir()
    np.save(home / "in" / "a.npy", np.random.default_rng(0).normal(size=(8, 16, 16, 3)) * 7000)


def of_objects(home: Path) -> None:
    (home / "in").mkdir()
    np.save(home / "in" / "a.npy", np.array([["x"] * 8] * 8))


def grouped(home: Path) -> None:
    pictures(home / "in")


IMAGES: list[tuple[Callable[[Path], None], dict[str, Any], str, dict[str, Any] | Callable[[Path], None]]] = [
    (of_two_sizes, {}, r"choose one size for all with `size`", {"size": 16}),
    (with_table, {"label_column": "id"}, "these are not classes: choose another column", {"label_column": "kind"}),
    (with_table, {"label_column": "kinds"}, r"^labels\.csv has no column 'kinds'.*'kind'", {"label_column": "kind"}),
    (with_table, {"group_column": "ids"}, r"^labels\.csv has no column 'ids'.*'id'", {"group_column": "id"}),
    (with_table, {"labels": "none", "label_column": "kind"}, "drop one", {"label_column": "kind"}),
    (without_suffixes, {}, "any_suffix=True", {"any_suffix": True}),
    (grouped, {"group_by": r"person(\d+)"}, "matches no name", {"group_by": "[a-z]"}),
    (grouped, {"classes": "cat"}, "has no class 'cat'", {}),
    (grouped, {"splits": "Training=train"}, "there is no folder 'Training'", {"splits": "none"}),
    (grouped, {"class_level": 3}, "the deepest are at level 0", {"class_level": 0}),
    (folds, {}, "splits='none'", {"splits": "none"}),
    (
        several_arrays,
        {},
        r"np\.savez\('images\.npz', images=np\.load\('a\.npz'\)\['first'\]\)",
        lambda home: np.savez(home / "in" / "a.npz", images=np.load(home / "in" / "a.npz")["first"]),
    ),
    (
        not_square,
        {},
        r"\.clip\(0, 255\)\.astype\('uint8'\)",
        lambda home: np.save(home / "in" / "a.npy", np.load(home / "in" / "a.npy").clip(0, 255).astype("uint8")),
    ),
    (grouped, {"size": 100_000}, "give at most", {"size": 16}),
]


@pytest.mark.parametrize(("lay", "given", "said", "remedy"), IMAGES, ids=shortly)
def test_images_that_are_refused(tmp_path: Path, lay: Any, given: dict[str, Any], said: str, remedy: Any) -> None:
    lay(tmp_path)
    with pytest.raises(GanloomError, match=said):
        ganloom.prepare(tmp_path / "in", tmp_path / "out", **given)
    if callable(remedy):
        remedy(tmp_path)
        remedy = {}
    assert ganloom.prepare(tmp_path / "in", tmp_path / "out", **remedy).count() > 0


def test_a_folder_that_exists_names_ways_out(tmp_path: Path) -> None:
    pictures(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="choose another folder, or delete it"):
        ganloom.prepare(tmp_path / "in", tmp_path / "out")
    assert ganloom.prepare(tmp_path / "in", tmp_path / "other").count()
    shutil.rmtree(tmp_path / "out")
    assert ganloom.prepare(tmp_path / "in", tmp_path / "out").count()


def test_a_damaged_dataset_is_deleted_and_prepared_again(tmp_path: Path) -> None:
    pictures(tmp_path / "in")
    packed = ganloom.prepare(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out" / "dataset.json").write_text("{")
    with pytest.raises(DataError, match="delete it and prepare it again"):
        ganloom.open_dataset(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert ganloom.prepare(tmp_path / "in", tmp_path / "out").content_hash == packed.content_hash


def test_an_archive_with_a_path_that_leads_out_is_packed_again(tmp_path: Path) -> None:
    pictures(tmp_path / "in")
    for name, extra in (("bad", "../x.png"), ("good", "")):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as file:
            for path in (tmp_path / "in").iterdir():
                file.write(path, path.name)
            if extra:
                file.write(tmp_path / "in" / "a1.png", extra)
    with pytest.raises(DataError, match="Pack it again without that member"):
        ganloom.prepare(tmp_path / "bad.zip", tmp_path / "out")
    assert ganloom.prepare(tmp_path / "good.zip", tmp_path / "out").count()


# What is done with a run.


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = tiny_config(train__length="32 images").model_dump(mode="json")
    return ganloom.train("digits", out=tmp_path_factory.mktemp("advised") / "run", device="cpu", settings=settings).path


def advised(error: pytest.ExceptionInfo[GanloomError]) -> str:
    """The Python call that an error of Python names."""
    found = re.search(r"ganloom\.\w+\([^()]*\)", str(error.value))
    assert found, error.value
    return found[0]


def call(text: str, **values: Any) -> Any:
    """Do what an error says; its placeholders, such as NEW, have these values."""
    return eval(text, {"ganloom": ganloom, **values})


def test_a_run_that_exists_is_resumed(run: Path) -> None:
    with pytest.raises(RunError, match="resume it") as error:
        ganloom.train("digits", out=run, device="cpu")
    assert call(advised(error)).status.state == "finished"


def test_a_complete_run_is_made_longer(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    with pytest.raises(RunError, match="give a greater length"):
        ganloom.resume(copy, length="8 images", device="cpu")
    assert ganloom.resume(copy, length="64 images", device="cpu").status.nimg == 64


def test_without_a_model_the_run_is_resumed(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="Continue the training") as error:
        ganloom.load(copy, device="cpu")
    call(advised(error))
    ganloom.resume(copy, length="64 images", device="cpu")
    assert ganloom.load(copy, device="cpu").sample(1).shape == (1, 1, 32, 32)


def test_a_checkpoint_given_as_a_model_names_the_call(run: Path) -> None:
    with pytest.raises(ModelError, match="from which a run resumes") as error:
        ganloom.load(next((run / "checkpoints").glob("*.safetensors")))
    assert call(advised(error)).sample(1).shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
    ("given", "said", "instead"),
    [
        ({"class_name": "cat"}, r"Known: 0, 1", {"class_name": "1"}),
        ({"truncation": 0.0}, r"give a number above 0, such as 1", {"truncation": 1.0}),
        ({"n": 0}, r"at least one", {"n": 1}),
    ],
)
def test_arguments_of_sample(run: Path, given: dict[str, Any], said: str, instead: dict[str, Any]) -> None:
    model = ganloom.load(run, device="cpu")
    with pytest.raises(GanloomError, match=said):
        model.sample(**{"n": 1, **given})
    assert len(model.sample(**{"n": 1, **instead})) == 1


def test_no_best_model_is_the_last_one(run: Path) -> None:
    with pytest.raises(ModelError, match="use at='last'"):
        ganloom.load(run, at="best", device="cpu")
    assert ganloom.load(run, at="last", device="cpu")


def test_a_damaged_record_of_the_run_says_how_to_start_a_new_one(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"start a new run: ganloom\.train\(recipe="):
        ganloom.resume(copy, device="cpu")
    assert ganloom.train(recipe=f"{copy}/config.yaml", out=tmp_path / "new", device="cpu").status.state == "finished"


def test_changes_that_are_damaged_are_deleted(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "changes.json").write_text("{")
    with pytest.raises(RunError, match="restore it, or delete it"):
        ganloom.resume(copy, device="cpu")
    (copy / "changes.json").unlink()
    assert ganloom.resume(copy, device="cpu").status.state == "finished"


def test_two_folders_of_different_sizes_are_compared_at_one(tmp_path: Path) -> None:
    of_two_sizes(tmp_path)
    with pytest.raises(DataError, match="size=64"):
        ganloom.evaluate(tmp_path / "in", tmp_path / "in", metrics="ssim", device="cpu")
    assert ganloom.evaluate(tmp_path / "in", tmp_path / "in", metrics="ssim", size=64, device="cpu")


def test_scores_that_are_damaged_are_removed(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "scores.json").write_text(json.dumps({"scores": 3}))
    with pytest.raises(DataError, match="remove it and evaluate again"):
        ganloom.open_run(copy).scores()
    (copy / "scores.json").unlink()
    assert len(ganloom.open_run(copy).scores()) == 0
