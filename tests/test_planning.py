"""What is proposed for a set of images, each with its reason; and what is printed can be typed."""

import shlex
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ganloom import cli
from ganloom.api import proposal, training
from ganloom.api.proposal import propose
from ganloom.config import Config, merge, nested, recipe_names, recipe_values
from ganloom.core.errors import ConfigError
from ganloom.core.flags import FLAGS, settings_of
from ganloom.core.lengths import Length
from ganloom.data.inspect import Findings, Sizes
from ganloom.planning import defaults
from ganloom.planning.defaults import SHORT_AVERAGE, Case, Defaults, choose_recipe, derive


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


@pytest.mark.parametrize(
    ("wanted", "recipe"), [(16, "dcgan-32"), (32, "dcgan-32"), (48, "dcgan-64"), (128, "dcgan-64")]
)
@pytest.mark.parametrize("common", [(28, 28), (480, 640)])
def test_the_recipe_is_that_for_the_size_that_was_asked_for(common: tuple[int, int], wanted: int, recipe: str) -> None:
    for size in (wanted, f"{wanted}x{wanted}", (wanted, wanted)):
        made = derive(Case(Sizes(common, True, 1.0), 1000, 0, torch.device("cpu"), {"data.size": size}))
        assert made.recipe == recipe


@pytest.mark.parametrize("height", [16, 32, 47, 48, 64, 200, 1000])
@pytest.mark.parametrize("width", [16, 30, 48, 64, 300, 2000])
def test_every_size_proposed_can_be_trained(height: int, width: int) -> None:
    for uniform in (True, False):
        recipe, size = choose_recipe(Sizes((height, width), uniform, height / width))
        assert recipe in recipe_names()
        config = Config.build(recipe_values(recipe), {} if size is None else {"data.size": size})
        assert config.data.size is None or min(config.data.size) >= 8


@pytest.fixture(autouse=True)
def a_machine_with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds, and so the rules, depend on it; the machine that runs the tests may lack it."""
    monkeypatch.setattr(defaults, "computes_in_bf16", lambda device: True)


@pytest.fixture(autouse=True)
def measured_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds of training, in no time: 1,000 images a second."""
    monkeypatch.setattr(proposal, "images_per_minute", lambda *arguments: 60_000.0)
    monkeypatch.setattr(training, "measure_costs", lambda *arguments: [])  # tests/api/test_costs.py measures them


def findings(size: tuple[int, int] = (32, 32), count: int = 500, **given: Any) -> Findings:
    values: dict[str, Any] = {"splits": Counter(train=count), "sizes": Counter({size: count}), "is_grey": False}
    return Findings("in", [], 0, **(values | given))


def reason(made: Defaults, what: str) -> tuple[str, str]:
    return next((value, why) for name, value, why in made.reasons if name == what)


@pytest.mark.slow
def test_every_decision_has_its_reason() -> None:
    made = propose(findings(), "cpu")
    assert {what for what, _, _ in made.reasons} >= {"size", "recipe", "width", "batch", "channels", "micro-batch"}
    assert all(value and why for _, value, why in made.reasons)
    assert made.recipe == "dcgan-32"
    assert reason(made, "size") == ("32x32", "their own size, nothing is lost")
    time, why = reason(made, "time")
    assert time == "1.0 s per kimg" and why.endswith("1,000 images/s; 400 kimg take about 7 minutes")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "said", "words"),
    [
        ((512, 512), "64x64", "square"),
        ((480, 640), "48x64", "keeps their aspect ratio"),
        ((28, 28), "28x28", "nothing is lost"),
        ((100, 1000), "64x64", "cropped"),
    ],
)
def test_the_reason_for_the_size_is_true(size: tuple[int, int], said: str, words: str) -> None:
    value, why = reason(propose(findings(size), "cpu"), "size")
    assert value == said and words in why


@pytest.mark.slow
@pytest.mark.parametrize(("grey", "channels"), [(True, "1"), (False, "3")])
def test_channels_are_those_of_the_images(grey: bool, channels: str) -> None:
    assert reason(propose(findings(is_grey=grey), "cpu"), "channels")[0] == channels


@pytest.mark.slow
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
    made = propose(findings(**given), "cpu")
    assert made.settings.get("data.mirror", False) is mirror
    assert reason(made, "mirror")[0] == ("on" if mirror else "off")


