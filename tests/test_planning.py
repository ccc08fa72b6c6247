"""What is proposed for a set of images, each with its reason; and what is printed can be typed."""

import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ganloom import cli
from ganloom.config import Config, recipe_names, recipe_values
from ganloom.data.inspect import Findings, Sizes
from ganloom.planning import proposal, verbs
from ganloom.planning.proposal import Plan, choose_recipe, plan


@pytest.mark.parametrize(
    ("common", "uniform", "ratio", "recipe", "size"),
    [
        ((28, 28), True, 1.0, "dcgan-32", (28, 28)),
        ((32, 32), True, 1.0, "dcgan-32", (32, 32)),
        ((32, 24), True, 4 / 3, "dcgan-32", (32, 24)),
        ((64, 64), True, 1.0, "dcgan-64", (64, 64)),
        ((48, 64), True, 0.75, "dcgan-64", (48, 64)),
        ((65, 65), True, 1.0, "dcgan-64", None),  # the recipe's own size
        ((512, 512), True, 1.0, "dcgan-64", None),
        ((512, 500), False, 1.02, "dcgan-64", None),
        ((480, 640), True, 0.75, "dcgan-64", (48, 64)),
        ((640, 480), False, 1.3, "dcgan-64", (64, 48)),
        ((300, 900), False, 1 / 3, "dcgan-64", (24, 64)),
        ((40, 80), False, 0.5, "dcgan-32", (16, 32)),
        ((100, 1000), True, 0.1, "dcgan-64", None),
        ((480, 640), False, None, "dcgan-64", None),
    ],
)
def test_recipe_and_size_follow_from_the_images(
    common: tuple[int, int], uniform: bool, ratio: float | None, recipe: str, size: tuple[int, int] | None
) -> None:
    assert choose_recipe(Sizes(common, uniform, ratio)) == (recipe, size)


@pytest.mark.parametrize("height", [16, 32, 47, 48, 64, 200, 1000])
@pytest.mark.parametrize("width", [16, 30, 48, 64, 300, 2000])
def test_every_size_proposed_can_be_trained(height: int, width: int) -> None:
    for uniform in (True, False):
        recipe, size = choose_recipe(Sizes((height, width), uniform, height / width))
        assert recipe in recipe_names()
        config = Config.build(recipe_values(recipe), {} if size is None else {"data.size": size})
        assert config.data.size is None or min(config.data.size) >= 8


@pytest.fixture(autouse=True)
def measured_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds of training, in no time: 1,000 images a second."""
    monkeypatch.setattr(proposal.timing, "images_per_minute", lambda *arguments: 60_000.0)


def findings(size: tuple[int, int] = (32, 32), count: int = 500, **given: Any) -> Findings:
    values: dict[str, Any] = {"splits": Counter(train=count), "sizes": Counter({size: count}), "is_grey": False}
    return Findings("in", [], 0, **(values | given))


def reason(made: Plan, what: str) -> tuple[str, str]:
    return next((value, why) for name, value, why in made.reasons if name == what)


def test_every_decision_has_its_reason() -> None:
    made = plan(findings(), "cpu")
    assert [what for what, _, _ in made.reasons][:5] == ["size", "channels", "recipe", "batch", "micro-batch"]
    assert all(value and why for _, value, why in made.reasons)
    assert made.recipe == "dcgan-32"
    assert reason(made, "size") == ("32x32", "their own size, nothing is lost")
    assert reason(made, "time")[0] == "1.0 s a kimg"


@pytest.mark.parametrize(
    ("size", "said", "words"),
    [
        ((512, 512), "64x64", "square"),
        ((480, 640), "48x64", "ratio is kept"),
        ((28, 28), "28x28", "nothing is lost"),
        ((100, 1000), "64x64", "cut"),
    ],
)
def test_the_reason_for_the_size_is_true(size: tuple[int, int], said: str, words: str) -> None:
    value, why = reason(plan(findings(size), "cpu"), "size")
    assert value == said and words in why


@pytest.mark.parametrize(("grey", "channels"), [(True, "1"), (False, "3")])
def test_channels_are_those_of_the_images(grey: bool, channels: str) -> None:
    assert reason(plan(findings(is_grey=grey), "cpu"), "channels")[0] == channels


@pytest.mark.parametrize(
    ("given", "mirror"),
    [
        ({}, True),
        ({"count": 5000}, False),  # enough images
        ({"is_grey": True}, False),  # a heart has a side
        ({"asymmetry": 0.5}, False),  # left and right differ
    ],
)
def test_images_are_mirrored_only_where_it_helps_and_does_no_harm(given: dict[str, Any], mirror: bool) -> None:
    made = plan(findings(**given), "cpu")
    assert made.settings.get("data.mirror", False) is mirror
    assert reason(made, "mirror")[0] == ("on" if mirror else "off")


def test_with_little_memory_the_micro_batch_shrinks_and_the_batch_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    free: dict[str, float] = {"bytes": 2.0**40}
    monkeypatch.setattr(proposal, "_free_memory", lambda device: free["bytes"])
    whole = plan(findings((64, 64)), "cpu")
    batch = int(reason(whole, "batch")[0])
    assert "train.micro_batch" not in whole.settings
    assert "fits" in reason(whole, "micro-batch")[1]
    sizes = []
    for free["bytes"] in (2.0**29, 2.0**28, 2.0**27, 2.0**20):
        made = plan(findings((64, 64)), "cpu")
        sizes.append(made.settings.get("train.micro_batch", batch))
        assert reason(made, "batch")[0] == str(batch)
        assert reason(made, "micro-batch")[0] == str(sizes[-1])
        assert batch % sizes[-1] == 0
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 2 < sizes[0]
    assert "would not fit" in reason(made, "micro-batch")[1]


def test_more_images_a_forward_pass_need_more_memory() -> None:
    made = [plan(findings(size), "cpu") for size in ((32, 32), (64, 64))]
    needed = [float(reason(each, "micro-batch")[1].split(" need ")[1].split()[0].replace(",", "")) for each in made]
    assert 10 < needed[0] < needed[1]


@pytest.mark.parametrize(
    "name", ["in", "two words", "it's", "$HOME", "a;b", "a*b", 'quo"te', "日本", "digits:x", "#1", "back\\slash"]
)
@pytest.mark.parametrize("size", [(28, 28), (480, 640)])
def test_what_is_printed_can_be_typed(
    tmp_path: Path, name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "1.png")
    monkeypatch.setattr(proposal, "_free_memory", lambda device: 2.0**24)
    made = plan(findings(size), "cpu")
    words = shlex.split(made.command(str(folder)))
    assert words[:2] == ["ganloom", "train"]
    called: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(verbs, "train", lambda data, **rest: called.append((data, rest)))
    result = CliRunner().invoke(cli.app, words[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    [(data, given)] = called
    assert data == str(folder)
    assert given["recipe"] == made.recipe
    typed = Config.build(recipe_values(made.recipe), given["settings"])
    assert typed == Config.build(recipe_values(made.recipe), made.settings)
    assert typed.data.mirror and typed.train.micro_batch == made.settings["train.micro_batch"]


def test_the_plan_is_what_train_would_choose_by_itself() -> None:
    made = plan(findings((480, 640)), "cpu")
    recipe, size = choose_recipe(Sizes((480, 640), True, 0.75))
    assert (made.recipe, made.settings["data.size"]) == (recipe, size)
