"""Settings that are derived from size and batch where a configuration leaves them open."""

from typing import Any

import pytest

from ganloom.config import Config, recipe_values
from ganloom.core.errors import ConfigError
from ganloom.core.shapes import ImageShape
from ganloom.training.assembly import resolve
from ganloom.training.rules import opened


@pytest.mark.parametrize(
    ("size", "batch", "gamma", "half_life"),
    [
        (32, 32, 0.0064, "10 kimg"),
        (64, 32, 0.0256, "10 kimg"),
        (256, 16, 0.8192, "5 kimg"),
        (512, 8, 6.5536, "2.5 kimg"),
    ],
)
def test_stylegan2_has_what_its_authors_derive(size: int, batch: int, gamma: float, half_life: str) -> None:
    config = resolve(Config.build(recipe_values("stylegan2-32")), ImageShape(3, size, size), 1)
    assert (config.train.batch, config.train.micro_batch, str(config.ema.half_life)) == (batch, batch, half_life)
    assert config.penalties["r1"].weight == pytest.approx(gamma)
    assert config.penalties["path_length"].weight == 2
    assert resolve(config, ImageShape(3, 8, 8), 1) == config  # nothing is left open


def test_given_settings_stay() -> None:
    given = {"train.batch": 64, "penalties.r1.weight": 3, "ema.half_life": "0 images"}
    config = resolve(Config.build(recipe_values("stylegan2-32"), given), ImageShape(3, 32, 32), 1)
    assert (config.train.batch, config.penalties["r1"].weight, str(config.ema.half_life)) == (64, 3, "0 images")
    half = resolve(Config.build(recipe_values("stylegan2-32"), {"train.batch": 64}), ImageShape(3, 32, 32), 1)
    assert half.penalties["r1"].weight == pytest.approx(0.0032)  # from the given batch
    assert str(half.ema.half_life) == "20 kimg"


def test_other_penalties_have_no_rule() -> None:
    config = Config.build(recipe_values("dcgan-32"), {"penalties.drift.weight": None})
    with pytest.raises(ConfigError, match=r"penalties\.drift\.weight.*give a number"):
        resolve(config, ImageShape(3, 32, 32), 1)


def test_a_fine_tuning_derives_again_what_the_run_had_left_open() -> None:
    shape = ImageShape(3, 32, 32)
    config = resolve(Config.build(recipe_values("stylegan2-32")), shape, 1)
    again = config.with_overrides(flat(opened(config, shape)))
    assert resolve(again, ImageShape(3, 64, 64), 1).penalties["r1"].weight == pytest.approx(0.0256)
    for given in ({"train.batch": 64}, {"penalties.r1.weight": 3}, {"ema.half_life": "7 kimg"}):
        assert opened(resolve(Config.build(recipe_values("stylegan2-32"), given), shape, 1), shape) == {}
    assert opened(resolve(Config.build(recipe_values("dcgan-32")), shape, 1), shape) == {}


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested values as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found
