"""Recipes: each builds, says when to use it, and is what the paper that it names says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ganloom.config import Config, merge, recipe_names, recipe_text, recipe_values
from ganloom.core.errors import ConfigError
from ganloom.data.sources import find
from ganloom.planning.request import check

NETWORK_OF = {"mlp": "mlp", "progressive": "progressive", "sngan": "resnet", "sagan": "resnet", "biggan": "resnet",
              "stylegan2": "stylegan2", "r3gan": "r3gan"}  # fmt: skip
CONDITIONAL = {"digits", "cdcgan-cifar10", "acgan-32", "sngan-projection-32", "biggan-32", "stylegan2-cifar10",
               "r3gan-cifar10"}  # fmt: skip
ROOTS = {"dcgan-32"}  # recipes that say everything


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_builds_and_comes_back_equal_from_its_yaml(name: str, tmp_path: Path) -> None:
    config = Config.build(recipe_values(name))
    assert Config.build(yaml.safe_load(config.yaml())) == config
    (tmp_path / "config.yaml").write_text(config.yaml(), encoding="utf-8")
    assert Config.load(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_says_what_it_is_and_when_to_use_it(name: str) -> None:
    lines = recipe_text(name).splitlines()
    first = lines[: next(index for index, line in enumerate(lines) if not line.startswith("#"))]
    assert first[0].startswith("# ")
    assert any("Use it" in line for line in first)


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_names_what_there_is(name: str) -> None:
    """Networks, losses, penalties, augmentations and their options."""
    check(Config.build(recipe_values(name)), find("digits"))


@pytest.mark.parametrize("name", recipe_names())
def test_every_chain_of_bases_ends_in_a_recipe_that_says_everything(name: str) -> None:
    chain = [name]
    while base := yaml.safe_load(recipe_text(chain[-1])).get("base"):
        assert base in recipe_names() and base not in chain
        chain.append(base)
    assert chain[-1] in ROOTS
    assert "base" not in recipe_values(name)


# What they are


@pytest.mark.parametrize("name", recipe_names())
def test_the_name_of_a_recipe_says_its_network(name: str) -> None:
    config = Config.build(recipe_values(name))
    assert config.net.name == next((NETWORK_OF[word] for word in name.split("-") if word in NETWORK_OF), "dcgan")
    if (size := name.removesuffix("-small").split("-")[-1]).isdigit():
        assert config.data.size == (int(size), int(size))


@pytest.mark.parametrize("name", recipe_names())
def test_what_needs_labels_has_them(name: str) -> None:
    config = Config.build(recipe_values(name))
    of_classes = config.net.d.get("labels") == "classifier" or config.net.g.get("shared_embedding") is not None
    if of_classes or "auxiliary_classifier" in config.penalties or name in CONDITIONAL:
        assert config.data.labels


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dcgan-32", {"net.name": "dcgan", "loss.name": "bce", "optimizer.g.lr": 2e-4, "optimizer.g.beta1": 0.5}),
        (
            "dcgan-cifar10",
            {"data.size": [32, 32], "net.latent": 100, "train.length": "30 epochs", "train.batch": 128,
             "optimizer.d.lr": 2e-4, "optimizer.d.beta1": 0.5, "optimizer.d.beta2": 0.999, "sample.count": 64},
        ),
        (
            "dcgan-cifar10-64",
            {"data.size": [64, 64], "train.length": "25 epochs", "train.batch": 128, "checkpoint.every": "1 epoch",
             "checkpoint.keep": 25, "sample.every": "1 epoch"},
        ),
        (
            "mlp-pathmnist",
            {"net.name": "mlp", "data.size": [28, 28], "data.channels": 1, "train.length": "50 epochs",
             "sample.every": "1 epoch", "log.every": "1 epoch"},
        ),
        ("chest-xray-64", {"data.size": [64, 64], "data.channels": 1, "data.mirror": False, "train.batch": 16}),
        ("lsgan-32", {"loss.name": "lsgan", "net.d.norm": "none", "penalties.r1.interval": 4}),
        ("sndcgan-32", {"loss.name": "hinge", "net.d.norm": "spectral", "optimizer.d.beta1": 0.0}),
        (
            "wgan-32",
            {"loss.name": "wasserstein", "optimizer.d.name": "rmsprop", "optimizer.g.name": "rmsprop",
             "optimizer.d.lr": 5e-5, "optimizer.d.clip_weights": 0.01, "optimizer.g.clip_weights": None,
             "train.d_updates": 5, "train.batch": 64},
        ),
        (
            "wgan-gp-32",
            {"loss.name": "wasserstein", "penalties.wgan_gp.weight": 10, "penalties.wgan_gp.interval": 1,
             "train.d_updates": 5, "optimizer.d.lr": 1e-4, "optimizer.d.beta1": 0.0, "optimizer.d.beta2": 0.9},
        ),
        (
            "sngan-32",
            {"loss.name": "hinge", "train.d_updates": 5, "train.batch": 64, "optimizer.g.lr": 2e-4,
             "optimizer.g.beta1": 0.0, "optimizer.g.beta2": 0.9, "net.g.width": 256, "net.d.width": 128,
             "net.latent": 128},
        ),
        (
            "sagan-32",
            {"loss.name": "hinge", "train.d_updates": 1, "optimizer.g.lr": 1e-4, "optimizer.d.lr": 4e-4,
             "net.g.spectral": True, "net.g.attention": 16, "net.d.attention": 16},
        ),
        (
            "biggan-32",
            {"loss.name": "hinge", "train.d_updates": 4, "net.g.hierarchical": True, "net.g.orthogonal": True,
             "net.d.orthogonal": True, "net.g.shared_embedding": 128, "net.g.spectral": True},
        ),
        ("acgan-32", {"net.d.labels": "classifier", "penalties.auxiliary_classifier.weight": 1}),
        (
            "stylegan2-cifar10",
            {"penalties.r1.weight": 0.01, "penalties.r1.interval": 16, "penalties.path_length.weight": 0,
             "net.g.mixing": 0, "net.g.mapping": 2, "train.batch": 64, "ema.half_life": "500 kimg",
             "optimizer.g.lr": 2.5e-3},
        ),
        (
            "r3gan-cifar10",
            {"penalties.r1.weight": 0.005, "penalties.r2.weight": 0.005, "burn_in.penalties": 10, "burn_in.share": 0.08,
             "train.batch": 512, "optimizer.d.lr": 5e-5, "burn_in.lr": 4, "optimizer.g.beta2": 0.99,
             "burn_in.beta2": 0.9},
        ),
        (
            "progressive-64",
            {"loss.name": "wasserstein", "penalties.wgan_gp.weight": 10, "penalties.drift.weight": 1e-3,
             "growth.hold": ["600 kimg"], "growth.fade": ["600 kimg"], "optimizer.g.lr": 1e-3,
             "optimizer.g.beta1": 0.0, "optimizer.g.beta2": 0.99, "train.batch": 16, "net.latent": 512},
        ),
    ],
)  # fmt: skip
def test_a_recipe_is_what_its_paper_says(name: str, said: dict[str, Any]) -> None:
    values = Config.build(recipe_values(name)).model_dump(mode="json")
    found = {key: at(values, key) for key in said}
    assert found == said


def at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


# Laying something over a recipe


def test_overrides_beat_the_recipe_and_touch_nothing_else() -> None:
    recipe = recipe_values("dcgan-32")
    before = Config.build(recipe).model_dump()
    after = Config.build(recipe, {"train.batch": 8, "net.g.width": 16}).model_dump()
    assert before["train"].pop("batch") != after["train"].pop("batch") == 8
    assert before["net"]["g"].pop("width") != after["net"]["g"].pop("width") == 16
    assert after == before


@pytest.mark.parametrize("override", [{"net": "mlp"}, {"net.name": "mlp"}, {"net": {"name": "mlp"}}])
def test_a_new_name_drops_the_options_of_the_old_one(override: dict[str, Any]) -> None:
    recipe = merge(recipe_values("dcgan-32"), {"net": {"latent": 7}})
    net = Config.build(recipe, override).net
    assert (net.name, net.g, net.d) == ("mlp", {}, {})
    assert net.latent == 7  # which every network has


def test_the_same_name_keeps_its_options() -> None:
    recipe = recipe_values("dcgan-32")
    assert Config.build(recipe, {"net.name": "dcgan"}) == Config.build(recipe)


def test_a_new_name_takes_options_of_its_own() -> None:
    config = Config.build(recipe_values("dcgan-32"), {"net": "mlp", "net.g.width": 5, "loss.label_smoothing": 0.1})
    assert (config.net.g, config.net.d) == ({"width": 5}, {})
    assert config.loss.options == {"label_smoothing": 0.1}  # an option may be laid over a bare name


@pytest.mark.parametrize(
    "overrides",
    [{"net.latent": 64, "net": "mlp"}, {"net": "mlp", "net.latent": 64}, {"net.latent": 64, "net.name": "mlp"}],
    ids=str,
)
def test_overrides_mean_the_same_in_any_order(overrides: dict[str, Any]) -> None:
    config = Config.build(recipe_values("dcgan-32"), overrides)
    assert (config.net.name, config.net.latent, config.net.g) == ("mlp", 64, {})


def test_another_optimizer_keeps_the_rates() -> None:
    config = Config.build(recipe_values("dcgan-32"), {"optimizer.g.lr": 1e-3, "optimizer.g.name": "adamw"})
    assert (config.optimizer.g.name, config.optimizer.g.lr, config.optimizer.g.beta1) == ("adamw", 1e-3, 0.5)


# Recipes of the user's own


def test_a_recipe_says_only_how_it_differs_from_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: dcgan-64\ntrain: {batch: 16}\n", encoding="utf-8")
    mine, base = Config.build(recipe_values(str(path))), Config.build(recipe_values("dcgan-64"))
    assert mine == base.with_overrides({"train.batch": 16})
    assert mine != base


def test_an_unknown_or_unreadable_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown recipe 'dcgan32'\. Did you mean 'dcgan-32'\?"):
        recipe_text("dcgan32")
    with pytest.raises(ConfigError, match=r"cannot read the recipe .*missing\.yaml"):
        recipe_text(str(tmp_path / "missing.yaml"))
    (tmp_path / "latin.yaml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"cannot read the recipe .*latin\.yaml"):
        recipe_text(str(tmp_path / "latin.yaml"))


@pytest.mark.parametrize("base", ["{path}", "5", "[dcgan-32]"])
def test_a_base_that_is_no_other_recipe_is_refused(tmp_path: Path, base: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: {base.format(path=path)}\n")
    with pytest.raises(ConfigError, match="another recipe"):
        recipe_values(str(path))
