"""Whatever is trained, and wherever it is stopped: going on from a checkpoint is exact to the bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

import ganloom
from comparison import log_of, state_of
from conftest import tiny_config
from ganloom.data.packed import PackedDataset
from ganloom.objectives import losses, penalties
from ganloom.training.step import AdversarialStep
from stepping import OFF, saved_and_restored, state, tiny

pytestmark = pytest.mark.slow

STEPS = 4
BATCH = 4  # images a step, unless a case has more
SMALL = {"train__batch": BATCH, "train__d_updates": 1}
GROWING = {"net": "progressive", "loss": "wasserstein", "penalties": {**OFF, "wgan_gp": {"weight": 10}}}
SPECTRAL = {"net": "resnet", "net__g": {"width": 8, "spectral": True}, "loss": "hinge", "penalties": OFF}
RMSPROP = {"name": "rmsprop", "lr": 1e-3, "beta2": 0.9}

CASES: dict[str, tuple[dict[str, Any], int]] = {  # settings, and the steps before the checkpoint
    "mlp": ({"net": "mlp"}, 2),
    "dcgan with batch norm": ({"net__d__norm": "batch", "penalties": OFF}, 2),
    "spectral norm in d": ({"net__d__norm": "spectral"}, 2),
    "spectral norm in both": (SPECTRAL, 2),
    "attention": ({**SPECTRAL, "net__g__attention": 16, "net__d__attention": 16, "optimizer__g": RMSPROP}, 3),
    "biggan": (
        {**SPECTRAL, "net__g__shared_embedding": 8, "net__g__hierarchical": True, "net__g__orthogonal": True},
        2,
    ),
    "resnet without labels": ({**SPECTRAL, "data__labels": False}, 2),
    "growing, still held": ({**GROWING, "growth": {"hold": "32 images", "fade": "16 images"}}, 2),
    "growing, before new layers begin": ({**GROWING, "growth": {"hold": "4 images", "fade": "16 images"}}, 2),
    "growing, after new layers began": ({**GROWING, "growth": {"hold": "4 images", "fade": "16 images"}}, 3),
    "growing, in the middle of a fade": ({**GROWING, "growth": {"hold": "4 images", "fade": "32 images"}}, 3),
    "growing, at once": ({**GROWING, "growth": {"hold": "8 images", "fade": "0 images"}}, 3),
    "growing, with decay": (
        {**GROWING, "growth": {"hold": "0 images", "fade": "10 images"}, "optimizer__d__name": "adamw",
         "optimizer__d__weight_decay": 0.1},
        3,
    ),
    "rmsprop and clipped weights": (
        {"loss": "wasserstein", "optimizer": {"g": RMSPROP, "d": {**RMSPROP, "clip_weights": 0.01}}, "penalties": OFF},
        2,
    ),
    "diffaugment": ({"augment": "diffaugment", "loss": "relativistic"}, 2),
    "diffaugment, several updates, accumulation": (
        {"augment": "diffaugment", "train__d_updates": 2, "train__micro_batch": 2, "train__batch_g": 6}, 2,
    ),
    "an auxiliary classifier, lazily": (
        {"net__d__labels": "classifier", "penalties__auxiliary_classifier": {"weight": 1, "interval": 3}}, 2,
    ),
    "lazy parts of both networks": (
        {"train__d_updates": 2, "penalties": {"r1": {"weight": 1, "interval": 3},
                                              "feature_matching": {"weight": 1, "interval": 2}}},
        3,
    ),
    "bf16": ({"train__precision": "bf16", "augment": "diffaugment"}, 2),
}  # fmt: skip
STYLES = {"net": {"name": "stylegan2", "latent": 8, "g": {"width": 8, "mapping": 2}, "d": {"width": 8, "mapping": 2}}}
CASES |= {
    "styles, mixed, with noise": ({**STYLES, "penalties": {**OFF, "path_length": {"weight": 2, "interval": 2}}}, 2),
    "r3gan and its burn-in": (
        {"net": {"name": "r3gan", "g": {"width": 8}, "d": {"width": 8}}, "loss": "relativistic",
         "burn_in": {"share": 0.02, "lr": 4, "beta2": 0.9, "penalties": 10, "half_life": 0, "augment": 0},
         "augment": {"name": "ada", "p": 0.5, "target": None}},
        2,
    ),
    "ada in bf16": ({"augment": {"name": "ada", "p": 0.5, "target": None}, "train__precision": "bf16"}, 2),
    "ada": ({"augment": {"name": "ada", "target": 0.1, "kimg": 1}}, 2),
}  # fmt: skip
CASES |= {f"loss {name}": ({"net": "mlp", "loss": name}, 2) for name in losses.__all__}
CASES |= {
    f"penalty {name}": (
        {
            **(STYLES if name == "path_length" else {"net": "mlp"}),
            "penalties": {**OFF, name: {"weight": 1, "interval": 2}},
            **({"net__d__labels": "classifier"} if name == "auxiliary_classifier" else {}),
        },
        3,
    )
    for name in penalties.__all__
}


def advanced(step: AdversarialStep, steps: int) -> list[dict[str, float]]:
    return [
        {name: value.item() for name, value in step.advance(measure=index % 2 == 0).items()} for index in range(steps)
    ]


@pytest.mark.parametrize("case", CASES)
def test_going_on_is_exact(digits: PackedDataset, tmp_path: Path, case: str) -> None:
    settings, before = CASES[case]
    whole = tiny(digits, **{**SMALL, **settings})
    advanced(whole, before)
    again = saved_and_restored(whole, digits, tmp_path)
    assert again.nimg == whole.nimg
    expected = advanced(whole, STEPS - before)
    torch.randn(7)  # another process has drawn other things
    assert advanced(again, STEPS - before) == expected
    for step in (whole, again):
        step.ema.refresh(0, step.config.net.latent, 16, step.stream.labels)
    ours, theirs = state(again), state(whole)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert {tensor.dtype for tensor in ours.values()} == {tensor.dtype for tensor in theirs.values()}


def test_the_cases_are_where_they_say_they_are(digits: PackedDataset) -> None:
    """Otherwise none of them would be in the middle of a fade."""
    levels = {}
    for case, (settings, before) in CASES.items():
        if case.startswith("growing"):
            growth = tiny(digits, **{**SMALL, **settings}).growth
            assert growth is not None
            levels[case] = [growth.level(BATCH * step) for step in (before - 1, before)]
    assert levels == {
        "growing, still held": [0, 0],
        "growing, before new layers begin": [0, 0.25],
        "growing, after new layers began": [0.25, 0.5],
        "growing, in the middle of a fade": [0.125, 0.25],
        "growing, at once": [0, 1],
        "growing, with decay": [0.8, 1.2],
    }


def test_a_run_that_grows_is_resumed_in_a_fade_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    """Through the doors that a person uses: checkpoints, log with its levels, pictures, model."""
    growing = {"net": "progressive", "growth": {"hold": "32 images", "fade": "96 images"}, "train__batch": 16}

    def settings(length: str) -> dict[str, Any]:
        return tiny_config(**growing, train__length=length, log__every="48 images").model_dump(exclude_none=True)

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    ganloom.train(out=whole, device="cpu", settings=settings("240 images"))
    ganloom.train(out=stopped, device="cpu", settings=settings("96 images"))
    ganloom.resume(stopped, length="240 images", device="cpu")
    assert state_of(whole).keys() == state_of(stopped).keys()
    assert all(torch.equal(tensor, state_of(stopped)[name]) for name, tensor in state_of(whole).items())
    assert (whole / "model.safetensors").read_bytes() == (stopped / "model.safetensors").read_bytes()
    assert log_of(stopped) == log_of(whole)
    # A row tells of the step that ended there: its level is that of sixteen images before.
    assert {row["nimg"]: row["level"] for row in log_of(whole)} == pytest.approx(
        {16: 0, 48: 0, 96: 48 / 96, 144: 1, 192: 1 + 16 / 96, 240: 1 + 64 / 96}
    )
