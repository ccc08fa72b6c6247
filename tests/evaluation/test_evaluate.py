"""ganloom evaluate: options, the provenance that is stored with every score, and what is refused."""

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

import ganloom
from conftest import tiny_config
from ganloom import metrics
from ganloom.core.errors import ConfigError, DataError, GanloomError, ModelError, RunError, StorageError
from ganloom.core.files import sha256
from ganloom.data.sources.digits import DigitsSource
from ganloom.evaluation import measuring, storage
from ganloom.evaluation.inputs import renumbered
from ganloom.metrics.scores import Scores, read_scores, write_scores
from ganloom.models import modelfile

pytestmark = pytest.mark.slow

QUICK = "fd,kid"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = tiny_config(train__length="320 images").model_dump(mode="json")
    return ganloom.train(out=tmp_path_factory.mktemp("evaluated") / "run", device="cpu", settings=settings).path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Handwritten digits as PNGs in one folder per class: two halves, and one that is only sevens."""
    root = tmp_path_factory.mktemp("digits")
    folders = {name: root / name for name in ("first", "second", "sevens")}
    for index, item in enumerate(DigitsSource().items()):
        names = ["first" if index % 2 else "second"] + (["sevens"] if item.label == 7 else [])
        for name in names:
            folder = folders[name] / str(item.label if name != "sevens" else "7")
            folder.mkdir(parents=True, exist_ok=True)
            item.open().save(folder / f"{index}.png")
    return folders


def test_a_run_is_measured_by_the_default_metrics_and_stores_its_scores(run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("scores*")))
    scores = ganloom.evaluate(run, n=300)
    assert {score.metric for score in scores} >= {"fd", "kid", "precision", "vendi", "ndb", "ms_ssim", "memorised"}
    assert isinstance(scores, Scores) and read_scores(run / "scores.json") == scores
    assert (run / "scores" / "memorisation.png").exists()


def test_every_number_says_what_it_is(run: Path) -> None:
    (score,) = ganloom.evaluate(run, metrics="fd", n=200, n_real=300, seed=3)
    encoder = sha256((Path(metrics.__file__).parent / "extractors" / "loomnet-1.safetensors").read_bytes())
    assert (score.label, score.metric, score.extractor) == ("fd[loomnet-1]@200", "fd", "loomnet-1")
    assert (score.weights, score.resize, score.split) == (encoder, "antialias-32", "train")
    assert (score.n_real, score.n_generated, score.seed, score.nimg) == (300, 200, 3, 320)
    assert score.model == sha256((run / "model.safetensors").read_bytes())
    assert score.content_hash == ganloom.load(run).header.training["content_hash"]
    assert (score.ganloom, score.torch) == (ganloom.__version__, torch.__version__)
    assert score.low is not None and score.high is not None and score.low < score.value < score.high


def test_the_same_command_gives_the_same_numbers_and_another_seed_others(run: Path) -> None:
    first, again, other = (ganloom.evaluate(run, metrics=QUICK, n=200, seed=seed).to_dict() for seed in (0, 0, 1))
    assert first == again
    assert first.keys() == other.keys() and all(first[key] != other[key] for key in first)


def test_a_model_file_against_images_writes_a_report(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report.json"
    scores = ganloom.evaluate(run / "model.safetensors", "digits", metrics="fd,memorisation", n=200, out=out)
    stored = json.loads(out.read_text())
    assert [entry["label"] for entry in stored["scores"]] == [score.label for score in scores]
    assert (tmp_path / "deep" / "report-memorisation.png").exists()
    assert not (run / "report.json").exists()


def test_two_folders_of_images_are_compared(folders: dict[str, Path]) -> None:
    """Two halves of one set are near; one class of ten is far."""
    near = ganloom.evaluate(folders["first"], folders["second"], metrics="fd,prdc", n=150)
    far = ganloom.evaluate(folders["sevens"], folders["second"], metrics="fd,prdc", n=150)
    assert near["fd"] < 0.3 * far["fd"]
    assert near["recall[loomnet-1]@150"] > 2 * far["recall[loomnet-1]@150"]


def test_each_class_is_measured_by_itself(folders: dict[str, Path]) -> None:
    scores = ganloom.evaluate(folders["first"], folders["second"], metrics="fd", per_class=True)
    classes = {score.class_name: score for score in scores if score.class_name is not None}
    assert set(classes) == set("0123456789")
    assert all(
        70 <= score.n_real <= 110 and score.label.endswith(f"@{score.n_generated}") for score in classes.values()
    )


def test_labels_of_a_conditional_model_are_as_frequent_as_the_real_ones(run: Path) -> None:
    scores = ganloom.evaluate(run, metrics="fd", per_class=True, n=1000)
    counts = [score.n_generated for score in scores if score.class_name is not None]
    assert len(counts) == 10 and sum(counts) == 1000 and min(counts) != max(counts)


# What is refused


def broken(path: Path, header: modelfile.Header, value: float) -> Path:
    """A model whose weights are all one value."""
    G = header.build()
    for weight in G.parameters():
        torch.nn.init.constant_(weight, value)
    modelfile.write(path, G, header)
    return path


def test_a_generator_that_has_diverged_is_refused(run: Path, tmp_path: Path) -> None:
    header = modelfile.read_header(run / "model.safetensors")
    model = broken(tmp_path / "nan.safetensors", header, float("nan"))
    with pytest.raises(ModelError, match="diverged"):
        ganloom.evaluate(model, "digits", metrics=QUICK, n=100, out=tmp_path / "report.json")
    assert not (tmp_path / "report.json").exists()


def test_generated_images_of_several_sizes_are_brought_to_that_of_the_real_ones(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    for index in range(60):
        side = 16 if index % 3 else 8
        Image.fromarray(np.full((side, side), index, np.uint8)).save(tmp_path / f"{index}.png")
    (score,) = ganloom.evaluate(tmp_path, folders["first"], metrics="fd")
    assert score.converted == f"several sizes, compared as {score.shape}"


CASES: dict[str, tuple[dict[str, Any], type[GanloomError], str]] = {
    "too few images": (
        {"metrics": "fd", "n": 10},
        DataError,
        "fd .*at least 50 generated images, and there are 10",
    ),
    "unknown metric": ({"metrics": "fidd"}, ConfigError, "unknown metric 'fidd'. Did you mean 'fid'?"),
    "unknown extractor": ({"extractor": "loomnet"}, ConfigError, "loomnet-1"),
    "fid of another network": (
        {"metrics": "fid", "extractor": "loomnet-1"},
        ConfigError,
        "is defined by the inception network",
    ),
    "is of another network": (
        {"metrics": "is", "extractor": "loomnet-1"},
        ConfigError,
        "is defined by the inception network",
    ),
    "no such split": ({"metrics": "fd", "split": "test"}, DataError, "no images in 'test'"),
    "lpips without weights": ({"metrics": "lpips", "n": 100}, DataError, "`lpips_weights`"),
    "weights for loomnet": ({"metrics": "fd", "weights": "nowhere.pth"}, GanloomError, "loomnet"),
}


@pytest.mark.parametrize(("options", "kind", "said"), CASES.values(), ids=CASES)
def test_what_cannot_be_measured_is_refused(
    run: Path, options: dict[str, Any], kind: type[GanloomError], said: str
) -> None:
    before = read_scores(run / "scores.json")
    with pytest.raises(kind, match=said):
        ganloom.evaluate(run, **options)
    assert read_scores(run / "scores.json") == before


def test_a_folder_without_real_images_to_compare_with_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="name the real images to compare with"):
        ganloom.evaluate(folders["first"])


def test_more_than_the_folder_holds_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="n=5000 is more than"):
        ganloom.evaluate(folders["first"], folders["second"], n=5000)


def test_images_that_changed_since_the_training_are_refused(
    run: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("source: digits", f"source: {folders['first']}"))
    with pytest.raises(RunError, match="have changed since"):
        ganloom.evaluate(copy)


def test_memorisation_is_not_measured_against_images_that_were_not_trained_on(
    run: Path, folders: dict[str, Path]
) -> None:
    with pytest.raises(DataError, match="memorisation cannot be measured here"):
        ganloom.evaluate(run, folders["first"], metrics="memorisation", n=100)


def test_a_damaged_scores_file_is_not_overwritten_in_silence(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "scores.json").write_text("{}")
    with pytest.raises(DataError, match="remove it"):
        ganloom.evaluate(copy, metrics="fd", n=100)


def test_classes_are_matched_by_name(folders: dict[str, Path], tmp_path: Path) -> None:
    """Class 1 of a folder with 1 and 7 is class 7 of one with all ten."""
    for name in ("1", "7"):
        shutil.copytree(folders["first"] / name, tmp_path / name)
    part, whole = (
        {score.class_name: score.value for score in scores if score.class_name is not None}
        for scores in (
            ganloom.evaluate(folder, folders["second"], metrics="fd", n_real=850, per_class=True)
            for folder in (tmp_path, folders["first"])
        )
    )
    assert set(part) == {"1", "7"}
    assert all(part[name] < 2 * whole[name] for name in part)


def test_labels_are_renumbered_by_name() -> None:
    labels = np.array([0, 1, 1, -1])
    assert renumbered(labels, ["cat", "dog"], ["bird", "cat", "dog"]).tolist() == [1, 2, 2, -1]  # type: ignore[union-attr]
    assert renumbered(labels, ["cat", "dog"], ["dog"]).tolist() == [-1, 0, 0, -1]  # type: ignore[union-attr]
    assert renumbered(labels, ["cat", "dog"], ["fish"]) is None
    assert renumbered(None, ["cat"], ["dog"]) is None


def test_if_no_default_metric_is_possible_it_is_an_error_and_no_file_is_written(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="fd cannot be measured here: it needs at least 50 generated images"):
        ganloom.evaluate(folders["sevens"], folders["second"], n=20, out=tmp_path / "scores.json")
    assert not (tmp_path / "scores.json").exists()


def test_one_metric_that_is_impossible_is_refused_before_the_others_are_measured(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    with pytest.raises(DataError, match="lpips"):
        ganloom.evaluate(run, metrics="fd,kid,lpips", n=100)
    assert caplog.messages and "fd[" not in caplog.text


def test_a_default_metric_that_fails_does_not_stop_the_others(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ganloom")

    def fail(*given: object) -> None:
        raise DataError("all copies.")

    monkeypatch.setattr("ganloom.metrics.vendi.measure", fail)
    assert "fd" in {score.metric for score in ganloom.evaluate(run, n=150)}
    assert "left out  vendi: all copies." in caplog.messages
    with pytest.raises(DataError, match="all copies"):
        ganloom.evaluate(run, metrics="fd,vendi", n=150)


def test_scores_that_another_evaluation_wrote_meanwhile_are_kept(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kid = ganloom.evaluate(run, metrics="kid", n=150)
    measure = measuring.metrics.find("fd").measure

    def meanwhile(comparison: Any) -> Any:
        write_scores(run / "scores.json", kid)
        return measure(comparison)

    write_scores(run / "scores.json", [])
    monkeypatch.setattr(measuring.metrics.find("fd"), "measure", meanwhile)
    fd = ganloom.evaluate(run, metrics="fd", n=150)
    assert read_scores(run / "scores.json") == [*kid, *fd]


def test_held_out_images_without_labels_classify_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(folders["first"], home / "train")
    shutil.copytree(folders["second"] / "7", home / "test")
    settings = tiny_config(train__length="64 images", data__labels=True).model_dump(mode="json")
    settings["data"] |= {"source": str(home), "size": 32}
    made = ganloom.train(str(home), out=tmp_path / "run", device="cpu", settings={"data": settings["data"], **settings})
    with pytest.raises(DataError, match="cannot be measured here: it needs real images that the model was not"):
        ganloom.evaluate(made.path, metrics="classification", n=150)


def test_a_run_is_compared_with_other_images_at_its_own_size(run: Path, tmp_path: Path) -> None:
    """Grey digits of 32 pixels, with classes; colour of another size, without. Colour counts against the digits."""
    for number in range(120):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    (score,) = ganloom.evaluate(run, tmp_path / "photos", metrics="fd", n=100)
    assert score.shape == "32x32 RGB" and score.converted == "32x32 grey, compared as 32x32 RGB"


def test_what_the_run_asked_of_its_own_images_is_not_asked_of_others(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("classes: null", "classes: ['1', '2']"))
    assert "classes: ['1', '2']" in (copy / "config.yaml").read_text()
    assert ganloom.evaluate(copy, "shapes:32x32", metrics="fd", n=100)


def test_scores_of_a_run_that_cannot_be_written_go_where_out_says(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ganloom")

    def write(path: Path, scores: Any) -> None:
        if path == run / "scores.json":
            raise StorageError(f"cannot write {path}.")
        write_scores(path, scores)

    monkeypatch.setattr(storage, "write_scores", write)
    scores = ganloom.evaluate(run, metrics="fd", n=100, out=tmp_path / "mine.json")
    assert read_scores(tmp_path / "mine.json") == scores
    assert "note: not stored in the run: cannot write" in caplog.text
    with pytest.raises(StorageError):
        ganloom.evaluate(run, metrics="fd", n=100)


@pytest.mark.parametrize(
    ("val", "test", "expected"),
    [(120, 300, "val"), (16, 120, "test"), (16, 10, "val"), (0, 7, "test"), (9, 0, "val"), (0, 0, None)],
)
def test_val_counts_where_it_is_enough_and_else_the_larger_split(
    val: int, test: int, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Kaggle's chest X-rays `val` has 16 images and `test` 624."""
    monkeypatch.setattr(measuring, "whole_split", lambda reals, split: split)
    reals = SimpleNamespace(count={"val": val, "test": test}.__getitem__)
    assert measuring._held_out(cast("Any", SimpleNamespace(knows_training=True, reals=reals))) == expected


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(run: Path, seed: int) -> None:
    with pytest.raises(ConfigError, match="seed must be between 0 and 4,294,967,295"):
        ganloom.evaluate(run, metrics="fd", n=100, seed=seed)


