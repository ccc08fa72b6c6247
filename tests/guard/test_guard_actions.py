"""The guard's actions: it warns, stops, or rolls back and continues with other settings."""

import contextlib
import dataclasses
import itertools
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import ganloom
from comparison import assert_same_run, state_of
from conftest import tiny_config
from ganloom.config import Config
from ganloom.core.errors import Interrupted, RunError
from ganloom.guard import guard as guard_module
from ganloom.guard.remedies import other_settings
from ganloom.guard.signals import Signals
from ganloom.guard.verdicts import RULES
from ganloom.runs import RunFolder, open_folder
from ganloom.session import recorder, session
from ganloom.tracking.jsonl import read_log
from ganloom.training import checkpoint
from ganloom.training.step import AdversarialStep

pytestmark = pytest.mark.slow

WELL = Signals(
    finite=True, update_g=1e-3, update_d=1e-3, sign=0.5, auc=0.8, gap=0.05,
    gap_auc=0.52, spread=0.9, vendi=0.8, ndb=0.1, distance=20.0, nearest=1.5,
    brightness=0.02, contrast=0.9, saturation=0.95,
)  # fmt: skip


def test_other_settings_go_further_each_time() -> None:
    config = tiny_config()
    tried = []
    for _ in range(3):
        changes = other_settings("divergence", config, WELL)
        config = config.with_overrides(changes)
        tried.append((config.optimizer.g.lr, config.optimizer.d.lr, config.penalties["r1"].weight))
    assert len(set(tried)) == 3 and tried == sorted(tried, key=lambda each: -each[0])


def test_more_augmentation_as_the_loss_allows() -> None:
    config = tiny_config()
    first = config.with_overrides(other_settings("overfitting", config, WELL))
    assert first.augment is not None and first.augment.name == "ada"
    again = first.with_overrides(other_settings("memorisation", first, WELL))
    assert again.augment is not None and again.augment.options["target"] == pytest.approx(0.45)
    paired = tiny_config(loss="relativistic")
    probabilities = []
    while changes := other_settings("overfitting", paired, WELL):
        paired = paired.with_overrides(changes)
        assert paired.augment is not None
        probabilities.append(paired.augment.options["p"])
    assert probabilities == pytest.approx([0.2, 0.4, 0.6, 0.8])  # beyond, G learns to make augmented images


def test_a_network_that_hardly_changes_gets_the_rate_of_the_other() -> None:
    config = tiny_config(optimizer__d__lr=1e-12)
    assert other_settings("stalled", config, dataclasses.replace(WELL, update_d=1e-12)) == {
        "optimizer.d.lr": config.optimizer.g.lr
    }
    assert other_settings("stalled", config, WELL) == {}


def train(out: Path, **settings: Any) -> RunFolder:
    return ganloom.train(out=out, device="cpu", settings=tiny_config(**settings).model_dump(mode="json")).folder


@pytest.fixture
def dislikes_high_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suspects divergence from the fourth look on if G's updates are large."""
    rule = RULES["divergence"]._replace(
        suspects=lambda now, past: past.looks >= 3 and now.update_g > 3e-4,
        evidence=lambda now, past: {"distance": now.distance, "best": past.best_distance},
    )
    monkeypatch.setattr(guard_module, "RULES", {**quiet(), "divergence": rule})


def quiet() -> dict[str, Any]:
    return {name: rule._replace(suspects=lambda now, past: False) for name, rule in RULES.items()}


SICK = {"guard__every": "100 images", "guard__n": 60, "guard__patience": 2, "optimizer__g__lr": 1e-3}


def test_a_rollback_with_other_settings(dislikes_high_rates: None, tmp_path: Path) -> None:
    run = train(tmp_path / "run", **SICK)
    rows = read_log(run.log)
    changes = run.changes
    assert changes and all(change.reason == "divergence" and change.to < change.nimg for change in changes)
    rates = [change.after["optimizer.g.lr"] for change in changes]
    assert rates[0] == 2.5e-4 and len(set(rates)) == len(rates)
    assert run.config.optimizer.g.lr == rates[-1]
    assert [row["event"] for row in rows if row.get("event") == "rollback"] == ["rollback"] * len(changes)
    images = [row["nimg"] for row in rows]
    assert images == sorted(images) and images[-1] == 960
    assert max(row["lr_g"] for row in rows if row["nimg"] > changes[-1].to and "lr_g" in row) == rates[-1]


SHORT = {**SICK, "train__length": "640 images"}


