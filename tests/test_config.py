from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ganloom.config import Config, known_keys, merge, nested, parse_override, recipe_values
from ganloom.config.sections import Cosine, Plateau
from ganloom.core.errors import ConfigError
from ganloom.core.lengths import Length

MINIMAL = {"data": {"source": "digits"}, "net": "mlp", "loss": "bce", "train": {"length": "1 epoch"}}


def build(**overrides: Any) -> Config:
    """The smallest valid configuration; `__` in a keyword stands for the dot."""
    return Config.build(MINIMAL, {key.replace("__", "."): value for key, value in overrides.items()})


# Reading


def test_the_smallest_configuration_fills_in_every_other_key() -> None:
    config = build()
    assert (config.net.name, config.loss.name, config.train.length) == ("mlp", "bce", Length(1, "epochs"))
    assert set(config.model_dump()) == {key for key in known_keys(Config) if "." not in key}


FULL = {
    "data.source": "Bilder: grün, 1e3",
    "data.size": "48x64",
    "loss": {"name": "bce", "label_smoothing": 0.1},
    "penalties": {"r1": {"weight": "1e-4", "interval": 4}},
    "augment": {"name": "diffaugment", "policy": ["color"]},
    "growth": {"hold": ["1 kimg", "2 epochs"], "fade": "500 images"},
    "start": {"model": "runs/flowers", "freeze_d": 2},
    "optimizer.g.clip": 1e-7,
    "optimizer.d": {"name": "rmsprop", "clip_weights": "1e-2"},
    "optimizer.d.schedule": {"name": "plateau", "interval": "0.25 epochs", "warmup": "1 kimg"},
    "train.length": "1.5 minutes",
    "trackers.wandb.mode": "offline",
}


def test_every_kind_of_value_comes_back_equal_from_yaml() -> None:
    config = Config.build(MINIMAL, FULL)
    assert Config.build(yaml.safe_load(config.yaml())) == config
    assert config.data.size == (48, 64)
    assert config.loss.options == {"label_smoothing": 0.1}
    assert isinstance(config.optimizer.d.schedule, Plateau)
    assert (config.optimizer.d.name, config.optimizer.d.clip_weights) == ("rmsprop", 0.01)


def test_a_number_that_yaml_takes_for_text_is_a_number() -> None:
    values = yaml.safe_load("{lr: 1e-4}")
    assert values == {"lr": "1e-4"}  # what YAML 1.1 says of it
    assert build(optimizer__g=values).optimizer.g.lr == 1e-4


@pytest.mark.parametrize("written", ["-50:50", " -50 : 5e1", [-50, 50]])
def test_a_window_is_two_values(written: Any) -> None:
    assert build(data__window=written).data.window == (-50, 50)


def test_a_window_in_a_file_needs_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "{data: {source: digits, window: 10:40}, net: mlp, loss: bce, train: {length: 1 epoch}}", encoding="utf-8"
    )
    assert Config.load(tmp_path / "r.yaml").data.window == (10, 40)


@pytest.mark.parametrize("written", ["50:-50", "5:5", "nan:1", "-inf:inf", "1:inf", "-1e308:1e308"])
def test_an_empty_or_infinite_window_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.window: a window is LOW:HIGH, .* such as -1350:150"):
        build(data__window=written)


@pytest.mark.parametrize("written", ["5", "a:b", "1:2:3", ":", ""])
def test_an_invalid_window_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.window: '{written}' is not a window; write LOW:HIGH"):
        build(data__window=written)


@pytest.mark.parametrize("written", ["5%", " 5 % ", "0.05", 0.05])
def test_a_share_may_be_written_in_percent(written: Any) -> None:
    assert build(data__holdout=written).data.holdout == 0.05


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("many", "'many' is not a fraction; write '5%' or 0.05"),
        ("101%", "at most 1"),
        (-0.1, "at least 0"),
    ],
)
def test_an_invalid_share_is_refused(written: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.max_skipped: .*{message}"):
        build(data__max_skipped=written)


def test_classes_may_be_numbers_and_yes_only_in_quotes() -> None:
    for value in ("3", 3, [3], "[3]", '["3"]'):
        assert build(data__classes=value).data.classes == ("3",)
    with pytest.raises(ConfigError, match="in quotes"):
        build(data__classes=[True])


def test_classes_may_be_written_with_commas() -> None:
    assert build(data__classes="cat, dog").data.classes == build(data__classes=["cat", "dog"]).data.classes


def test_an_invalid_pattern_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.group_by: not a regular expression"):
        build(data__group_by="person(")


def test_a_configuration_is_frozen_at_every_depth() -> None:
    config = Config.build(MINIMAL, FULL)
    sections = (
        config,
        config.train,
        config.optimizer.g,
        config.optimizer.d.schedule,
        config.loss,
        config.penalties["r1"],
        config.growth,
        config.start,
        config.augment,
    )
    for section in sections:
        for key in type(section).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(section, key, getattr(section, key))


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "r.yaml is not valid YAML"), ("- 1", "is not a configuration"), ("", "a mapping")]
)
def test_a_file_that_is_not_a_configuration_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        Config.load(tmp_path / "r.yaml")


