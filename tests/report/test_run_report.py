"""The report of a run: it shows all that the run folder holds, and says what is missing."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import Page
from PIL import Image
from typer.testing import CliRunner

from conftest import tiny_config
from ganloom import cli
from ganloom.core.errors import RunError, StorageError
from ganloom.core.pictures import grid, save_png
from ganloom.core.shapes import ImageShape
from ganloom.metrics.scores import Score, write_scores
from ganloom.models import modelfile
from ganloom.nets import build_generator
from ganloom.report.run import write_report
from ganloom.runs import Facts, RunFolder, create_folder
from ganloom.tracking.jsonl import Jsonl

pytestmark = pytest.mark.slow

FACTS = Facts(
    id="0123456789ab", created="2026-01-02T03:04:05+00:00", dataset="cells", content_hash="c" * 64, images=320,
    shape=(1, 8, 8), class_names=["cat", "dog"], recipe="digits", ganloom="0.1.0", torch="2.11.0",
    device="cpu (2 threads)", threads=2, images_per_minute=None,
)  # fmt: skip
SCORE = Score(
    metric="fd", label="fd[loomnet-1]@300", value=12.345, low=11.5, high=13.25, class_name=None, extractor="loomnet-1",
    weights="a" * 64, resize="bilinear-32", shape="8x8 grey", n_real=320, n_generated=300, split="train", held_out=None,
    seed=7, model="b" * 64, nimg=960, generated="a run", dataset="cells", content_hash="c" * 64, ganloom="0.1.0",
    torch="2.11.0", device="cpu", created="2026-01-02T04:00:00+00:00",
)  # fmt: skip
OTHER = {"content_hash": "d" * 64}
REAL, MADE, NEAR = 200, 90, 30  # greys, to tell the pictures apart


def begin(path: Path, **changes: Any) -> RunFolder:
    """A run of 960 images that has only just begun."""
    run = create_folder(path, tiny_config(data__labels=True), FACTS.model_copy(update=changes))
    run.best.parent.mkdir()
    return run


def log(run: RunFolder, steps: int = 60, **columns: Callable[[int], float]) -> None:
    """A row every 16 images."""
    usual: dict[str, Callable[[int], float]] = {
        "epoch": lambda nimg: nimg / 320, "loss_d": lambda nimg: 1.0, "loss_g": lambda nimg: 2.0,
        "d_real": lambda nimg: 0.75, "d_fake_before": lambda nimg: 0.25, "d_fake_after": lambda nimg: 0.375,
        "lr_g": lambda nimg: 2e-4, "lr_d": lambda nimg: 1e-4, "seconds": lambda nimg: nimg / 10,
        "images_per_second": lambda nimg: 10.0,
    }  # fmt: skip
    tracker = Jsonl(run.log, 0)
    for nimg in range(16, 16 * steps + 1, 16):
        tracker.scalars(nimg, {name: value(nimg) for name, value in (usual | columns).items()})
    tracker.close()


def append(run: RunFolder, nimg: int, **values: float | str | None) -> None:
    with open(run.log, "a") as file:
        file.write(json.dumps({"nimg": nimg, **values}) + "\n")


def sheet(path: Path, grey: int) -> None:
    path.parent.mkdir(exist_ok=True)
    save_png(path, grid(torch.full((20, 1, 8, 8), grey, dtype=torch.uint8), columns=2))


def complete(path: Path) -> RunFolder:
    """A run with all there can be."""
    run = begin(path)
    log(run)
    for nimg, fd in ((320, 40.0), (640, 20.5), (960, 30.0)):
        append(run, nimg, **{"fd[loomnet-1]@300": fd, "recall[loomnet-1]@300": 0.25})
        sheet(run.sample(nimg), MADE)
    sheet(run.samples / "reals.png", REAL)
    sheet(run.picture("memorisation"), NEAR)
    classes = [SCORE.model_copy(update={"class_name": name, "value": 50.0, "n_real": 160}) for name in ("cat", "dog")]
    alone = {"metric": "ssim", "label": "ssim@300", "extractor": None, "weights": None, "resize": None, "value": 0.125}
    write_scores(run.scores, [SCORE, SCORE.model_copy(update=alone), *classes])
    return run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return write_report(complete(folder / "run").path, folder / "deep" / "report.html")


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page.read(written)


def report(run: RunFolder) -> Page:
    return Page.read(write_report(run.path, run.path / "report.html"))


def test_the_summary_says_what_on_what_how_long_and_how_good(page: Page) -> None:
    for part in (
        "320 training images, 2 classes, grey, 8x8 pixels)", "dcgan", "bce", "with class labels", "960 images",
        "3.0 epochs", "1 min 36 s", "The run is complete.", "Fréchet distance fd[loomnet-1]@300 is 12.35",
        "95 % interval 11.5 to 13.25", "lower is better",
    ):  # fmt: skip
        assert part in page.words, part


def test_the_page_loads_nothing_from_elsewhere(page: Page, written: Path) -> None:
    assert page.sources and all(source.startswith("data:image/") for source in page.sources)
    text = written.read_text(encoding="utf-8")
    for source in page.sources:
        text = text.replace(source, "")
    assert not re.search(r"https?://|url\(|@import|<script|<link", text)


def test_real_and_generated_images_are_side_by_side(page: Page) -> None:
    real, made = (np.asarray(image.convert("L")) for image in page.images[:2])
    assert (real == REAL).mean() > 0.5 and (made == MADE).mean() > 0.5
    assert real.shape == made.shape and made.shape[0] < 1.5 * made.shape[1]
    assert "One class per column: cat, dog." in page.words


def test_progress_has_one_row_per_grid_with_means_and_the_newest_scores(page: Page) -> None:
    rows = page.table("epoch")
    assert [row[:2] for row in rows] == [["1.0", "0.3"], ["2.0", "0.6"], ["3.0", "1.0"]]
    assert rows[1][3:7] == ["1.000", "2.000", "0.750", "0.250"]
    assert [row[7] for row in rows] == ["40", "20.5", "30"]


def test_means_of_the_progress_are_those_since_the_row_above(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    log(run, loss_d=lambda nimg: 1.0 if nimg <= 480 else 3.0)
    for nimg in (480, 960):
        sheet(run.sample(nimg), MADE)
    assert [row[3] for row in report(run).table("epoch")] == ["1.000", "3.000"]


def test_many_grids_are_thinned_evenly(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    for nimg in range(10, 961, 10):
        sheet(run.sample(nimg), MADE)
    epochs = [float(row[0]) for row in report(run).table("epoch")]
    assert len(epochs) == 8 and epochs[-1] == 3.0
    assert max(np.diff(epochs)) < 1.4 * min(np.diff(epochs))


def test_plots_are_in_the_page_and_beside_it_as_png(page: Page, written: Path) -> None:
    beside = {path.name: path for path in written.parent.glob("*.png")}
    assert set(beside) == {f"report-{name}.png" for name in ("losses", "judgement", "rates", "scores")}
    for path in beside.values():
        with Image.open(path) as plot:
            assert plot.width > 1000 and not plot.info.keys() & {"Software", "Creation Time", "date"}
            assert any(shown.size == plot.size and shown.tobytes() == plot.tobytes() for shown in page.images)


def test_scores_have_meaning_interval_and_provenance(page: Page) -> None:
    first, second = page.table("score")
    assert first[:4] == ["fd[loomnet-1]@300", "12.35", "11.5 to 13.25", "lower"] and "Fréchet" not in first[4]
    assert second[:4] == ["ssim@300", "0.125", "11.5 to 13.25", "–"]
    titles = {given.get("title") for _, given in page.tags}
    assert {"a" * 64, "b" * 64, "c" * 64} <= titles
    facts = {(row[0], row[1]) for row in page.rows if len(row) == 2}
    expected = {"split": "train", "seed": "7", "generated images": "300", "real images of": "cells", "device": "cpu"}
    assert expected.items() <= facts


def test_scores_of_equal_provenance_share_a_row(page: Page) -> None:
    rows = [row for row in page.rows if row and "of cat, dog" in row[0]]
    assert len(rows) == 1 and "160" in rows[0]
    assert [row[:3] for row in page.table("class")] == [[name, "fd[loomnet-1]@300", "50"] for name in ("cat", "dog")]


def test_the_nearest_neighbours_are_shown(page: Page) -> None:
    assert any((np.asarray(image.convert("L")) == NEAR).mean() > 0.5 for image in page.images)


def test_cost_machine_and_configuration_are_shown(page: Page) -> None:
    for part in ("960 (3.00 epochs of 320)", "10.0 images/s", "cpu (2 threads)", "2.11.0", "0123456789ab", "c" * 64):
        assert part in page.words, part
    assert tiny_config(data__labels=True).yaml() in page.words


def test_the_same_run_makes_the_same_bytes(written: Path, tmp_path: Path) -> None:
    again = write_report(written.parent.parent / "run", tmp_path / "report.html")
    for path in written.parent.iterdir():
        assert (again.parent / path.name).read_bytes() == path.read_bytes(), path.name


# What a run may lack.


def test_the_report_of_a_run_that_has_only_begun_says_what_is_missing(tmp_path: Path) -> None:
    words = report(begin(tmp_path / "run", class_names=[])).words
    for part in (
        "has not been measured", "no picture of the real images", "no samples yet",
        "Nothing has been logged", "Nothing has been measured yet", "no samples to look for",
        "not complete", "not logged",
    ):  # fmt: skip
        assert part in words, part
    assert not list(tmp_path.glob("**/*.png"))


def test_a_run_killed_before_its_first_grid_still_has_its_progress(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    log(run, steps=5)
    seen = report(run)
    assert [row[2] for row in seen.table("epoch")] == ["1.000"] * 5
    assert "this is 8% of its 960 images" in seen.words


def test_a_log_cut_off_by_a_kill_is_read_up_to_there_with_a_warning(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    log(run)
    run.log.write_bytes(run.log.read_bytes()[:-30])
    seen = report(run)
    assert "its last line is left out" in seen.words and "944 images" in seen.words


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\n",
        b"[1]\n",
        b'{"nimg": "x"}\n',
        b'{"nimg": 16, "loss_d": "x"}\n',
        b'{"nimg": 16, "loss_d": NaN}\n',
    ],
)
def test_an_unreadable_log_does_not_crash(tmp_path: Path, content: bytes) -> None:
    run = begin(tmp_path / "run")
    run.log.write_bytes(content)
    assert "nothing to plot" in report(run).words


def test_columns_that_a_log_does_not_have_are_left_out(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    append(run, 16, loss_d=0.5)
    seen = report(run)
    assert seen.table("epoch")[0][2:] == ["0.500", "–", "–", "–"]
    assert [path.name for path in run.path.glob("*.png")] == ["report-losses.png"]


def test_losses_that_are_not_finite_are_reported_and_the_rest_is_drawn(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    log(run, loss_d=lambda nimg: 1.0 if nimg < 500 else float("nan"), loss_g=lambda nimg: float("inf"))
    words = report(run).words
    assert "Loss_D was not a finite number (NaN or infinite) 29 times, first after 0.5 kimg" in words
    assert "Loss_G was not a finite number (NaN or infinite) 60 times, first after 0.0 kimg" in words


def test_events_of_the_guard_are_on_the_page(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    log(run)
    append(run, 960, event="collapse", text="mode collapse: the same few images")
    assert "After 1.0 kimg: mode collapse: the same few images" in report(run).words


def test_damaged_files_are_reported(tmp_path: Path) -> None:
    run = complete(tmp_path / "run")
    for path in (run.scores, run.best, run.samples / "reals.png", run.sample(640), run.picture("memorisation")):
        path.write_bytes(b"{")
    words = report(run).words
    for part in (
        "scores.json holds no scores",
        "best/model.safetensors",
        "no picture of the real",
        "cannot be read",
    ):
        assert part in words, part


def test_scores_of_an_earlier_model_or_other_images_are_pointed_out(tmp_path: Path) -> None:
    run = complete(tmp_path / "run")
    assert "listed below" not in report(run).words
    write_scores(run.scores, [SCORE.model_copy(update={"nimg": 640}), SCORE.model_copy(update={"content_hash": "d"})])
    words = report(run).words
    assert "Quality, after 0.6 kimg: " in words
    assert "of the model after 0.6 kimg" in words and "other images than this run was trained on" in words


def test_the_summary_prefers_a_score_of_this_model_and_these_images(tmp_path: Path) -> None:
    run = complete(tmp_path / "run")
    later = {"created": "2026-02-01T00:00:00+00:00", "value": 99.0}
    write_scores(run.scores, [SCORE, *(SCORE.model_copy(update=later | other) for other in ({"nimg": 1}, OTHER))])
    assert "Quality: the Fréchet distance fd[loomnet-1]@300 is 12.35" in report(run).words
    write_scores(run.scores, [SCORE.model_copy(update=OTHER)])
    assert "Quality, against other images: " in report(run).words


def test_a_timed_run_is_complete_by_the_time_of_its_last_checkpoint(tmp_path: Path) -> None:
    """When a timed training ends after a step, that step may have no row in the log."""
    run = complete(tmp_path / "run")
    run.save_config(run.config.with_overrides({"train.length": "2 minutes"}))
    assert "this is 80% of its 2 minutes" in report(run).words
    (run.checkpoints / "000000000960.json").write_text(json.dumps({"nimg": 960, "seconds": 120.5}))
    assert "The run is complete." in report(run).words


def test_a_copy_beside_the_grids_is_ignored(tmp_path: Path) -> None:
    run = complete(tmp_path / "run")
    sheet(run.samples / "000000000320 (1).png", MADE)
    assert sorted(run.grids()) == [320, 640, 960]
    run.forget_samples(320)
    assert sorted(run.grids()) == [320] and "960 images" in report(run).words


def test_the_model_stored_as_the_best_is_named(tmp_path: Path) -> None:
    run = complete(tmp_path / "run")
    options = {"width": 8}
    header = modelfile.Header(
        net="dcgan", latent=8, options=options, shape=(1, 8, 8), labels=False, class_names=[], training={"nimg": 640}
    )
    modelfile.write(run.best, build_generator("dcgan", ImageShape(1, 8, 8), 8, 0, options), header)
    assert "The model after 0.6 kimg is stored as best/model.safetensors." in report(run).words


def test_names_are_escaped(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", dataset="<i>evil", class_names=["<b>bold", "a & b"], device="<u>")
    sheet(run.sample(960), MADE)
    write_scores(run.scores, [SCORE.model_copy(update={"label": "<s>@3", "class_name": "<u>", "weights": '"><s>'})])
    seen = report(run)
    assert not {tag for tag, _ in seen.tags} & {"i", "u", "s"}
    assert "<i>evil" in seen.words and "<b>bold, a & b" in seen.words


def test_huge_grids_do_not_make_a_huge_page(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", shape=(3, 256, 256))
    log(run)
    noise = np.random.default_rng(0).integers(0, 256, (1550, 1550, 3), np.uint8)
    Image.fromarray(noise).save(run.sample(960), compress_level=1)
    for path in (run.samples / "reals.png", *(run.sample(nimg) for nimg in range(120, 900, 120))):
        path.write_bytes(run.sample(960).read_bytes())
    assert write_report(run.path, tmp_path / "report.html").stat().st_size < 3_000_000


# Where it is asked for, and where it goes.


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run at"):
        write_report(tmp_path, tmp_path / "report.html")


def test_a_place_that_cannot_be_written_is_refused_with_the_remedy(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "report.html", tmp_path):
        with pytest.raises(StorageError, match="--out"):
            write_report(run.path, out)


def test_the_verb_writes_into_the_run_and_says_where(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    result = CliRunner().invoke(cli.app, ["report", str(run.path)], catch_exceptions=False)
    assert result.exit_code == 0 and str(run.path / "report.html") in result.output
    assert (run.path / "report.html").is_file()
