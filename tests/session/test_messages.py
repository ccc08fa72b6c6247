"""What a training says before its first step, and when that never comes."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

import ganloom
from conftest import tiny_config
from ganloom.core.device import cpu_instructions, device_name
from ganloom.runs import Facts, RunFolder
from ganloom.session import messages, preflight, session
from ganloom.session.intervals import Intervals
from ganloom.session.progress import Progress
from ganloom.training.step import AdversarialStep

HEADER = ("data", "shape", "recipe", "length", "device", "run", "next")


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ganloom")


def train(out: Path, **settings: Any) -> None:
    ganloom.train(out=out, device="cpu", settings=tiny_config(**settings).model_dump(mode="json"))


def interrupt(*arguments: Any, **keywords: Any) -> None:
    raise KeyboardInterrupt


def test_the_header_comes_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []

    def timed(step: AdversarialStep) -> float:
        said.extend(line.split()[0] for line in caplog.messages)
        return 60.0

    monkeypatch.setattr(preflight, "images_per_minute", timed)
    monkeypatch.setattr(preflight, "fit_memory", lambda step: said.append("memory") or step.config)
    train(tmp_path / "run", train__length="0.001 minutes")
    assert said[:1] == ["memory"] and tuple(name for name in said if name in HEADER) == HEADER


@pytest.mark.parametrize(
    ("length", "speed", "said", "warns"),
    [
        ("400 kimg", 12_000.0, "200 images/s: about 33 minutes for 400 kimg", False),
        ("1000 kimg", 240.0, "4.0 images/s: about 2.9 days for 1000 kimg", True),
        ("48 hours", 240.0, "4.0 images/s: about 691,200 images in 48 hours", False),  # as was asked for
        ("1 minute", 60.0, "1.0 images/s: about 60 images in 1 minute", False),
    ],
)
def test_the_speed_says_how_long_it_takes(
    length: str, speed: float, said: str, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    messages.report_speed(tiny_config(train__length=length), 1000, speed)
    assert any(said in line for line in caplog.messages)
    assert any(record.levelno == logging.WARNING and "--length" in record.message for record in caplog.records) is warns


def test_a_training_of_days_says_so_before_scores_are_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(preflight, "images_per_minute", lambda step: 60.0)
    monkeypatch.setattr(preflight, "with_timed_intervals", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", train__length="500 kimg", evaluate__every=None)
    assert "take about 5.8 days on this device" in caplog.text


def test_a_long_training_is_timed_even_if_nothing_else_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "images_per_minute", interrupt)
    train(tmp_path / "short", train__length="64 images")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "long", train__length="500 kimg")


def test_ctrl_c_before_the_first_step_says_that_nothing_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(preflight, "fit_memory", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run")
    assert "nothing was trained, and no run folder was created" in caplog.messages[-1]
    assert not (tmp_path / "run").exists()


def test_ctrl_c_while_features_are_computed_names_the_way_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "make_scorer", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", evaluate__every="100 images")
    assert f"nothing is trained; start with the same settings: ganloom resume {tmp_path / 'run'}" in caplog.messages[-1]


def test_ctrl_c_before_a_resumed_run_trains_says_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path / "run", train__length="64 images")
    monkeypatch.setattr(preflight, "fit_memory", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ganloom.resume(tmp_path / "run", length="128 images", device="cpu")
    assert "the checkpoint at 64 images is kept" in caplog.messages[-1]


FACTS = Facts(
    id="0", created="", dataset="", content_hash="", images=1, shape=(1, 8, 8), class_names=[], recipe="", ganloom="",
    torch=torch.__version__, device=device_name(torch.device("cpu")), threads=torch.get_num_threads(),
    instructions=cpu_instructions(), images_per_minute=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("started", "said"),
    [
        ({}, None),
        ({"instructions": None}, None),  # a run of an older version
        ({"torch": "1.0"}, f"started with torch 1.0; with torch {torch.__version__} it will resume, but not"),
        ({"threads": 99}, "started with 99 threads; with "),
        ({"instructions": "ABACUS"}, f"with ABACUS instructions; with {cpu_instructions()} instructions it"),
        ({"device": "cuda:1 (NVIDIA H200)", "threads": 99}, r"with cuda (NVIDIA H200), 99 threads; with cpu, "),
    ],
)
def test_a_resume_that_is_not_bit_exact_says_why(
    started: dict[str, Any], said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    messages.report_inexact(FACTS.model_copy(update=started), torch.device("cpu"))
    assert caplog.messages == [] if said is None else said in caplog.messages[0]


def test_the_time_left_is_known_after_a_checkpoint_too(tmp_path: Path) -> None:
    """A checkpoint tells the status no speed: the last one counts."""
    (tmp_path / "samples").mkdir()
    folder = RunFolder(tmp_path)
    progress = Progress(folder, Intervals.of(tiny_config(train__length="1000 images"), FACTS))
    progress.update(0, 0.0)
    assert folder.status.seconds_left is None
    progress.update(100, 10.0, 10.0)
    progress.update(200, 20.0)
    assert folder.status.seconds_left == 80 and folder.status.images_per_second == 10
