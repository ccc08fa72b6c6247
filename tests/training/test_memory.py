"""Training in less memory and in less precision: what that changes, and what it must not."""

from typing import Any

import pytest
import torch
from stepping import Noise, gradients, make, same, tiny, weights
from torch import Tensor, nn

from conftest import tiny_config
from ganloom import nets
from ganloom.core.errors import ConfigError
from ganloom.core.shapes import ImageShape
from ganloom.data.packed import PackedDataset

NARROW: dict[str, Any] = {"net__g": {"width": 8}, "net__d": {"width": 8}, "train__batch": 8}
STYLES = {**NARROW, "net": "stylegan2", "net__latent": 8}
RECOMPUTED: dict[str, dict[str, Any]] = {
    "dcgan": {"net__d__norm": "none"},
    "resnet": {**NARROW, "net": "resnet", "net__d__spectral": False},
    "progressive": {**NARROW, "net": "progressive"},
    "r3gan": {
        **NARROW,
        "net": "r3gan",
        "loss": "relativistic",
        "penalties": {"r1": {"weight": 1}, "r2": {"weight": 1}},
    },
    "stylegan2": {**STYLES, "penalties": {"r1": {"weight": 1}, "path_length": {"weight": 2}}},
    "stylegan2 in bf16, augmented": {**STYLES, "train__precision": "bf16", "augment": {"name": "ada", "p": 0.5}},
}


@pytest.mark.parametrize("name", RECOMPUTED)
def test_maps_made_again_are_the_same(digits: PackedDataset, name: str) -> None:
    """With the random numbers that were drawn between them, and with gradients of gradients."""
    kept, again = (tiny(digits, **RECOMPUTED[name], train__recompute=on) for on in (False, True))
    for _ in range(2):
        ours, theirs = again.advance(measure=True), kept.advance(measure=True)
        assert {key: value.item() for key, value in ours.items()} == {k: v.item() for k, v in theirs.items()}
    assert same(weights(again), weights(kept))


def test_every_network_is_one_of_those_or_says_why_not(digits: PackedDataset) -> None:
    assert {name.split(" ")[0] for name in RECOMPUTED} == set(nets.names()) - {"mlp"}
    with pytest.raises(ConfigError, match=r"set it to false"):
        tiny(digits, net="mlp", train__recompute=True)


def test_fewer_maps_are_kept() -> None:
    def kept(recompute: bool) -> int:
        config = tiny_config(**STYLES, penalties={}, data__size=64, train__recompute=recompute)
        step = make(config, Noise(ImageShape(1, 64, 64)))
        found: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            made = step.G(torch.randn(8, 8), None if not step.config.data.labels else torch.zeros(8, dtype=torch.int64))
        assert made.requires_grad
        return sum(found.values())

    assert kept(True) < kept(False) / 3


EXACT = {
    ("stylegan2", 32): ({"mapping", "first"}, {"last", "head"}),
    ("stylegan2", 128): ({"mapping", "first", "levels.0"}, {"downs.0", "last", "head"}),
    ("r3gan", 32): ({"first", "levels.0"}, {"levels.0", "head"}),
    ("r3gan", 128): ({"first", "levels.0", "levels.1"}, {"levels.0", "levels.1", "head"}),
}


@pytest.mark.parametrize(("family", "size"), EXACT)
def test_the_smallest_maps_are_not_in_bf16(family: str, size: int) -> None:
    config = tiny_config(**{**STYLES, "net": family}, data__size=size, train__precision="bf16", penalties={})
    step = make(config, Noise(ImageShape(1, size, size)))
    for network, expected in zip((step.g.net, step.d.net), EXACT[family, size], strict=True):
        exact = set()
        for name, part in network.named_modules():
            if part in network.stages():

                def see(module: nn.Module, given: Any, name: str = name, exact: set[str] = exact) -> None:
                    exact.update(() if torch.is_autocast_enabled("cpu") else [name])
                    assert (given[-1].dtype == torch.bfloat16) <= (name not in exact)

                part.register_forward_pre_hook(see)
        gradients(step.d, lambda: step.discriminator_step())
        assert exact == expected
