"""Training in less memory and in less precision: what that changes, and what it must not."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conftest import tiny_config
from ganloom import nets
from ganloom.core.errors import ConfigError
from ganloom.core.shapes import ImageShape
from ganloom.data.packed import PackedDataset
from stepping import Noise, make, same, tiny, weights

pytestmark = pytest.mark.slow

NARROW: dict[str, Any] = {"net__g": {"width": 8}, "net__d": {"width": 8}, "train__batch": 8}
STYLES = {**NARROW, "net": "stylegan2", "net__latent": 8}
RECOMPUTED: dict[str, dict[str, Any]] = {
    "dcgan": {"net__d__norm": "layer"},
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


@pytest.mark.parametrize("name", RECOMPUTED)
def test_fewer_maps_are_kept(digits: PackedDataset, name: str) -> None:
    """By G and by D, of one pass."""
    kept, again = (tiny(digits, **RECOMPUTED[name], train__recompute=on) for on in (False, True))
    z, y = torch.randn(8, kept.config.net.latent), torch.arange(8)
    images = torch.randn(8, 1, 32, 32)
    assert bytes_kept(lambda: again.G(z, y)) < bytes_kept(lambda: kept.G(z, y)) * 0.8
    assert bytes_kept(lambda: again.D(images, y)) < bytes_kept(lambda: kept.D(images, y)) * 0.8


def bytes_kept(forward: Callable[[], object]) -> int:
    """For the backward pass, weights not counted."""
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made = forward()  # noqa: F841 (what is kept is kept by its graph)
    return sum(found.values())


def test_every_network_is_one_of_those_or_says_why_not(digits: PackedDataset) -> None:
    assert {name.split(" ")[0] for name in RECOMPUTED} == set(nets.names()) - {"mlp"}
    with pytest.raises(ConfigError, match=r"set train\.recompute=false"):
        tiny(digits, net="mlp", train__recompute=True)


def test_compiled_networks_keep_their_maps(digits: PackedDataset) -> None:
    with pytest.raises(ConfigError, match="set one of them to false"):
        tiny(digits, train__recompute=True, train__compile=True)


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
        exact: set[str] = set()
        for name, part in network.named_modules():
            if part in network.stages():
                part.register_forward_pre_hook(partial(note_precision, name, exact))
        step.discriminator_step()
        assert exact == expected


def note_precision(name: str, exact: set[str], stage: nn.Module, given: tuple[Tensor | None, ...]) -> None:
    if not torch.is_autocast_enabled("cpu"):
        exact.add(name)
        assert all(x is None or x.dtype in (torch.float32, torch.int64) for x in given)