@pytest.mark.slow
def test_with_little_memory_the_micro_batch_shrinks_and_the_batch_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    free: dict[str, float] = {"bytes": 2.0**40}
    monkeypatch.setattr(proposal, "_free_memory", lambda device: free["bytes"])
    whole = propose(findings(), "cpu")
    batch = int(reason(whole, "batch")[0])
    assert "train.micro_batch" not in whole.settings
    assert "fits" in reason(whole, "micro-batch")[1]
    sizes = []
    for free["bytes"] in (2.0**26, 2.0**24, 2.0**20):
        made = propose(findings(), "cpu")
        sizes.append(made.settings.get("train.micro_batch", batch))
        assert reason(made, "batch")[0] == str(batch)
        assert reason(made, "micro-batch")[0] == str(sizes[-1])
        assert batch % sizes[-1] == 0
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 2 < sizes[0]
    assert "would not fit" in reason(made, "micro-batch")[1]


@pytest.mark.slow
def test_more_images_a_forward_pass_need_more_memory() -> None:
    made = [propose(findings(size), "cpu") for size in ((32, 32), (64, 64))]
    needed = [float(reason(each, "micro-batch")[1].split(" need ")[1].split()[0].replace(",", "")) for each in made]
    assert 1 < needed[0] < needed[1]


@cache
def planned_once(size: tuple[int, int]) -> Defaults:
    """The names of folders do not change it, and it takes seconds."""
    return propose(findings(size), "cpu")


