"""Scores while training: they watch, they keep the best model, and they never change what is trained."""

import math
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ganloom
from comparison import assert_same_run, log_of
from conftest import tiny_config
from ganloom.config import Evaluate
from ganloom.core.errors import ConfigError
from ganloom.data.packed import PackedDataset
from ganloom.models import modelfile
from ganloom.runs import open_folder
from ganloom.session.intervals import NEVER
from ganloom.session.recorder import NO_GUIDE
from ganloom.session.scoring import Scorer, check, drop_infeasible
from ganloom.tracking.jsonl import read_log

pytestmark = pytest.mark.slow

EVERY = {"evaluate.every": "200 images", "evaluate.n": 150}
FD = "fd[loomnet-1]@150"


def train(out: Path, **settings: Any) -> Path:
    values = tiny_config(**settings).model_dump(mode="json")
    return ganloom.train(out=out, device="cpu", settings=values).path


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("scored") / "run", **EVERY)


def resumed_from_its_first_checkpoint(run: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    for newest in sorted((copy / "checkpoints").glob("0*"))[2:]:
        newest.unlink()
    return ganloom.resume(copy, device="cpu").path


def scores_of(run: Path) -> dict[int, float]:
    return {row["nimg"]: row[FD] for row in read_log(run / "log.jsonl") if FD in row}


def test_scores_come_at_intervals_and_at_the_end(evaluated: Path) -> None:
    scores = scores_of(evaluated)
    assert list(scores) == [224, 416, 608, 800, 960]  # the first step at or past each 200 images, and the end
    assert all(math.isfinite(value) and value > 0 for value in scores.values())
    row = next(row for row in read_log(evaluated / "log.jsonl") if FD in row)
    assert set(row) == {
        "nimg",
        FD,
        *(f"{key}[loomnet-1]@150" for key in ("precision", "recall", "density", "coverage")),
    }


def test_the_model_with_the_best_score_is_kept_with_its_whole_checkpoint(evaluated: Path) -> None:
    scores = scores_of(evaluated)
    best = min(scores, key=lambda nimg: scores[nimg])
    header = modelfile.read_header(evaluated / "best" / "model.safetensors")
    assert header.training["nimg"] == best and header.training["best"][FD] == scores[best]
    assert [path.name for path in (evaluated / "best" / "checkpoints").glob("*.safetensors")] == [
        f"{best:012d}.safetensors"
    ]
    assert ganloom.load(evaluated / "best").sample(2).shape == (2, 1, 32, 32)


def test_precision_0_on_the_demos_digits_is_explained_once(tmp_path: Path) -> None:
    """Every evaluation has precision 0, and the log says why at the first one."""
    settings = {"evaluate.every": "100 images", "evaluate.n": 600, "train.length": "320 images"}
    rows = read_log(train(tmp_path / "run", **settings) / "log.jsonl")
    at = [row["nimg"] for row in rows if row.get("precision[loomnet-1]@600") == 0]
    (event,) = [row for row in rows if row.get("event") == NO_GUIDE]
    assert len(at) > 1 and event["nimg"] == at[0]
    assert event["text"].startswith("precision, recall, density, coverage: no guide here")


def test_scores_change_nothing_of_the_training(evaluated: Path, tmp_path: Path) -> None:
    plain = train(tmp_path / "plain")
    with_scores = [row for row in log_of(evaluated) if FD not in row]
    assert with_scores == log_of(plain)
    assert (evaluated / "model.safetensors").read_bytes() == (plain / "model.safetensors").read_bytes()


def test_an_interrupted_run_has_the_same_scores_and_the_same_best(evaluated: Path, tmp_path: Path) -> None:
    """As if it had been killed after a best was kept that lies beyond the newest checkpoint."""
    run = resumed_from_its_first_checkpoint(evaluated, tmp_path)
    assert_same_run(evaluated, run)
    for name in (
        "model.safetensors",
        *(path.name for path in (evaluated / "best" / "checkpoints").glob("*.safetensors")),
    ):
        (a,), (b,) = (list((folder / "best").rglob(name)) for folder in (evaluated, run))
        assert a.read_bytes() == b.read_bytes()


NEVER_BETTER = {"name": "plateau", "score": True, "patience": 0, "factor": 0.5, "threshold": 10}


@pytest.fixture(scope="module")
def slowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """G's rate is halved by each evaluation after the first, for none is better by so much."""
    schedule = {"optimizer.g.schedule": NEVER_BETTER, "evaluate.metrics": ["prdc"], "evaluate.best": "coverage"}
    return train(tmp_path_factory.mktemp("slowed") / "run", **EVERY, **schedule)


def test_a_plateau_of_scores_lowers_the_rate(slowed: Path) -> None:
    rows = [row for row in read_log(slowed / "log.jsonl") if "lr_g" in row]
    rates = {row["nimg"]: row["lr_g"] / rows[0]["lr_g"] for row in rows}
    halved = {nimg: 0.5 ** max(0, sum(at < nimg for at in (224, 416, 608, 800)) - 1) for nimg in rates}
    assert rates == halved and rates[max(rates)] == 0.125


def test_a_plateau_of_scores_goes_on_exactly(slowed: Path, tmp_path: Path) -> None:
    assert_same_run(slowed, resumed_from_its_first_checkpoint(slowed, tmp_path))


def test_a_plateau_of_scores_made_longer_is_as_if_asked_for_at_once(slowed: Path, tmp_path: Path) -> None:
    config = open_folder(slowed).config.model_dump(mode="json")
    config["train"]["length"] = "800 images"  # an evaluation is due there
    run = ganloom.train(out=tmp_path / "run", device="cpu", settings=config).path
    ganloom.resume(run, length="960 images", device="cpu")
    assert_same_run(slowed, run)


def test_a_plateau_of_scores_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a plateau schedule with score=true needs scores"):
        train(tmp_path / "run", **{"optimizer.g.schedule": NEVER_BETTER})


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("which", [2, 5])
def test_a_signal_cuts_an_evaluation_short_and_the_resumed_training_makes_up_for_it(
    evaluated: Path, tmp_path: Path, which: int, times: int
) -> None:
    """Of five, the last one too, and again when it is made up for."""
    run, settings = tmp_path / "run", tiny_config(**EVERY).model_dump(mode="json")
    script = f"""
import itertools, sys, time
import ganloom
from ganloom.session.scoring import Scorer
measure, calls = Scorer.measure, itertools.count(1)

def slow(*arguments):
    if next(calls) == int(sys.argv[1]):
        print("evaluating", flush=True)
        time.sleep(900)
    return measure(*arguments)

Scorer.measure = slow
try:
    if sys.argv[2] == "resume":
        ganloom.resume({str(run)!r}, device="cpu", verbose=True)
    else:
        ganloom.train(out={str(run)!r}, device="cpu", settings={settings!r}, verbose=True)
except ganloom.Interrupted as error:
    sys.exit(128 + error.signal)
"""
    for call, verb in [(which, "train"), (1, "resume")][:times]:
        command = [sys.executable, "-c", script, str(call), verb]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while "evaluating" not in process.stdout.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            output = process.stdout.read()
            assert process.wait(900) == 128 + signal.SIGTERM
        assert "ganloom resume" in output and len(scores_of(run)) == which - 1
        assert next(run.glob(f"checkpoints/*{list(scores_of(evaluated))[which - 1]}.json"))
    ganloom.resume(run, device="cpu")
    assert_same_run(evaluated, run)
    assert (run / "best" / "model.safetensors").read_bytes() == (evaluated / "best" / "model.safetensors").read_bytes()


def test_the_interval_is_chosen_once_and_written_down(tmp_path: Path) -> None:
    run = train(tmp_path / "run", evaluate__every=None, evaluate__n=100, train__length="64 images")
    every = open_folder(run).config.evaluate.every
    assert every is not None and every.unit == "kimg" and every.amount >= 1
    ganloom.resume(run, length="128 images", device="cpu")
    assert open_folder(run).config.evaluate.every == every


def test_the_measured_images_do_not_depend_on_what_was_asked_before(digits: PackedDataset) -> None:
    class Grey(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = nn.Parameter(torch.zeros(1))

        def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
            return self.level + z[:, :1, None, None].expand(-1, 1, 32, 32) / 3

    scorer = Scorer(Evaluate(n=120), digits, latent=4, seed=0, device=torch.device("cpu"))
    first, again = scorer.measure(Grey(), None), scorer.measure(Grey(), None)
    assert first == again
    broken = Grey()
    torch.nn.init.constant_(broken.level, float("nan"))
    assert all(math.isnan(value) for value in scorer.measure(broken, None).values())


def test_a_diverged_generator_is_never_the_best(digits: PackedDataset, tmp_path: Path) -> None:
    scorer = Scorer(Evaluate(n=120), digits, latent=4, seed=0, device=torch.device("cpu"))
    assert not scorer.is_best({scorer.label("fd"): math.nan}, tmp_path / "model.safetensors")
    assert scorer.is_best({scorer.label("fd"): 1e9}, tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metrics": ("fdd",)}, "unknown metric 'fdd'. Did you mean 'fd'"),
        ({"metrics": ("is",)}, "too costly"),
        ({"metrics": ("ppl",)}, "too costly"),
        ({"best": "fdd"}, "Did you mean 'fd'"),
        ({"best": "kid"}, "kid is not a score of"),
        ({"best": "vendi_real", "metrics": ("vendi",)}, "vendi_real is not a score of .* Did you mean 'vendi'"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_anything_is_prepared(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(Evaluate(**settings), [])


def test_metrics_for_which_there_are_too_few_images_are_left_out() -> None:
    settings = Evaluate(every="1 kimg", metrics=("fd", "ndb"))
    assert drop_infeasible(settings, 5000) == (settings, "")
    fewer, why = drop_infeasible(settings, 60)
    assert fewer.metrics == ("fd",) and "ndb left out" in why
    none, why = drop_infeasible(settings, 4)
    assert none.every == NEVER and "no scores" in why


def test_a_handful_of_images_can_be_trained_on(tmp_path: Path) -> None:
    for index in range(4):
        Image.fromarray(np.full((32, 32), 50 * index, np.uint8)).save(tmp_path / f"{index}.png")
    run = train(tmp_path / "run", data__source=str(tmp_path), data__labels=False, train__length="64 images",
                evaluate__every=None)  # fmt: skip
    assert not any("@" in key for row in read_log(run / "log.jsonl") for key in row)


def test_a_damaged_best_model_is_replaced(digits: PackedDataset, tmp_path: Path) -> None:
    scorer = Scorer(Evaluate(n=120), digits, latent=4, seed=0, device=torch.device("cpu"))
    (tmp_path / "model.safetensors").write_bytes(b"half of a mod")
    assert scorer.is_best({scorer.label("fd"): 3.0}, tmp_path / "model.safetensors")


def test_the_word_fid_is_not_for_the_built_in_network() -> None:
    with pytest.raises(ConfigError, match=r"fid, by the inception network, is too costly .*\. Choose from fd, kid"):
        check(Evaluate(metrics=("fid",), best="fd"), [])
