"""The table of settings, and what is made of it: `ganloom config`, the JSON schema, docs/configuration.md."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ganloom.cli import app
from ganloom.config import Config, describe, known_keys, recipe_names, recipe_values
from ganloom.config.keys import keys_of
from ganloom.core.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["config", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_key_of_every_section_is_described() -> None:
    missing = [key.dotted for key in keys_of(Config) if not key.field.description]
    assert missing == []


def test_a_key_says_what_null_means_wherever_it_may_be_null() -> None:
    silent = [each.key for each in describe.settings() if "or null" in each.type and "null" not in each.description]
    assert silent == []


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("ReduceLROnPlateau", "optimizer.g.schedule.name"),
        ("gradient accumulation", "train.micro_batch"),
        ("EMA", "ema"),
        ("exponential moving average", "ema"),
        ("FID", "evaluate.metrics"),
        ("early stopping", "evaluate.patience"),
        ("checkpoint", "checkpoint.every"),
        ("mixed precision", "train.precision"),
        ("AMP", "train.precision"),
        ("gradient checkpointing", "train.recompute"),
        ("gradient clipping", "optimizer.d.clip"),
        ("gradient penalties", "penalties"),
        ("batch size", "train.batch"),
        ("scheduler", "optimizer.g.schedule"),
        ("cosine annealing", "optimizer.g.schedule.name"),
        ("warm-up", "optimizer.g.schedule.warmup"),
        ("fine-tuning", "start"),
        ("transfer learning", "start"),
        ("conditional GAN", "data.labels"),
        ("validation set", "data.holdout"),
        ("n_critic", "train.d_updates"),
        ("mode collapse", "guard.collapse"),
        ("latent dimension", "net.latent"),
        ("weight decay", "optimizer.g.weight_decay"),
    ],
)
def test_the_fields_own_words_lead_to_the_settings(word: str, key: str) -> None:
    assert key in [each.key for each in describe.find(word)]
    assert key in shown(word)


def test_a_part_of_a_word_leads_nowhere() -> None:
    assert "data.group_by" not in [each.key for each in describe.find("AMP")]  # "example"
    with pytest.raises(ConfigError, match="unknown key 'xample'"):
        describe.find("xample")


def test_the_settings_of_the_glossary_exist() -> None:
    rows = [line.split(" | ") for line in (ROOT / "docs" / "glossary.md").read_text().splitlines() if " | " in line]
    words = {row[0].lstrip("| ") for row in rows}
    for word in ("kimg", "D(x), D(G(z))", "fd, FID", "coverage", "EMA", "R1", "truncation", "mode collapse"):
        assert word in words
    known = [*known_keys(Config), "start.freeze_d"]
    for key in (part for row in rows for part in re.findall(r"`([a-z_]+\.[a-z_.]+|growth|start|ema)`", row[-1])):
        assert describe.find(key) and (key in known or key.startswith(("net.", "penalties."))), key


def test_every_key_is_a_setting_once() -> None:
    keys = [each.key for each in describe.settings()]
    assert keys == list(dict.fromkeys(known_keys(Config)))


def test_types_are_words() -> None:
    types = {each.key: each.type for each in describe.settings() if not each.is_section}
    assert types["train.d_updates"] == "whole number above 0"
    assert types["optimizer.g.beta1"] == "number, at least 0, below 1"
    assert types["burn_in.augment"] == "number from 0 to 1"
    assert types["data.resize"] == "crop, fit or stretch"
    assert types["data.channels"] == "1, 3 or 4, or null"
    assert types["optimizer.d.schedule.name"] == "constant, linear, cosine, plateau"


def test_defaults_are_those_of_a_configuration_that_says_nothing_else() -> None:
    minimal = {"data": {"source": "digits"}, "net": "mlp", "loss": "bce", "train": {"length": "1 epoch"}}
    values = Config.build(minimal).model_dump(mode="json")
    for each in describe.settings():
        if each.required or each.is_section or "*" in each.key:
            continue
        value: Any = values
        for part in each.key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:  # of a section that is there
            assert each.default == value, each.key


def test_recipes_that_set_a_key_are_listed_with_the_value() -> None:
    (batch,) = describe.find("train.batch")
    assert {"dcgan-32", "r3gan-32", "stylegan2-32"} <= set(batch.recipes) < set(recipe_names())
    for recipe, value in batch.recipes.items():
        assert recipe_values(recipe)["train"]["batch"] == value
    (loss,) = describe.find("loss.name")
    assert loss.recipes["dcgan-32"] == "bce"  # written as `loss: bce`


# ganloom config


def test_all_keys_are_listed_one_per_line() -> None:
    lines = shown().splitlines()
    assert [line.split()[0] for line in lines] == [each.key for each in describe.settings()]
    assert "train.batch                     64          Real images per update of D (batch size)." in lines


def test_one_key_is_explained() -> None:
    lines = [line.strip() for line in shown("train.batch").splitlines()]
    assert lines[0] == "train.batch"
    assert lines[1].startswith("Real images per update of D (batch size). null: StyleGAN2's rule, which depends on")
    assert "type     whole number above 0, or null" in lines
    assert "unit     images" in lines
    assert "default  64" in lines
    assert "32: dcgan-32" in lines
    assert any(line.startswith("recipes  16: ") and "sndcgan-32" in line for line in lines)
    assert lines[-1] == "set it   --set train.batch=VALUE"


def test_a_key_with_a_form_of_its_own_has_examples() -> None:
    assert "type     length, or null; for example 2 epochs, 20 kimg, 500 steps" in shown("ema.half_life")
    assert "default  10 kimg" in shown("ema.half_life")


@pytest.mark.parametrize(
    ("asked", "listed"),
    [
        ("ema", ["ema.half_life", "ema.ramp_up"]),
        ("train.micro", ["train.micro_batch", "train.micro_batch_g"]),
        ("penalties.r1", ["penalties.r1.weight", "penalties.r1.interval"]),
    ],
)
def test_a_section_or_a_prefix_lists_its_keys(asked: str, listed: list[str]) -> None:
    lines = [line.split()[0] for line in shown(asked).splitlines() if line.startswith(f"{asked.partition('.')[0]}.")]
    assert lines == listed


def test_a_penalty_is_found_by_its_name_with_the_recipes_that_set_it() -> None:
    (weight,) = describe.find("penalties.wgan_gp.weight")
    assert weight.recipes == {"progressive-64": 10, "wgan-gp-32": 10}
    (weight,) = describe.find("penalties.*.weight")
    assert weight.recipes["progressive-64"] == {"wgan_gp": 10, "drift": 0.001}


def test_an_option_of_a_network_is_found_with_the_recipes_that_set_it() -> None:
    (width,) = describe.find("net.g.width")
    assert (width.type, width.recipes["digits"]) == (describe.BY_NAME, 32)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("train.btach", "train.batch"), ("batch", "train.batch"), ("penalties.r1.wieght", "penalties.r1.weight")],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=rf"^unknown key '{wrong}'\. Did you mean '{right}'\?$"):
        describe.find(wrong)


def test_config_does_not_import_torch() -> None:
    script = (
        "import sys\n"
        "from ganloom.cli import app\n"
        "try: app(['config', 'train.batch'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "StyleGAN2's rule" in done.stdout


# JSON schema


def test_the_json_schema_describes_every_key_as_the_sections_do() -> None:
    schema = json.loads(shown("--json-schema"))
    sections = [schema, *schema["$defs"].values()]
    silent = [(section["title"], key) for section in sections for key, field in section["properties"].items()
              if not text_of(field, schema)]  # fmt: skip
    assert silent == []
    batch = schema["$defs"]["Train"]["properties"]["batch"]
    described = (
        "Real images per update of D (batch size). null: StyleGAN2's rule, which depends on the size of the images."
    )
    assert batch["description"] == described
    assert {"exclusiveMinimum": 0, "type": "integer", "unit": "images"} in batch["anyOf"]
    assert schema["$defs"]["Ema"]["properties"]["half_life"]["default"] == "10 kimg"
    assert not any("\n" in text for text in descriptions(schema))


def text_of(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """Pydantic leaves out the text of a field that is the text of its section."""
    section = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
    return str(field.get("description") or section.get("description") or "")


def descriptions(schema: Any) -> Iterator[str]:
    for key, value in schema.items() if isinstance(schema, dict) else enumerate(schema):
        if key == "description" and isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            yield from descriptions(value)


# docs/


@pytest.mark.slow
def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "docs", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_outdated_page_is_named_with_the_remedy(tmp_path: Path) -> None:
    """In a copy that shares the source and has no pages."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "docs").write_text((ROOT / "scripts" / "docs").read_text(), encoding="utf-8")
    (tmp_path / "src").symlink_to(ROOT / "src")
    script = tmp_path / "scripts" / "docs"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        "out of date: docs/configuration.md, docs/reference.md. Run scripts/docs and commit the result." in done.stderr
    )