# Refusing


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("trian", "train"),
        ("train.btach", "train.batch"),
        ("optimizer.g.beta_1", "optimizer.g.beta1"),
        ("optimizer.d.schedul", "optimizer.d.schedule"),
        ("trackers.wandb.projekt", "trackers.wandb.project"),
        ("net.latnet", "net.latent"),
        ("data.mirorr", "data.mirror"),
        ("optimizer.d.clip_weight", "optimizer.d.clip_weights"),
        ("augmnet", "augment"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one_at_every_depth(key: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.build(MINIMAL, {key: 1})
    assert str(caught.value) == f"unknown key '{key}'. Did you mean '{meant}'?"


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "plateau"])
def test_an_unknown_key_of_any_schedule_is_named_without_the_name_of_the_schedule(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(optimizer__g__schedule={"name": name, "warmpu": "1 kimg"})
    assert str(caught.value) == (
        "unknown key 'optimizer.g.schedule.warmpu'. Did you mean 'optimizer.g.schedule.warmup'?"
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.batch", "many", r"^train\.batch: .*must be a whole number, not 'many'"),
        ("train.batch", 0, r"^train\.batch: .*must be above 0"),
        ("train.batch", 1.5, r"^train\.batch: .*, not 1\.5"),
        ("train", 5, r"^train is a section: set its keys, such as train\.length, instead of 5"),
        ("train.length", "30 parsecs", r"^train\.length: '30 parsecs' is not a length; write a number and a unit"),
        ("train.length", 30, r"^train\.length: '30' is not a length"),
        ("data.size", "8 by 8", r"^data\.size: '8 by 8' is not a size; write '64' or 'HEIGHTxWIDTH'"),
        ("data.size", 0, r"^data\.size: .*each side needs at least 1 pixel"),
        ("data.channels", 2, r"^data\.channels: .*1, 3 or 4.*, not 2"),
        ("net", 5, r"^net is a section: .*net\.name, instead of 5"),
        ("seed", -1, r"^seed: .*must be at least 0"),
        ("penalties.r1.weight", -1, r"^penalties\.r1\.weight: .*, not -1"),
        (
            "penalties.r1.interval",
            2,
            r"^'penalties\.r1\.weight' is missing: add it, such as with --set penalties\.r1\.weight=\.\.\.$",
        ),
        ("optimizer.g.lr", 0, r"^optimizer\.g\.lr: .*must be above 0"),
        ("optimizer.g.lr", float("nan"), r"^optimizer\.g\.lr: "),
        ("optimizer.g.lr", float("inf"), r"^optimizer\.g\.lr: .*finite"),
        ("optimizer.g.beta2", 1, r"^optimizer\.g\.beta2: .*must be below 1"),
        ("optimizer.g.name", "adan", r"^optimizer\.g\.name: .*'adam', 'adamw' or 'rmsprop'.*, not 'adan'"),
        ("optimizer.d.clip_weights", 0, r"^optimizer\.d\.clip_weights: .*must be above 0"),
        ("growth.hold", "1 kimg", r"^'growth\.fade' is missing: add it, such as with --set growth\.fade=\.\.\.$"),
        ("growth", {"hold": [], "fade": "1 kimg"}, r"^growth\.hold: .*0 entries, and needs 1"),
        ("growth", {"hold": ["1 kimg", "x"], "fade": "1 kimg"}, r"^growth\.hold\.1: 'x' is not a length"),
        ("start.freeze_d", 1, r"^'start\.model' is missing: add it, such as with --set start\.model=\.\.\.$"),
        ("start", {"model": "runs/x", "freeze_g": -1}, r"^start\.freeze_g: .*must be at least 0"),
        ("augment.policy", ["color"], r"^'augment\.name' is missing: add it, such as with --set augment\.name=\.\.\.$"),
        ("augment", 5, r"^augment is a section: .*augment\.name, instead of 5"),
        ("optimizer.g.schedule.name", "cosin", r"^unknown optimizer\.g\.schedule 'cosin'\. Did you mean 'cosine'"),
        ("optimizer.g.schedule", {"name": "cosine", "final": "x"}, r"^optimizer\.g\.schedule\.final: .*, not 'x'"),
        ("optimizer.g.schedule", {"name": "cosine", "final": 2}, r"^optimizer\.g\.schedule\.final: .*, not 2"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Config.build(MINIMAL, {key: value})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("key", ["ema.half_life", "checkpoint.every", "sample.every", "log.every"])
def test_no_interval_is_steered_by_a_clock(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}: minutes and hours may only end a run \(train\.length\)"):
        Config.build(MINIMAL, {key: "10 minutes"})


def test_every_fault_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.build({"train": {"batch": "many", "length": "1 epoch"}, "looss": "bce", "net": "mlp"})
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == ["'data'", "'loss'", "train.batch:", "unknown"]


@pytest.mark.parametrize(
    ("train", "fault"),
    [
        ({"batch": 64, "micro_batch": 5}, "micro_batch 5 does not divide the batch of 64"),
        ({"batch": 64, "micro_batch": 128}, "micro_batch 128 does not divide the batch of 64"),
        ({"batch": 64, "micro_batch_g": 5}, "micro_batch_g 5 does not divide the batch of 64"),
        ({"batch": 64, "batch_g": 30, "micro_batch_g": 16}, "micro_batch_g 16 does not divide the batch of 30"),
    ],
)
def test_a_micro_batch_must_divide_its_batch(train: dict[str, int], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        build(train={"length": "1 epoch", **train})


@pytest.mark.parametrize(
    "train", [{"micro_batch": 16}, {"micro_batch": 64}, {"batch_g": 30, "micro_batch_g": 15}, {"batch_g": 30}]
)
def test_a_micro_batch_that_divides_its_batch_is_fine(train: dict[str, int]) -> None:
    assert build(train={"length": "1 epoch", "batch": 64, **train}).train.model_dump().items() >= train.items()


# Laying one thing over another


def test_overrides_lie_over_a_built_configuration_too() -> None:
    config = Config.build(MINIMAL, FULL)
    assert config.with_overrides({}) == config
    longer = config.with_overrides({"train.length": "2 epochs"})
    assert longer.train.length == Length(2, "epochs")
    assert longer.with_overrides({"train.length": "1.5 minutes"}) == config


def test_a_new_schedule_drops_the_options_of_the_old_one() -> None:
    config = build(optimizer__g__schedule={"name": "linear", "final": 0.5})
    schedule = config.with_overrides({"optimizer.g.schedule.name": "cosine"}).optimizer.g.schedule
    assert schedule == Cosine(name="cosine", final=0.0)


def test_no_penalties_are_none() -> None:
    below = {"penalties": {"r1": {"weight": 1}}, "train": {"batch": 3}}
    assert merge(below, {"penalties": {}}) == {"penalties": {}, "train": {"batch": 3}}
    assert merge(below, {}) == merge(below, {"train": {}}) == below


def test_off_is_off_also_as_yaml_reads_it() -> None:
    assert build(**{"trackers.wandb.mode": parse_override("x=off")[1]}).trackers.wandb.mode == "off"


def test_an_impossible_date_is_text() -> None:
    assert parse_override("trackers.wandb.project=2024-13-01") == ("trackers.wandb.project", "2024-13-01")


def test_merging_leaves_what_it_was_given_alone() -> None:
    below, above = {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}
    assert merge(below, above) == {"a": {"b": 3, "c": 2}}
    assert (below, above) == ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})


keys = st.sampled_from("abc")
trees = st.recursive(st.integers(), lambda inner: st.dictionaries(keys, inner, min_size=1), max_leaves=8)


@settings(deadline=None)
@given(st.dictionaries(keys, trees))
def test_dotted_and_nested_say_the_same(tree: dict[str, Any]) -> None:
    assert nested(dict(dotted(tree))) == tree


def dotted(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in tree.items():
        pairs += dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return pairs


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("train.batch=32", "train.batch", 32),
        ("train.length=30 epochs", "train.length", "30 epochs"),
        ("data.labels=true", "data.labels", True),
        ("data.size=null", "data.size", None),
        ("data.source=a=b", "data.source", "a=b"),
        (" net.g = {width: 8}", "net.g", {"width": 8}),
        ("data.source=[a", "data.source", "[a"),
        ("data.window=-50:50", "data.window", "-50:50"),  # no number to the base of 60, as YAML 1.1 has it
        ("data.window=10:40.5", "data.window", "10:40.5"),
        ("optimizer.g.lr=0.5", "optimizer.g.lr", 0.5),
    ],
)
def test_an_override_is_a_key_and_a_value_in_yaml(text: str, key: str, value: Any) -> None:
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize("text", ["train.batch", "", "=3", " =3"])
def test_an_override_without_a_key_or_value_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not KEY=VALUE; write, for example, --set train\.batch=32"):
        parse_override(text)


@pytest.mark.parametrize("schedule", ["cosine", {"name": "cosine"}])
def test_a_schedule_may_be_a_name(schedule: Any) -> None:
    assert build(optimizer__g__schedule=schedule).optimizer.g.schedule.name == "cosine"


def test_a_schedule_without_a_name_is_constant() -> None:
    assert str(build(optimizer__g__schedule__warmup="10 kimg").optimizer.g.schedule.warmup) == "10 kimg"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("penalties.r1.wieght", "penalties.r1.weight"),
        ("penalties.wgan_gp.intervall", "penalties.wgan_gp.interval"),
        ("growth.hodl", "growth.hold"),
        ("start.freez_d", "start.freeze_d"),
    ],
)
def test_an_unknown_key_of_a_section_that_may_be_missing_is_refused_too(key: str, meant: str) -> None:
    whole = {
        "penalties": {"r1": {"weight": 1}, "wgan_gp": {"weight": 10}},
        "growth": {"hold": "1 kimg", "fade": "1 kimg"},
        "start": {"model": "runs/flowers"},
    }
    with pytest.raises(ConfigError) as caught:
        Config.build(MINIMAL, {**whole, key: 1})
    assert str(caught.value) == f"unknown key '{key}'. Did you mean '{meant}'?"