def test_a_place_that_cannot_be_written_is_refused_first(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file" / "scores.json"):
        with pytest.raises(StorageError, match="`out`"):
            ganloom.evaluate(run, metrics="fd", n=100, out=out)


def test_an_extractor_with_constant_features_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "blind.py").write_text("def make():\n    return lambda images: images[:, :, 0, 0] * 0\n")
    with pytest.raises(DataError, match="gives all real images the same features"):
        ganloom.evaluate(folders["first"], folders["second"], metrics="fd", extractor=f"{tmp_path}/blind.py:make")


def test_the_same_metric_under_two_names_is_measured_once(run: Path) -> None:
    assert measuring._metric_names("fd, fid,kid,fd") == ["fd", "kid"]


def test_more_real_images_than_there_are_are_refused(run: Path) -> None:
    with pytest.raises(DataError, match="n_real=5000 is more than the 1,720"):
        ganloom.evaluate(run, metrics="fd", n_real=5000)


def test_the_best_model_of_a_run_is_measured_on_the_runs_images(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "best").mkdir()
    shutil.copy(copy / "model.safetensors", copy / "best" / "model.safetensors")
    of_best = ganloom.evaluate(copy / "best", metrics="fd", n=100, out=tmp_path / "best.json")
    assert of_best["fd"] == ganloom.evaluate(run, metrics="fd", n=100)["fd"]
    assert not (copy / "best" / "scores.json").exists()
