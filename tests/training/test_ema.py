import pytest
import torch
from torch import nn

from conftest import tiny_config
from ganloom.core.distributed import World
from ganloom.data.packed import PackedDataset
from ganloom.training.assembly import assemble, resolve
from ganloom.training.ema import Ema


def scalar(value: float) -> nn.Module:
    net = nn.Linear(1, 1, bias=False)
    net.weight.data.fill_(value)
    return net


def test_half_of_the_old_weights_is_left_after_a_half_life() -> None:
    G = scalar(0.0)
    ema = Ema(G, half_life=1000, ramp_up=0)
    G.weight.data.fill_(1.0)  # type: ignore[union-attr, operator]
    for step in range(10):
        ema.update(nimg=100 * (step + 1), images=100)
    assert next(ema.G.parameters()).item() == pytest.approx(0.5, abs=1e-6)


def test_the_ramp_shortens_the_half_life_of_the_first_images() -> None:
    G = scalar(0.0)
    ema = Ema(G, half_life=1000, ramp_up=0.05)
    G.weight.data.fill_(1.0)  # type: ignore[union-attr, operator]
    ema.update(nimg=1000, images=50)  # 5 % of 1,000 images are 50: one half-life
    assert next(ema.G.parameters()).item() == pytest.approx(0.5, abs=1e-6)


def test_no_half_life_is_g_itself() -> None:
    G = scalar(0.25)
    ema = Ema(G, half_life=0, ramp_up=0.05)
    G.weight.data.fill_(0.75)  # type: ignore[union-attr, operator]
    ema.update(nimg=64, images=64)
    assert next(ema.G.parameters()).item() == 0.75


def test_refreshed_statistics_fit_the_averaged_weights(digits: PackedDataset) -> None:
    """After a refresh, evaluation mode normalises as batch statistics do."""
    config = resolve(tiny_config(), digits.shape, 1)
    step = assemble(config, digits, torch.device("cpu"), World(), total=1000)
    for _ in range(5):
        step.advance(measure=False)
    step.ema.refresh(0, config.net.latent, 64, step.stream.labels)
    z, y = torch.randn(512, config.net.latent), step.stream.labels(0, 512)
    with torch.no_grad():
        evaluated = step.ema.G(z, y)
        batch = step.ema.G.train()(z, y)
        step.ema.G.eval()
    assert (evaluated - batch).abs().mean() < 0.05 * batch.std()


def test_a_refresh_is_a_function_of_the_weights(digits: PackedDataset) -> None:
    config = resolve(tiny_config(), digits.shape, 1)
    step = assemble(config, digits, torch.device("cpu"), World(), total=1000)
    step.advance(measure=False)
    states = []
    for _ in range(2):
        step.ema.refresh(0, config.net.latent, 32, step.stream.labels)
        states.append({name: value.clone() for name, value in step.ema.G.state_dict().items()})
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not step.ema.G.training