# What may be written shortly


@pytest.mark.parametrize("written", ["diffaugment", {"name": "diffaugment"}])
def test_an_augmentation_may_be_a_name(written: Any) -> None:
    augment = build(augment=written).augment
    assert augment is not None
    assert (augment.name, augment.options) == ("diffaugment", {})


def test_an_augmentation_has_options_of_its_own_and_can_be_taken_away() -> None:
    config = build(augment={"name": "diffaugment", "policy": ["cutout"]})
    assert config.augment is not None
    assert config.augment.options == {"policy": ["cutout"]}
    assert config.with_overrides({"augment.policy": ["color"]}).augment.options == {"policy": ["color"]}
    other = config.with_overrides({"augment": "another"}).augment
    assert other is not None
    assert other.options == {}  # another augmentation does not inherit them
    assert config.with_overrides({"augment": None}) == build()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1 kimg", ["1 kimg"]),
        (["1 kimg"], ["1 kimg"]),
        (["1 kimg", "2 epochs", "3 steps"], ["1 kimg", "2 epochs", "3 steps"]),
        (Length(5, "images"), ["5 images"]),
    ],
)
def test_one_length_of_growth_or_several(written: Any, read: list[str]) -> None:
    growth = build(growth={"hold": written, "fade": "1 kimg"}).growth
    assert growth is not None
    assert [str(length) for length in growth.hold] == read
    assert growth.model_dump(mode="json") == {"hold": read, "fade": ["1 kimg"]}


