"""Settings that cannot work are refused with the remedy before there is a run folder; no recipe is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganloom
from conftest import tiny_config
from ganloom import nets
from ganloom.config import Config, recipe_names, recipe_values
from ganloom.core.errors import ConfigError
from ganloom.core.shapes import ImageShape
from ganloom.data.packed import PackedDataset
from ganloom.nets.contract import Judgement
from ganloom.training import assembly
from ganloom.training.compatibility import IMAGES, refuse
from ganloom.training.step import AdversarialStep
from stepping import OFF, Noise, make, tiny

GROWTH = {"hold": "1 kimg", "fade": "1 kimg"}
WGAN_GP = {**OFF, "wgan_gp": {"weight": 10}}
CLASSIFIER = {**OFF, "auxiliary_classifier": {"weight": 1}}

REFUSED: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {  # settings, the message, the remedy
    "a gradient penalty with BatchNorm in D": (
        {"net__d__norm": "batch", "penalties": WGAN_GP},
        "D's gradient at each image is constrained by wgan_gp, but D's BatchNorm mixes the images of a batch: "
        "set net.d.norm=none (or spectral, or layer).",
        {"net__d__norm": "layer"},
    ),
    "two penalties with BatchNorm in D": (
        {
            "net__d__norm": "batch",
            "penalties": {"r1": {"weight": 1}, "wgan_gp": {"weight": 10}, "dragan": {"weight": 10}},
        },
        "constrained by dragan and wgan_gp, but",
        {"net__d__norm": "spectral"},
    ),
    "a gradient penalty with DCGAN's layers in a network that grows": (
        {"net": "progressive", "net__g__blocks": "dcgan", "net__d__blocks": "dcgan", "penalties": WGAN_GP},
        "D's gradient at each image is constrained by wgan_gp, but D's BatchNorm mixes the images of a batch: "
        "set net.d.norm=none (or layer).",
        {"net__d__norm": "none"},
    ),
    "an augmentation that follows a sign without a meaning": (
        {"loss": "relativistic", "augment": "ada"},
        "relativistic trains D on differences only, but an adaptive augmentation follows the sign of D's logits: "
        "set augment.target=null and augment.p=0.3.",
        {"augment": {"name": "ada", "target": None, "p": 0.3}},
    ),
    "an auxiliary classifier without labels": (
        {"data__labels": False, "net__d__labels": "classifier", "penalties": CLASSIFIER},
        "penalty 'auxiliary_classifier' needs labels: train with data.labels=true.",
        {"data__labels": True},
    ),
    "a classifier without labels": (
        {"data__labels": False, "net__d__labels": "classifier"},
        "net.d.labels=classifier needs labels: set data.labels=true, or net.d.labels=projection.",
        {"net__d__labels": "projection"},
    ),
    "a Wasserstein loss whose D is not bounded": (
        {"loss": "wasserstein", "penalties": OFF},
        "wasserstein needs a D whose slope is bounded: set penalties.wgan_gp.weight=10, or "
        "optimizer.d.clip_weights=0.01, or use the recipe wgan-gp-32 or wgan-32.",
        {"optimizer__d__clip_weights": 0.01},
    ),
    "an auxiliary classifier's penalty without the classifier": (
        {"penalties": CLASSIFIER},
        "penalty 'auxiliary_classifier': D has no classifier: set net.d.labels=classifier.",
        {"net__d__labels": "classifier"},
    ),
    "a classifier that nothing trains": (
        {"net__d__labels": "classifier"},
        "net.d.labels=classifier, but nothing trains the classifier: "
        "set penalties.auxiliary_classifier.weight=1, or net.d.labels=projection.",
        {"penalties__auxiliary_classifier__weight": 1},
    ),
    "a classifier that is trained with a weight of 0": (
        {"net__d__labels": "classifier", "penalties__auxiliary_classifier__weight": 0},
        "or net.d.labels=projection.",
        {"net__d__labels": "projection"},
    ),
    "growth of a network that does not grow": (
        {"growth": GROWTH},
        "dcgan does not grow: set net=progressive, or growth=null.",
        {"growth": None},
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_cannot_work_are_refused_before_there_is_a_run(tmp_path: Path, case: str) -> None:
    settings, message, _ = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        ganloom.train(
            out=tmp_path / "run", device="cpu", settings=tiny_config(**settings).model_dump(exclude_none=True)
        )
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", REFUSED)
def test_the_remedy_works(digits: PackedDataset, case: str) -> None:
    settings, _, remedy = REFUSED[case]
    refuse(tiny(digits, **{**settings, **remedy}))


def test_a_network_that_grows_is_the_other_remedy(digits: PackedDataset) -> None:
    refuse(tiny(digits, growth=GROWTH, net="progressive"))


@pytest.mark.parametrize("norm", ["layer", "none", "spectral"])
@pytest.mark.parametrize("penalty", ["r1", "r2", "wgan_gp", "dragan"])
def test_penalties_that_differentiate_work_with_every_norm_of_one_image(
    digits: PackedDataset, penalty: str, norm: str
) -> None:
    refuse(tiny(digits, penalties={**OFF, penalty: {"weight": 1}}, net__d__norm=norm))


@pytest.mark.parametrize(
    "penalties", [OFF, *({**OFF, name: {"weight": 1}} for name in ("drift", "feature_matching", "r1", "r2"))]
)
def test_batch_norm_in_d_works_with_penalties_that_have_no_target_for_each_image(
    digits: PackedDataset, penalties: dict[str, Any]
) -> None:
    refuse(tiny(digits, penalties=penalties, net__d__norm="batch"))


def test_a_penalty_of_weight_0_requires_nothing(digits: PackedDataset) -> None:
    off = {**OFF, "wgan_gp": {"weight": 0}, "auxiliary_classifier": {"weight": 0}}
    refuse(tiny(digits, penalties=off, net__d__norm="batch", data__labels=False))


def test_batch_norm_over_a_vector_in_d_needs_two_images(digits: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*arguments: Any) -> nn.Module:
        D = nets.build_discriminator(*arguments)
        D.vector = nn.BatchNorm1d(8)
        return D

    monkeypatch.setattr(assembly, "nets", SimpleNamespace(**vars(nets) | {"build_discriminator": build}))
    with pytest.raises(ConfigError, match="use a micro-batch of 2 or more"):
        tiny(digits, train__micro_batch=1)
    tiny(digits, train__micro_batch=2)


# Freezing


@pytest.mark.parametrize(("network", "stages"), [("g", 4), ("d", 4)])
def test_freezing_everything_is_refused_with_the_largest_number_that_works(
    digits: PackedDataset, network: str, stages: int
) -> None:
    refuse(tiny(digits, start={"model": "runs/before", f"freeze_{network}": stages - 1}))
    for count in (stages, stages + 9):
        with pytest.raises(ConfigError) as caught:
            tiny(digits, start={"model": "runs/before", f"freeze_{network}": count})
        assert str(caught.value) == (
            f"start.freeze_{network}={count} leaves none of {stages} stages to learn: give at most {stages - 1}."
        )


# Networks of the user's own


class Brittle(torch.autograd.Function):
    """An operation without a second derivative."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(context: Any, slope: Tensor) -> Tensor:
        return slope * 2