@pytest.mark.slow
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
    made = planned_once(size)
    words = shlex.split(made.command(str(folder)))
    assert words[:2] == ["ganloom", "train"]
    called: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr("ganloom.train", lambda data, **rest: called.append((data, rest)))
    result = CliRunner().invoke(cli.app, words[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    [(data, given)] = called
    assert data == str(folder)
    assert given["recipe"] == made.recipe
    typed = Config.build(
        recipe_values(made.recipe), settings_of({name: given[name] for name in FLAGS}, given["settings"])
    )
    assert typed == Config.build(recipe_values(made.recipe), made.settings)
    assert typed.data.mirror and typed.train.micro_batch == made.settings["train.micro_batch"]


@pytest.mark.slow
def test_the_plan_is_what_train_would_choose_by_itself() -> None:
    made = propose(findings((480, 640)), "cpu", {"data.follow_links": True})
    derived = derive(case((480, 640), images=500))
    assert made.recipe == derived.recipe
    assert derived.settings.items() <= made.settings.items()
    assert set(made.reasons) >= set(derived.reasons)
    assert made.settings["data.follow_links"] is True


CPU, GPU = torch.device("cpu"), torch.device("cuda")


def case(
    size: tuple[int, int] = (32, 32),
    images: int | None = 5000,
    classes: int = 0,
    device: torch.device = CPU,
    **given: Any,
) -> Case:
    settings = {key.replace("__", "."): value for key, value in given.items()}
    return Case(Sizes(size, True, size[0] / size[1]), images, classes, device, settings)


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize("size", [(28, 28), (512, 512)])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("length", [None, "1 minutes", "900 minutes", "20 epochs"])
def test_every_derived_recipe_is_a_valid_one(
    device: torch.device, size: tuple[int, int], classes: int, length: str | None
) -> None:
    given = {"train__length": length} if length else {}
    made = derive(case(size, classes=classes, device=device, **given))
    config = Config.build(recipe_values(made.recipe), made.settings)
    assert "train.length" not in made.settings or length is None
    assert config.data.labels is (classes > 1)
    assert all(word and why for _, word, why in made.reasons)


@pytest.mark.parametrize(
    ("length", "size", "width"),
    [
        (None, (32, 32), defaults.NARROW),
        ("5 minutes", (32, 32), defaults.NARROW),
        ("60 minutes", (32, 32), defaults.WIDE),
        ("2 hours", (32, 32), defaults.WIDE),
        ("30 minutes", (64, 64), defaults.NARROW),  # a quarter of the images
        ("1 epochs", (32, 32), defaults.NARROW),
        ("1000 epochs", (32, 32), defaults.WIDE),
        ("499 kimg", (32, 32), defaults.NARROW),
        ("500 kimg", (32, 32), defaults.WIDE),
    ],
)
def test_longer_trainings_have_wider_networks(length: str | None, size: tuple[int, int], width: int) -> None:
    made = derive(case(size, **({"train__length": length} if length else {})))
    assert made.settings["net.g.width"] == made.settings["net.d.width"] == width


@pytest.mark.parametrize(("in_bf16", "width"), [(True, defaults.WIDE), (False, defaults.NARROW)])
def test_a_slower_cpu_keeps_to_narrow_networks_for_longer(
    in_bf16: bool, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "computes_in_bf16", lambda device: in_bf16)
    assert derive(case(train__length="15 minutes")).settings["net.d.width"] == width


def test_what_a_person_says_stands_and_other_rules_heed_it() -> None:
    made = derive(case(train__batch=128, optimizer__g__lr=1e-4))
    assert not {"train.batch", "optimizer.g.lr"} & set(made.settings)
    assert made.settings["optimizer.d.lr"] == 2e-4  # as published, for a batch of that size
    assert reason(made, "batch") == ("128", "your setting")
    assert reason(derive(case(classes=2, data__labels=True)), "labels") == ("true", "your setting")
    assert derive(case(train__batch=8)).settings["optimizer.d.lr"] == defaults.FAST
    large = derive(case((512, 512), train__length="30 minutes", data__size="32"))
    assert large.settings["net.g.width"] == defaults.WIDE and reason(large, "size") == ("32", "your setting")
    other = derive(case(net__g__width=48))
    assert "net.g.width" not in other.settings and other.settings["net.d.width"] == defaults.NARROW


@pytest.mark.parametrize("given", [{"net": "mlp"}, {"net": {"name": "mlp"}}, {"net__name": "mlp"}])
def test_for_another_network_nothing_is_derived_but_the_size(given: dict[str, Any]) -> None:
    assert derive(case((28, 28), classes=2, **given)).settings == {"data.size": (28, 28)}


@pytest.mark.parametrize(
    ("classes", "images", "labels"),
    [(0, 5000, "off"), (1, 5000, "off"), (10, 5000, "on"), (11, 5000, "off"), (10, 50_000, "on"), (10, None, "on")],
)
def test_labels_are_used_where_each_class_has_images(classes: int, images: int | None, labels: str) -> None:
    assert reason(derive(case(classes=classes, images=images)), "labels")[0] == labels


@pytest.mark.parametrize(
    ("images", "given", "augment"),
    [
        (1000, {}, "ada"),
        (1000, {"train__length": "79 epochs"}, "none"),
        (1000, {"train__length": "80 epochs"}, "ada"),
        (50_000, {}, "none"),
        (50_000, {"train__length": "2 hours"}, "none"),
        (25_000, {"train__length": "2 hours"}, "ada"),
        (25_000, {"train__length": "2 hours", "data__size": "64"}, "none"),  # it sees fewer of them
        (None, {}, "none"),
        (1000, {"loss": "hinge"}, "none"),
        (1000, {"data__classes": [0]}, "none"),  # who knows how many are left
        (1000, {"device": GPU}, "ada"),
        (1000, {"device": GPU, "train__length": "5 minutes"}, "none"),  # who knows how fast it is
        (50_000, {"device": GPU}, "none"),
    ],
)
def test_images_that_are_seen_often_are_augmented(images: int | None, given: dict[str, Any], augment: str) -> None:
    made = derive(case(images=images, **given))
    assert reason(made, "augment")[0] == augment
    config = Config.build(recipe_values(made.recipe), made.settings)
    assert (config.augment.name if config.augment else "none") == augment


@pytest.mark.parametrize("images", [1000, 50_000])
@pytest.mark.parametrize(
    ("key", "value", "word"),
    [("augment", None, "null"), ("augment", "diffaugment", "diffaugment"), ("augment.name", "ada", "ada")],
)
def test_an_augmentation_that_a_person_chose_or_refused_stands(images: int, key: str, value: Any, word: str) -> None:
    made = derive(Case(Sizes((32, 32), True, 1.0), images, 0, CPU, {key: value, "loss": "hinge"}))
    assert "augment.name" not in made.settings and reason(made, "augment") == (word, "your setting")


def test_derived_ada_can_be_tuned() -> None:
    made = derive(case(images=1000, augment__p=0.3, augment__target=None))
    given = {"augment.p": 0.3, "augment.target": None}
    config = Config.build(merge(recipe_values(made.recipe), nested(made.settings)), given)
    assert config.augment is not None and config.augment.name == "ada"
    assert config.augment.options == {"p": 0.3, "target": None}


@pytest.mark.parametrize(
    ("size", "half_life"),
    [((32, 32), Length(10, "kimg")), ((64, 64), SHORT_AVERAGE), ((300, 200), SHORT_AVERAGE)],
)
def test_larger_images_have_a_shorter_average(size: tuple[int, int], half_life: Length) -> None:
    made = derive(case(size))
    assert Config.build(recipe_values(made.recipe), made.settings).ema.half_life == half_life


@pytest.mark.parametrize(
    ("size", "given", "word"),
    [
        ((32, 32), {"ema__ramp_up": 0.1}, "0.1"),
        ((64, 64), {"ema__ramp_up": 0.1}, "0.1"),
        ((64, 64), {"ema__half_life": "1 kimg"}, "1 kimg"),
    ],
)
def test_an_average_that_a_person_chose_stands(size: tuple[int, int], given: dict[str, Any], word: str) -> None:
    made = derive(case(size, **given))
    assert reason(made, "average") == (word, "your setting")
    assert not [each for each in made.settings if each.startswith("ema.")]


@pytest.mark.parametrize(
    ("trained", "weight"), [((64, 64), 0.1), ((32, 32), 0.025), ((28, 28), 0.019), ((48, 64), 0.075)]
)
def test_larger_images_have_a_larger_r1(trained: tuple[int, int], weight: float) -> None:
    made = derive(case((300, 200), data__size=trained))
    assert made.settings["penalties.r1.weight"] == weight and f"{weight}" in reason(made, "penalty")[0]
    assert made.settings["penalties.r1.interval"] == defaults.R1_EVERY


def test_a_weight_of_ones_own_for_r1_keeps_the_interval() -> None:
    made = derive(case(penalties__r1__weight=0.5))
    assert [key for key in made.settings if key.startswith("penalties")] == ["penalties.r1.interval"]
    assert reason(made, "penalty")[0] == "r1, 0.5"


def test_a_weight_of_0_is_no_r1() -> None:
    made = derive(case(penalties__r1__weight=0))
    assert not any(key.startswith("penalties") for key in made.settings)
    assert reason(made, "penalty") == ("none", defaults.AS_YOU_SAY)


@pytest.mark.parametrize("other", [{"loss": "hinge"}, {"net__d__norm": "spectral"}, {"penalties__drift__weight": 1}])
def test_r1_that_a_person_asks_for_beside_others_is_as_lazy(other: dict[str, Any]) -> None:
    """As the reason why there is none advises."""
    made = derive(case(penalties__r1__weight=0.1, **other))
    assert made.settings["penalties.r1.interval"] == defaults.R1_EVERY
    assert reason(made, "penalty")[0] == "r1, 0.1"


def test_the_loss_that_it_is_anyway_keeps_r1() -> None:
    for given in ({"loss": "bce"}, {"loss__label_smoothing": 0.1}):
        assert derive(case(**given)).settings["penalties.r1.weight"] == 0.025


def test_what_a_person_says_of_r1_is_what_is_explained() -> None:
    assert "every 4 updates" in reason(derive(case(penalties__r1__interval=4)), "penalty")[1]
    assert reason(derive(case(penalties__r1__weight=None)), "penalty")[0] == "r1, by StyleGAN2's rule"


def test_images_of_their_own_size_have_the_r1_of_it() -> None:
    assert derive(case((256, 256), data__size=None)).settings["penalties.r1.weight"] == 1.6


def test_on_gpus_no_penalty_is_derived_where_nothing_was_measured() -> None:
    assert not [key for key in derive(case(device=GPU)).settings if key.startswith("penalties")]


@pytest.mark.parametrize(
    "given", [{"loss": "hinge"}, {"penalties__drift__weight": 1}, {"penalties": None}, {"net__d__norm": "none"}]
)
def test_a_person_who_chooses_a_loss_or_penalties_has_no_other(given: dict[str, Any]) -> None:
    made = derive(case(**given))
    assert reason(made, "penalty")[0] == "none"
    assert not [key for key in made.settings if key.startswith("penalties")]


@pytest.mark.parametrize(("trained", "key"), [("32", "ema.ramp_up"), ("64", "ema.half_life")])
def test_the_average_goes_by_the_size_that_is_trained(trained: str, key: str) -> None:
    for own in ((16, 16), (300, 200)):
        made = derive(case(own, data__size=trained)).settings
        assert [each for each in made if each.startswith("ema.")] == [key]


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16"), (False, "fp32")])
def test_bf16_is_for_cpus_that_compute_in_it(monkeypatch: pytest.MonkeyPatch, has: bool, precision: str) -> None:
    monkeypatch.setattr(defaults, "computes_in_bf16", lambda device: has)
    assert derive(case()).settings["train.precision"] == precision
    assert derive(case(device=GPU)).settings["train.precision"] == "auto"


def folder_of_images(folder: Path, count: int = 8) -> Path:
    folder.mkdir()
    for index in range(count):
        Image.fromarray(np.full((32, 32), index * 20, np.uint8)).save(folder / f"{index}.png")
    return folder


def test_explain_says_what_train_would_do_and_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = folder_of_images(tmp_path / "in")
    begun: list[Config] = []
    arguments = ["train", str(images), "--length", "900 minutes", "--set", "seed=7", "--batch", "8"]
    explained = CliRunner().invoke(cli.app, [*arguments, "--explain"], catch_exceptions=False).output
    assert not (tmp_path / "runs").exists()
    assert f"width        {defaults.WIDE}" in explained
    assert "batch        8              your setting" in explained
    assert "seed         7              your setting" in explained
    of_average = CliRunner().invoke(cli.app, [*arguments, "--set", "ema.ramp_up=0.1", "--explain"]).output
    assert of_average.count("your setting") == explained.count("your setting") + 1 and "ema.ramp_up" not in of_average
    monkeypatch.setattr(training.session, "begin", lambda config, *rest: begun.append(config))
    assert CliRunner().invoke(cli.app, arguments, catch_exceptions=False).exit_code == 0
    assert begun[0].net.g == {"width": defaults.WIDE} and begun[0].train.batch == 8
    assert begun[0].optimizer.g.lr == defaults.FAST


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        (["augment.name=diffaugment"], {"augment": "diffaugment"}),
        (["augment=null"], {"augment": "null"}),
        (["augment=ada", "augment.p=0.3"], {"augment": "ada", "augment.p": "0.3"}),
        (["net.g.width=48", "net.d.width=48"], {"width": "48"}),
        (["net.g.width=64", "net.d.width=16"], {"width": "64", "net.d.width": "16"}),
    ],
)
def test_explain_names_each_decision_of_a_person_once(
    tmp_path: Path, settings: list[str], rows: dict[str, str]
) -> None:
    given = [word for each in settings for word in ("--set", each)]
    arguments = ["train", str(folder_of_images(tmp_path / "in")), *given, "--explain"]
    output = CliRunner().invoke(cli.app, arguments, catch_exceptions=False).output
    decided = [line.split()[:2] for line in output.splitlines() if line.endswith("your setting")]
    assert sorted(decided) == sorted([*pair] for pair in rows.items())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "digits"),
        (["in", "--recipe", "sngan-32"], "sngan-32       your choice"),
        (["in", "--set", "net=mlp"], "a network of your choice"),
    ],
)
def test_explain_where_nothing_is_derived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of_images(tmp_path / "in")
    result = CliRunner().invoke(cli.app, ["train", *arguments, "--explain"], catch_exceptions=False)
    assert said in result.output and "width" not in result.output