@pytest.mark.parametrize("written", ["10 minutes", ["1 kimg", "10 minutes"]])
def test_growth_is_not_steered_by_a_clock(written: Any) -> None:
    with pytest.raises(ConfigError, match=r"^growth\.hold.*: minutes and hours may only end a run"):
        build(growth={"hold": written, "fade": "1 kimg"})


def test_a_start_takes_all_of_a_model_and_lets_all_of_it_learn() -> None:
    start = build(start__model="runs/flowers").start
    assert start is not None
    assert (start.model, start.freeze_d, start.freeze_g) == ("runs/flowers", 0, 0)
    assert build(start=None).start is None


@pytest.mark.parametrize("length", ["0 epochs", "0 minutes"])
def test_a_run_of_length_zero_is_refused(length: str) -> None:
    with pytest.raises(ConfigError, match=r"^train\.length: length must be positive"):
        build(train__length=length)


def test_a_file_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("[" * 3000 + "]" * 3000)
    with pytest.raises(ConfigError, match="is not a configuration: it is nested too deeply"):
        recipe_values(str(tmp_path / "deep.yaml"))


@pytest.mark.parametrize(
    "text", ["a: [1,\nb: }\n", "a: {b: 1\nc: 2", "a: " + 5000 * "1", "\ta: 1", "a: *x"], ids=map(str, range(5))
)
def test_a_fault_of_yaml_is_one_short_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Config.load(tmp_path / "r.yaml")
    said = str(caught.value).removeprefix(str(tmp_path))
    assert "\n" not in said and len(said) < 160 and "is not valid YAML" in said


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("train.batch", "a" + 4000 * "1", "..."),
        ("train.batch", -int("f" * 5000, 16), "a number of too many digits"),
        ("train", 4000 * "1", "..."),
        ("train", None, "instead of null."),
        (4000 * "a", 1, ""),
    ],
    ids=map(str, range(5)),
)
def test_a_long_value_is_cut_and_nothing_is_null(key: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.build(MINIMAL, {key: value})
    assert said in str(caught.value) and len(str(caught.value)) < 300 and "None" not in str(caught.value)
