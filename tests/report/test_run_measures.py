"""What the report of a run says of quality, variety, copies and limits: from what was measured, wherever it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pages import Page
from test_run_report import SCORE, append, begin, complete, log, page, report, written

from ganloom.core.pictures import grid, save_png
from ganloom.core.shapes import ImageShape
from ganloom.data.packed import PackedDataset
from ganloom.metrics.scores import write_scores
from ganloom.models import modelfile
from ganloom.nets import build_generator
from ganloom.report import nearest

__all__ = ["page", "written"]  # fixtures

pytestmark = pytest.mark.slow


def test_generated_images_stand_beside_their_nearest_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: PackedDataset
) -> None:
    """From the images in the cache, without any evaluation. Here the samples are training images: pairs are equal."""
    monkeypatch.setattr(nearest, "cache_folder", lambda: digits.path.parent)
    run = begin(tmp_path / "run", shape=(1, 32, 32), content_hash=digits.content_hash, images=digits.count())
    rows = np.arange(40)
    images = torch.from_numpy(digits.images(rows)).permute(0, 3, 1, 2)
    run.samples.mkdir(exist_ok=True)
    save_png(run.sample(960), grid(images, columns=2))
    seen = report(run)
    assert "each with its nearest training image at its right" in seen.words
    (pairs,) = [
        np.asarray(image.convert("L")) for image in seen.images if image.size == (8 * 34 * 3 + 6, 4 * 34 * 3 + 6)
    ]
    cells = pairs[6:, 6:].reshape(4, 102, 8, 102).transpose(0, 2, 1, 3)[:, :, :96, :96]
    assert (cells[:, ::2] == cells[:, 1::2]).all() and (cells[0, 0] != cells[1, 0]).any()


def test_without_the_training_images_the_report_says_so_and_prepares_nothing(page: Page) -> None:
    assert "not in this machine's cache" in page.words


def test_recall_and_coverage_are_in_the_progress(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    log(run)
    names = ("density", "fd", "precision", "recall", "coverage")
    append(run, 960, **{f"{name}[loomnet-1]@300": value for value, name in enumerate(names, 1)})
    assert report(run).table("epoch")[-1][-3:] == ["2", "4", "5"]  # fd, recall, coverage


def test_the_summary_uses_what_was_measured_during_the_training(tmp_path: Path) -> None:
    run = complete(tmp_path / "run")
    run.scores.unlink()
    words = report(run).words
    assert "fd[loomnet-1]@300 was 30 (lower is better) after 1.0 kimg, and 20.5 at its best, after 0.6 kimg" in words
    assert "has not been measured. " not in words and "fd[loomnet-1]@300, during training" in words
    assert "During the training, recall 0.25" in words


def test_intended_use_and_limits_follow_from_what_was_measured(page: Page, tmp_path: Path) -> None:
    rows = {row[0]: row[1] for row in page.rows if len(row) == 2}
    assert "cat, dog" in rows["made for"] and "320 images" in rows["training images"]
    assert "easily memorised" in rows["training images"] and "not been measured" in rows["copies"]
    run = complete(tmp_path / "run")
    measured = [
        SCORE.model_copy(update={"metric": name, "label": f"{name}@300", "value": value, "low": None, "high": None})
        for name, value in (("memorised", 0.4), ("recall", 0.3))
    ]
    write_scores(run.scores, measured)
    words = report(run).words
    assert "40.0% of the generated images are nearer" in words and "recall 0.3 (shares" in words


def test_a_verdict_and_a_clearly_better_model_stand_below_the_summary(tmp_path: Path) -> None:
    run = complete(tmp_path / "run")
    numbers = {"vendi": 1.6, "vendi_real": 82.6, "precision": 0.9, "recall": 0.0}
    plain = {"low": None, "high": None}
    write_scores(run.scores, [SCORE.model_copy(update={"metric": k, "value": v, **plain}) for k, v in numbers.items()])
    options = {"width": 8}
    G = build_generator("dcgan", ImageShape(1, 8, 8), 8, 0, options)
    for file, training in ((run.model, {"nimg": 960}), (run.best, {"nimg": 640, "best": {"fd[loomnet-1]@300": 20.5}})):
        header = modelfile.Header(
            net="dcgan", latent=8, options=options, shape=(1, 8, 8), labels=False, class_names=[], training=training
        )
        modelfile.write(file, G, header)
    words = report(run).words
    assert "collapsed: the generated images are nearly all alike" in words
    assert f"ganloom sample {run.path} --at best" in words