def test_explain_refuses_what_train_refuses(tmp_path: Path) -> None:
    images = folder_of_images(tmp_path / "in")
    for wrong in (
        ["--length", "5 parsecs"],
        ["--set", "train.batch=many"],
        ["--set", "net=nonsense"],
        ["--set", "net.g.wdith=3"],
        ["--set", "net.d.norm=none at all"],
        ["--set", "data.labels=true"],
    ):
        result = CliRunner().invoke(cli.app, ["train", str(images), *wrong, "--explain"])
        assert result.exit_code != 0 and isinstance(result.exception, ConfigError)


PARTLY_LABELLED = """
from functools import partial
from PIL import Image
from ganloom.data.sources import Item

class Greys:
    name, class_names, splits, count, ignored = "greys", ("a", "b"), ("train",), 1000, 0

    def fingerprint(self):
        yield "always the same"

    def items(self):
        for index in range(1000):
            yield Item(str(index), "train", index % 2 if index else None, partial(Image.new, "L", (8, 8), index % 256))

def open_source(spec):
    return Greys()
"""


def test_labels_that_a_rule_chose_are_left_where_an_image_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greys.py").write_text(PARTLY_LABELLED)
    begun: list[Config] = []
    arguments = ["train", str(tmp_path / "greys.py"), "--out", str(tmp_path / "run"), "--device", "cpu"]
    with monkeypatch.context() as patch:
        patch.setattr(training.session, "begin", lambda config, *rest: begun.append(config))
        said = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert "labels    off: some images have none" in said.output + said.stderr
    assert [config.data.labels for config in begun] == [False]
    refused = CliRunner().invoke(cli.app, [*arguments, "--set", "data.labels=true"])
    assert isinstance(refused.exception, ConfigError) and "some of these images have no class" in str(refused.exception)
