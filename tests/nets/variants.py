"""The networks that tests are parametrized over: every family with its defaults and with its options, all narrow."""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganloom import nets
from ganloom.core import rng
from ganloom.core.shapes import ImageShape
from ganloom.nets.contract import Growing

LATENT, CLASSES, COUNT, WIDTH = 12, 5, 4, 8


class Variant(NamedTuple):
    family: str
    g: dict[str, Any]  # options beside the width
    d: dict[str, Any]


def takes(network: type, option: str) -> bool:
    return option in inspect.signature(network).parameters


# A new file in nets/ is tested automatically: with its defaults, and as a classifier if its D has that option.
PLAIN = {name: Variant(name, {}, {}) for name in nets.names()}
CLASSIFIERS = {
    f"{name}-classifier": Variant(name, {}, {"labels": "classifier"})
    for name in PLAIN
    if takes(nets.family(name).Discriminator, "labels")
}
BIGGAN = {"attention": 16, "spectral": True, "shared_embedding": 6, "hierarchical": True, "orthogonal": True}
VARIANTS = {
    **PLAIN,
    **CLASSIFIERS,
    "dcgan-layer": Variant("dcgan", {}, {"norm": "layer"}),
    "dcgan-spectral": Variant("dcgan", {}, {"norm": "spectral"}),
    "dcgan-none": Variant("dcgan", {}, {"norm": "none"}),
    "dcgan-pool": Variant("dcgan", {}, {"head": "pool"}),
    "dcgan-bias": Variant("dcgan", {}, {"bias": True}),
    "dcgan-layer-bias": Variant("dcgan", {}, {"norm": "layer", "bias": True}),
    "resnet-sagan": Variant("resnet", {"attention": 16, "spectral": True}, {"attention": 16}),
    "resnet-biggan": Variant("resnet", BIGGAN, {"attention": 16, "orthogonal": True}),
    "resnet-free": Variant("resnet", {}, {"spectral": False}),
    "progressive-dcgan": Variant("progressive", {"blocks": "dcgan"}, {"blocks": "dcgan"}),
    "progressive-dcgan-bias": Variant("progressive", {"blocks": "dcgan"}, {"blocks": "dcgan", "bias": True}),
    "r3gan-small": Variant("r3gan", {"full": 16, "group": 2, "blocks": 1}, {"full": 16, "group": 2, "blocks": 1}),
    "stylegan2-small": Variant("stylegan2", {"full": 16, "mapping": 2}, {"full": 16, "mapping": 2}),
    "progressive-dcgan-none": Variant("progressive", {"blocks": "dcgan"}, {"blocks": "dcgan", "norm": "none"}),
}


def options(network: type, extra: dict[str, Any]) -> dict[str, Any]:
    return {**({"width": WIDTH} if takes(network, "width") else {}), **extra}


def g_options(variant: str) -> dict[str, Any]:
    return options(nets.family(VARIANTS[variant].family).Generator, VARIANTS[variant].g)


def make_g(variant: str, shape: ImageShape, classes: int) -> nn.Module:
    return nets.build_generator(VARIANTS[variant].family, shape, LATENT, classes, g_options(variant))


def make_d(variant: str, shape: ImageShape, classes: int) -> nn.Module:
    family, _, extra = VARIANTS[variant]
    return nets.build_discriminator(family, shape, classes, options(nets.family(family).Discriminator, extra))


def pair(variant: str, shape: ImageShape, classes: int) -> tuple[nn.Module, nn.Module]:
    """A new G and D, the same on every call. What the test draws afterwards is the same every time too."""
    rng.seed(0, "nets")
    return make_g(variant, shape, classes), make_d(variant, shape, classes)


def labels(kind: str) -> Tensor | None:
    rng.seed(0, "labels")
    return {"none": None, "classes": torch.arange(COUNT) % CLASSES, "overlapping": torch.rand(COUNT, CLASSES)}[kind]


def remove_zero_init(network: nn.Module) -> None:
    """Replace zero initialisation (attention's gain, the last convolution of a block), which blocks gradients."""
    for module in network.modules():
        if isinstance(gain := getattr(module, "gain", None), nn.Parameter):
            nn.init.ones_(gain)
        if isinstance(module, nn.Conv2d) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.1)


def estimate_batchnorm(G: nn.Module, y: Tensor | None) -> None:
    """Estimate BatchNorm's statistics, as training would: without them, all images of a new G are the same grey."""
    for module in G.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean over all calls
    with torch.no_grad():
        for _ in range(4):
            G.train()(torch.randn(COUNT, LATENT), y)


def at_each_level(*networks: nn.Module) -> Iterator[None]:
    """Yield once; for growing networks, once at each of their levels."""
    if not isinstance(networks[0], Growing):
        yield
        return
    for level in range(networks[0].levels + 1):
        for network in networks:
            network.level.fill_(level)
        yield


def weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())
