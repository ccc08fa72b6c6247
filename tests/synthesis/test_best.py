"""When the best model of a run is clearly better than its last one, everything that uses the last one says so."""

import logging
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from conftest import tiny_config
from ganloom.cli import app
from ganloom.core.shapes import ImageShape
from ganloom.models import modelfile
from ganloom.nets import build_generator
from ganloom.runs import Facts, RunFolder, create_folder
from ganloom.session import messages
from ganloom.synthesis.best import CLEARLY, advice, lead_of_best
from ganloom.tracking.jsonl import Jsonl

FACTS = Facts(
    id="0", created="", dataset="cells", content_hash="c", images=320, shape=(1, 32, 32), class_names=[],
    recipe="digits", ganloom="0", torch="2", device="cpu", threads=1, images_per_minute=None,
)  # fmt: skip


def run_of(path: Path, scores: dict[int, float | None], metric: str = "fd", ends: int = 900) -> RunFolder:
    """A run with these scores by image count; the first one is of the best model."""
    run = create_folder(path, tiny_config(evaluate__best=metric), FACTS)
    config = run.config
    label = f"{metric}[loomnet-1]@2000"
    G = build_generator(config.net.name, ImageShape(1, 32, 32), config.net.latent, 0, config.net.g)
    best_at = next(iter(scores))
    run.best.parent.mkdir()
    for file, training in (
        (run.model, {"nimg": ends}),
        (run.best, {"nimg": best_at, "best": {"other[loomnet-1]@2000": 0.0, label: scores[best_at]}}),
    ):
        header = modelfile.Header(
            net=config.net.name, latent=config.net.latent, options=config.net.g, shape=(1, 32, 32), labels=False,
            class_names=[], training=training,
        )  # fmt: skip
        modelfile.write(file, G, header)
    tracker = Jsonl(run.log, 0)
    for nimg, value in scores.items():
        tracker.scalars(nimg, {"loss_d": 1.0})
        tracker.scalars(nimg, {label: float("nan") if value is None else value})
    tracker.close()
    return run


def test_one_that_is_nearly_twice_as_far_is_clearly_worse(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", {300: 21.0, 600: 30.0, 900: 40.0})
    lead = lead_of_best(run)
    assert lead is not None and (lead.best, lead.best_at, lead.last, lead.last_at) == (21.0, 300, 40.0, 900)
    assert "1.9 times" in lead.text and f"ganloom sample {run.path} --at best" in lead.text


@pytest.mark.parametrize(
    ("scores", "settings", "clear"),
    [
        ({300: 20.0, 900: 20.0 * CLEARLY - 0.1}, {}, False),
        ({300: 20.0, 900: 20.0 * CLEARLY + 0.1}, {}, True),
        ({900: 20.0}, {}, False),  # the last one is the best
        ({300: 20.0, 600: 90.0, 900: 21.0}, {}, False),  # only the newest evaluation counts
        ({300: 20.0, 600: 90.0}, {}, True),  # stopped after it
        ({300: 20.0, 1200: 90.0}, {}, False),  # a row that a killed run has left: the model is older
        ({300: 20.0, 900: None}, {}, True),  # NaN
        ({300: 0.8, 900: 0.5}, {"metric": "recall"}, True),
        ({300: 0.8, 900: 0.75}, {"metric": "recall"}, False),
        ({300: -0.001, 900: 0.002}, {"metric": "kid"}, False),  # about 0 either way
    ],
)
def test_only_a_clear_lead_counts(
    tmp_path: Path, scores: dict[int, float | None], settings: dict[str, Any], clear: bool
) -> None:
    assert (lead_of_best(run_of(tmp_path / "run", scores, **settings)) is not None) == clear


def test_a_run_without_a_best_model_or_a_log_has_no_lead(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", {300: 20.0, 900: 90.0})
    assert advice(run.path) and advice(run.model) and not advice(run.best.parent) and not advice(tmp_path)
    (run.path / "config.yaml").write_text("damaged: [")
    assert not advice(run.path)
    run.log.unlink()
    assert lead_of_best(run) is None
    run.best.unlink()
    assert lead_of_best(run) is None


def test_sample_and_the_end_of_a_training_say_what_to_type(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = run_of(tmp_path / "run", {300: 20.0, 900: 90.0})

    def sampled(*arguments: str) -> str:
        given = ["sample", *arguments, "--n", "1", "--device", "cpu", "--out", str(tmp_path / "grid.png")]
        result = CliRunner().invoke(app, given, catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    assert f"To use the best one: ganloom sample {run.path} --at best" in sampled(str(run.path))
    for others in ([str(run.path), "--at", "best"], [str(run.path / "best")]):
        assert "clearly worse" not in sampled(*others)
    caplog.set_level(logging.INFO, "ganloom")
    messages.report_files(run, "fd")
    assert "clearly worse" in caplog.messages[-1]
