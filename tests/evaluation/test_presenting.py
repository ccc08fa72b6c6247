"""What `evaluate` says beside its numbers."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_compare import SCORE

import ganloom
from ganloom.evaluation.presenting import lines
from ganloom.metrics.meanings import MEANINGS, explained
from ganloom.metrics.scores import Score

pytestmark = pytest.mark.slow


def drawn(folder: Path, seeds: range) -> Path:
    """Random textures of 16x16 pixels, one per seed."""
    folder.mkdir(exist_ok=True)
    for seed in seeds:
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


def said(caplog: pytest.LogCaptureFixture, generated: Path, real: Path) -> list[str]:
    caplog.clear()
    caplog.set_level(logging.INFO, "ganloom")
    ganloom.evaluate(generated, real, metrics="fd,prdc", device="cpu")
    return caplog.messages


def test_the_same_images_on_both_sides_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All of them, also where some of the real ones are held out, or only some; and nothing without any."""
    real = drawn(tmp_path / "real", range(120))
    assert any("all of them, are real images" in line for line in said(caplog, real, real))
    overlapping = drawn(tmp_path / "overlapping", range(100, 200))
    assert any(
        line.startswith("20 of 100 generated images are real images") for line in said(caplog, overlapping, real)
    )
    apart = drawn(tmp_path / "apart", range(200, 300))
    assert not any("are real images" in line for line in said(caplog, apart, real))


def test_every_number_stands_beside_its_direction_and_meaning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messages = said(caplog, drawn(tmp_path / "made", range(60)), drawn(tmp_path / "real", range(100, 200)))
    table = [line for line in messages if "[loomnet-1]@60" in line]
    assert [line.partition("[")[0] for line in table] == ["fd", "precision", "recall", "density", "coverage"]
    assert all(line.endswith(explained(line.partition("[")[0])) for line in table)
    assert "lower is better" in table[0] and all("higher is better" in line for line in table[1:])


def test_every_metric_says_which_way_is_better_or_what_to_aim_for() -> None:
    assert [name for name, known in MEANINGS.items() if not known.which_way and name != "ssim"] == []
    assert all(0 < len(known.short) <= 70 for known in MEANINGS.values())
    goals = [known.goal.split()[-1] for known in MEANINGS.values() if known.goal]
    assert all(goal in MEANINGS or goal == "modes" or float(goal) >= 0 for goal in goals)


def test_a_verdict_comes_first_and_a_note_once() -> None:
    def of(metric: str, value: float, note: str = "") -> Score:
        return SCORE.model_copy(
            update={"metric": metric, "label": f"{metric}@1", "value": value, "low": None, "high": None, "note": note}
        )

    found = list(lines([of("vendi", 1.6), of("vendi_real", 82.6), of("precision", 0.9), of("recall", 0)]))
    assert found[0].startswith("verdict   collapsed: ") and "Vendi 1.6 of 82.6" in found[0] and len(found) == 5
    found = list(lines([of("precision", 0, "no guide"), of("coverage", 0, "no guide"), of("fd", 9)]))
    assert found[-1] == "note: precision, coverage: no guide" and len(found) == 4
