"""Changes of settings are said as a configuration writes them."""

from types import SimpleNamespace
from typing import Any, cast

from torch import nn

from conftest import tiny_config
from ganloom.session.changes import halve


def test_a_setting_without_a_value_is_null() -> None:
    saved: list[Any] = []
    config = tiny_config(train__micro_batch=None, train__micro_batch_g=None)
    run = SimpleNamespace(config=config, changes=[], save_changes=saved.append, save_config=saved.append)
    learner = SimpleNamespace(micro_batch=4, net=nn.Identity())
    text = halve(cast("Any", run), cast("Any", SimpleNamespace(g=learner, d=learner, nimg=8)), seconds=1.0)
    assert "train.micro_batch null -> 4, train.micro_batch_g null -> 4" in text
    assert "None" not in saved[0][0].text