class Own(nn.Module):
    """A network that returns what a function makes of the output of a layer that learns."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(32 * 32, 1, bias=False)
        self.made = made

    def forward(self, x: Tensor, y: Tensor | None) -> Any:
        return self.made(self.layer(x.flatten(1)).flatten())


def with_d(dataset: PackedDataset, made: Any, **settings: Any) -> AdversarialStep:
    step = tiny(dataset, **settings)
    step.D = step.d.net = Own(made)
    return step


def test_a_network_without_the_second_derivative_that_a_penalty_needs_is_refused(digits: PackedDataset) -> None:
    brittle = with_d(digits, lambda logits: Judgement(Brittle.apply(logits).square()))
    with pytest.raises(
        ConfigError, match=r"dcgan cannot be trained with the penalty r1 \(.*\): use another penalty, or another net\."
    ):
        refuse(brittle)
    refuse(with_d(digits, lambda logits: Judgement(Brittle.apply(logits).square()), penalties=OFF))
    refuse(with_d(digits, lambda logits: Judgement((logits * 2).square())))


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (lambda logits: logits, rf"a tensor \[{IMAGES}\]"),
        (lambda logits: Judgement(logits[:, None]), rf"a tensor \[{IMAGES}, 1\]"),
        (lambda logits: Judgement(logits.mean()), r"a tensor \[\]"),
        (lambda logits: (logits,), "something of type tuple"),
    ],
    ids=["bare logits", "a column", "one for all", "a tuple"],
)
def test_the_error_for_another_output_of_d_says_what_is_expected(digits: PackedDataset, made: Any, found: str) -> None:
    expected = rf"D of dcgan returns {found}, but a Judgement with logits \[{IMAGES}\] is expected"
    with pytest.raises(ConfigError, match=expected):
        refuse(with_d(digits, made))


def test_the_error_for_another_shape_of_images_says_what_is_expected(digits: PackedDataset) -> None:
    step = tiny(digits)
    step.g.net = nn.Module()
    step.g.net.forward = lambda z, y: torch.zeros(IMAGES, 3, 32, 32)  # type: ignore[method-assign]
    of, wanted = rf"\[{IMAGES}, 3, 32, 32\]", rf"\[{IMAGES}, 1, 32, 32\]"
    with pytest.raises(ConfigError, match=f"G of dcgan returns a tensor {of}, but images {wanted} are expected"):
        refuse(step)


# Recipes

NARROW = {"net.g.width": 8, "net.d.width": 8, "train.batch": 4, "train.length": "1 kimg"}


@pytest.mark.slow
@pytest.mark.parametrize("labels", [False, True], ids=["as it is", "with labels"])
@pytest.mark.parametrize("name", recipe_names())
def test_no_recipe_is_refused_and_each_takes_a_step(name: str, labels: bool) -> None:
    config = Config.build(recipe_values(name), NARROW | ({"data.labels": True} if labels else {}))
    assert config.data.size is not None
    step = make(config, Noise(ImageShape(config.data.channels or 3, *config.data.size)))
    refuse(step)
    stats = step.advance(measure=True)
    assert all(value.isfinite() for value in stats.values())
    due = [name for name, penalty in config.penalties.items() if penalty.weight != 0 and name != "feature_matching"]
    assert {f"penalty_{name}" for name in due} <= set(stats)