def test_a_kill_around_a_rollback_changes_nothing(
    dislikes_high_rates: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any checkpoint, before and after the change, and between the two writes of the change itself."""
    save, saves = recorder.Recorder.save, []

    def counted(self: recorder.Recorder, step: Any, seconds: float) -> None:
        saves.append(step.nimg)
        save(self, step, seconds)

    with monkeypatch.context() as patch:
        patch.setattr(recorder.Recorder, "save", counted)
        whole = train(tmp_path / "whole", **SHORT)
    assert whole.changes
    for kill in range(len(saves)):
        left = iter(range(kill))

        def killed(self: recorder.Recorder, step: Any, seconds: float, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            save(self, step, seconds)

        with monkeypatch.context() as patch:
            patch.setattr(recorder.Recorder, "save", killed)
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / f"killed-{kill}", **SHORT)
        resumed = ganloom.resume(tmp_path / f"killed-{kill}", device="cpu").folder
        assert_same_run(resumed.path, whole.path)
        told = [change.model_dump(exclude={"seconds"}) for change in resumed.changes]
        assert told == [change.model_dump(exclude={"seconds"}) for change in whole.changes]
    with monkeypatch.context() as patch:

        def killed_between(self: RunFolder, config: Config) -> None:
            raise KeyboardInterrupt

        patch.setattr(RunFolder, "save_config", killed_between)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "between", **SHORT)
    resumed = ganloom.resume(tmp_path / "between", device="cpu").folder
    assert_same_run(resumed.path, whole.path)


@pytest.mark.parametrize("healthy", [True, False], ids=["to a checkpoint", "to the start"])
def test_a_kill_at_any_file_operation_of_a_rollback_changes_nothing(
    dislikes_high_rates: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, healthy: bool
) -> None:
    """Also where it removes every checkpoint: the run has not lost them, but is to start again."""
    settings = {**SICK, "train__length": "448 images"}
    if not healthy:
        rule = guard_module.RULES["divergence"]._replace(suspects=lambda now, past: now.update_g > 3e-4)
        monkeypatch.setattr(guard_module, "RULES", {**quiet(), "divergence": rule})
        settings["guard__patience"] = 4
    killed = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(session, "roll_back", killing(session.roll_back, killed))
        whole = train(tmp_path / "whole", **settings)
    assert (whole.changes[0].to > 0) == healthy
    copies = sorted(killed.iterdir())
    assert len(copies) >= 5
    for copy in copies:
        resumed = ganloom.resume(copy, device="cpu").folder
        assert_same_run(resumed.path, whole.path)
        told = [change.model_dump(exclude={"seconds"}) for change in resumed.changes]
        assert told == [change.model_dump(exclude={"seconds"}) for change in whole.changes]


def killing(roll_back: Any, copies: Path) -> Any:
    """The first time, it is tried on copies of the run before, each interrupted at another of its file operations."""

    def killed(run: RunFolder, *arguments: Any) -> Any:
        for kill in itertools.count() if not copies.exists() else ():
            copy = shutil.copytree(run.path, copies / str(kill))
            try:
                with interrupted_at(kill):
                    roll_back(RunFolder(copy), *arguments)
            except KeyboardInterrupt:
                continue
            shutil.rmtree(copy)
            break
        return roll_back(run, *arguments)

    return killed


@contextlib.contextmanager
def interrupted_at(operation: int) -> Iterator[None]:
    left = iter(range(operation))

    def counted(real: Any) -> Any:
        def operate(path: Any, *more: Any) -> None:
            if os.path.lexists(path) and next(left, None) is None:
                raise KeyboardInterrupt
            real(path, *more)

        return operate

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "unlink"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield


def test_a_setting_that_the_user_changes_after_a_rollback_is_kept(dislikes_high_rates: None, tmp_path: Path) -> None:
    """Also without a checkpoint since: here the user found the guard's rate not low enough."""
    run = train(tmp_path / "run", **{**SHORT, "checkpoint__keep": 99})
    change = run.changes[-1]
    checkpoint.leave_only(run.checkpoints, change.to)
    lines = run.log.read_text().splitlines(keepends=True)  # as if it had been killed before it went on
    run.log.write_text("".join(line for line in lines if '"rollback"' not in line))
    run.save_config(run.config.with_overrides({"optimizer.g.lr": 1e-5}))
    assert ganloom.resume(run.path, device="cpu").config.optimizer.g.lr == 1e-5


def test_the_target_of_a_rollback_does_not_depend_on_signals(
    dislikes_high_rates: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that a signal caused, off schedule, is for resuming, not a target of rollbacks."""
    alone = train(tmp_path / "alone", **SHORT)
    saved, advance = (
        192,
        AdversarialStep.advance,
    )  # before the last healthy look, after the last checkpoint before that look

    def signalled(step: AdversarialStep, *, measure: bool) -> Any:
        stats = advance(step, measure=measure)
        if step.nimg == saved:
            signal.raise_signal(signal.SIGTERM)
        return stats

    monkeypatch.setattr(AdversarialStep, "advance", signalled)
    with pytest.raises(Interrupted):
        train(tmp_path / "run", **SHORT)
    monkeypatch.setattr(AdversarialStep, "advance", advance)
    assert (tmp_path / "run" / "checkpoints" / f"{saved:012d}.json").exists()
    ganloom.resume(tmp_path / "run", device="cpu")
    assert [change.to for change in RunFolder(tmp_path / "run").changes] == [change.to for change in alone.changes]
    assert_same_run(tmp_path / "run", alone.path)


def test_a_rollback_skips_damaged_checkpoints(
    dislikes_high_rates: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To one further back, or to the beginning."""
    monkeypatch.setattr(session, "roll_back", damaging(session.roll_back))
    run = tmp_path / "run"
    with pytest.raises(RunError, match="the guard stopped"):  # the rest of the training is too faulty to finish
        train(run, **SHORT, guard__rollbacks=1)
    assert [change.to for change in RunFolder(run).changes] == [0]
    assert read_log(run / "log.jsonl")[-1]["nimg"] == 416


def damaging(roll_back: Any) -> Any:
    def damaged(run: RunFolder, *arguments: Any) -> Any:
        for file in run.checkpoints.glob("*.safetensors"):
            file.write_bytes(b"torn")
        return roll_back(run, *arguments)

    return damaged


def test_no_more_rollbacks_than_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    always = RULES["collapse"]._replace(suspects=lambda now, past: past.looks >= 5)
    monkeypatch.setattr(guard_module, "RULES", {**quiet(), "collapse": always})
    with pytest.raises(RunError, match=r"the guard stopped .* mode collapse"):
        train(tmp_path / "run", **SICK, guard__rollbacks=2, checkpoint__every="300 images")
    run = open_folder(tmp_path / "run")
    assert len(run.changes) == 2
    healthy = max(int(path.stem) for path in run.checkpoints.glob("*.json"))
    assert healthy == run.changes[-1].to  # a faulty state is not kept as the newest
    ganloom.load(run.model, device="cpu")


@pytest.mark.parametrize("action", ["warn", "stop"])
def test_warning_and_stopping(action: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    always = RULES["overfitting"]._replace(suspects=lambda now, past: past.looks >= 2)
    monkeypatch.setattr(guard_module, "RULES", {**quiet(), "overfitting": always})
    if action == "stop":
        with pytest.raises(RunError, match="discriminator overfitting"):
            train(tmp_path / "run", **SICK, guard__overfitting=action)
    else:
        train(tmp_path / "run", **SICK, guard__overfitting=action)
    run = open_folder(tmp_path / "run")
    rows = read_log(run.log)
    (event,) = [row for row in rows if "event" in row]
    assert event["event"] == "overfitting" and not run.changes
    assert max(int(path.stem) for path in run.checkpoints.glob("*.json")) == (
        960 if action == "warn" else event["nimg"]
    )


def test_a_guard_that_only_watches_changes_nothing(tmp_path: Path) -> None:
    actions = dict.fromkeys(("guard__divergence", "guard__collapse"), "warn")
    watched = train(tmp_path / "watched", **SICK, **actions)
    alone = train(tmp_path / "alone", **{**SICK, "guard__every": "0 images"})
    ours, theirs = (
        {name: value for name, value in state_of(run.path).items() if not name.startswith("health/")}
        for run in (watched, alone)
    )
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_training_without_a_guard_is_not_lost_when_one_is_switched_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A rollback goes to where the guard was switched on, not to the beginning."""
    at_once = RULES["divergence"]._replace(suspects=lambda now, past: now.update_g > 1e-3)
    monkeypatch.setattr(guard_module, "RULES", {**quiet(), "divergence": at_once})
    run = train(tmp_path / "run", guard__every="0 images", train__length="320 images", optimizer__g__lr=1e-3)
    run.save_config(run.config.with_overrides({"guard.every": "100 images", "guard.n": 60, "guard.patience": 1}))
    ganloom.resume(run.path, device="cpu", length="640 images")
    assert {change.to for change in run.changes} == {320}


def test_the_interval_is_chosen_at_the_start_and_saved(tmp_path: Path) -> None:
    run = train(tmp_path / "run", guard__every=None, guard__n=60)
    assert run.config.guard.every is not None and run.config.guard.every.amount > 0


def test_early_stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([5.0, 3.0, 4.0, 3.5, 3.2, 1.0])
    monkeypatch.setattr(recorder.Scorer, "measure", lambda self, G, y: {self.label("fd"): next(scores)})
    settings = {"evaluate__every": "100 images", "evaluate__n": 150, "evaluate__metrics": ["fd"]}
    run = train(tmp_path / "run", **settings, evaluate__patience=3)
    rows = read_log(run.log)
    assert [row["event"] for row in rows if "event" in row] == ["early stopping"]
    assert list(scores) == [1.0] and rows[-1]["nimg"] < 960
    assert run.newest_sample() == run.sample(rows[-1]["nimg"])  # the last state is kept, and the best


def test_without_a_guard_nan_in_the_weights_ends_the_training_and_good_checkpoints_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = AdversarialStep.advance

    def sick(step: AdversarialStep, *, measure: bool) -> Any:
        stats = advance(step, measure=measure)
        if step.nimg >= 480:
            with torch.no_grad():
                step.g.weights[0].fill_(torch.nan)
        return stats

    monkeypatch.setattr(AdversarialStep, "advance", sick)
    settings = tiny_config(guard__every="0 images").model_dump(mode="json")
    with pytest.raises(RunError, match=r"cannot continue at 480 images.*NaN or infinity.*kept: .*000000000320"):
        ganloom.train(out=tmp_path / "run", device="cpu", settings=settings)
    assert max(int(path.stem) for path in (tmp_path / "run" / "checkpoints").glob("*.json")) == 320
