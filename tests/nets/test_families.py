"""Claims about every network there is a file for, and about their variants."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from variants import (
    CLASSES,
    COUNT,
    LATENT,
    PLAIN,
    VARIANTS,
    at_each_level,
    g_options,
    labels,
    make_d,
    make_g,
    pair,
    settle,
    takes,
    wake,
)  # fmt: skip

from ganloom import nets
from ganloom.core.errors import ConfigError
from ganloom.core.shapes import ImageShape
from ganloom.models import modelfile
from ganloom.models.generate import generate, generate_floats
from ganloom.nets.contract import Growing, Judgement, Staged
from ganloom.nets.layers.spectral import advance

SHAPES = [
    ImageShape(1, 28, 28),
    ImageShape(3, 32, 32),
    ImageShape(3, 33, 47),
    ImageShape(4, 24, 40),
    ImageShape(1, 8, 8),
    ImageShape(3, 32, 48),
    ImageShape(1, 100, 60),
]
RGB, SMALL = ImageShape(3, 32, 32), ImageShape(3, 16, 16)
# What a new family has to be listed for, if it does so on purpose:
STYLES = {"stylegan2", "stylegan2-small"}
COMPARES = {"progressive", "progressive-classifier"} | STYLES  # D looks at the minibatch's deviation
UNBOUNDED = {"r3gan", "r3gan-small"} | COMPARES  # G ends without an activation

every_variant = pytest.mark.parametrize("variant", VARIANTS)
every_kind = pytest.mark.parametrize("kind", ["none", "classes", "shares"])


def dimensions(shape: ImageShape) -> tuple[int, int, int]:
    return shape.channels, shape.height, shape.width


def said(judgement: Judgement) -> Tensor:
    """One number of all that D says, in which class logits have a part."""
    total = judgement.logits.sum()
    return total if judgement.class_logits is None else total + judgement.class_logits.square().sum()


def test_every_family_is_among_the_variants() -> None:
    assert {"dcgan", "mlp", "resnet", "progressive", "r3gan", "stylegan2"} <= set(nets.names()) == set(PLAIN)
    assert {variant.family for variant in VARIANTS.values()} == set(nets.names())


# Every variant at every shape, every variant and every shape with and without labels; how labels are given changes
# nothing about the sizes of layers, so that not every triple is tried.
@pytest.mark.parametrize(
    ("variant", "shape", "kinds"),
    [
        pytest.param(variant, shape, [["none"], ["classes", "shares"]][(v + s) % 2], id=f"{variant}-{shape}")
        for v, variant in enumerate(VARIANTS)
        for s, shape in enumerate(SHAPES)
    ],
)
def test_shapes_and_range(variant: str, shape: ImageShape, kinds: list[str]) -> None:
    G, D = pair(variant, shape, 0 if kinds == ["none"] else CLASSES)
    for weight in G.parameters():
        weight.data *= 3
    for y in map(labels, kinds):
        images = G(torch.randn(COUNT, LATENT), y)
        assert images.shape == (COUNT, *dimensions(shape))
        assert images.isfinite().all()
        assert images.abs().max() <= 1 or variant in UNBOUNDED, "beyond [-1, 1]"
        judgement = D(images, y)
        assert judgement.logits.shape == (COUNT,) and judgement.logits.isfinite().all()
        assert judgement.features is None or (judgement.features.ndim == 2 and len(judgement.features) == COUNT)


@pytest.mark.parametrize("variant", sorted(UNBOUNDED))
def test_images_without_an_activation_are_finite_and_of_the_size_of_images(variant: str) -> None:
    """Maps begin at 1 or are kept there, and a layer of unit gain leaves them there."""
    G, _ = pair(variant, RGB, 0)
    scale = 1 if getattr(G, "truncates", True) else 100  # pixelwise normalisation makes nothing of the length of z
    images = G(scale * torch.randn(64, LATENT), None)
    assert images.isfinite().all() and 0.3 < images.std() < 3
    assert images.abs().max() > 1, "it has a bound after all: take it out of UNBOUNDED"


@every_kind
@every_variant
def test_class_logits_are_there_for_a_classifier_and_only_then(variant: str, kind: str) -> None:
    y = labels(kind)
    _, D = pair(variant, RGB, 0 if y is None else CLASSES)
    of_classes = D(torch.randn(COUNT, 3, 32, 32), y).class_logits
    if y is not None and VARIANTS[variant].d.get("labels") == "classifier":
        assert of_classes.shape == (COUNT, CLASSES)
    else:
        assert of_classes is None


def normalises_over_the_batch(network: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def untaught_biases(network: nn.Module) -> set[str]:
    """Biases that the BatchNorm after them takes away again."""
    if not normalises_over_the_batch(network):
        return set()
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    return {f"{name}.bias" for name, module in layers.items() if module.bias is not None}


@every_kind
@every_variant
def test_gradients_reach_every_weight_and_are_finite(variant: str, kind: str) -> None:
    """In float64, where what should be nothing is below 1e-12. Growing networks: at one level or another."""
    y = labels(kind)
    G, D = pair(variant, RGB, 0 if y is None else CLASSES)
    for network in (G.double(), D.double()):
        wake(network)
    z = torch.randn(COUNT, LATENT, dtype=torch.float64)
    for _ in at_each_level(G, D):
        said(D(G(z, y), y)).backward()
    for network in (G, D):
        largest = max(weight.grad.abs().max() for weight in network.parameters() if weight.grad is not None)
        for name, weight in network.named_parameters():
            if name in untaught_biases(network):
                continue
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
            assert weight.grad.abs().max() > 1e-9 * largest, name


@every_kind
@every_variant
def test_second_derivatives_are_finite_and_reach_every_weight(variant: str, kind: str) -> None:
    """As gradient penalties take them. Biases have none where a network is linear between its corners."""
    y = labels(kind)
    _, D = pair(variant, RGB, 0 if y is None else CLASSES)
    wake(D.double())
    images = torch.randn(COUNT, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    for _ in at_each_level(D):
        (gradient,) = torch.autograd.grad(said(D(images, y)), images, create_graph=True)
        assert gradient.requires_grad and gradient.abs().max() > 0
        gradient.square().sum().backward()
    largest = max(weight.grad.abs().max() for weight in D.parameters() if weight.grad is not None)
    assert largest.isfinite() and largest > 0
    for name, weight in D.named_parameters():
        assert weight.grad is None or weight.grad.isfinite().all(), name
        if not name.endswith("bias"):
            assert weight.grad is not None, name
            assert weight.grad.abs().max() > 1e-12 * largest, name


@every_variant
def test_the_same_key_makes_the_same_network(variant: str) -> None:
    for one, other in zip(pair(variant, RGB, CLASSES), pair(variant, RGB, CLASSES), strict=True):
        assert one.state_dict().keys() == other.state_dict().keys()
        assert all(
            torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )


@every_variant
def test_to_ask_again_is_to_get_the_same(variant: str) -> None:
    """What is drawn hangs on torch's seed, and nothing but BatchNorm's statistics changes with use."""
    y = labels("classes")
    G, D = pair(variant, RGB, CLASSES)
    z = torch.randn(COUNT, LATENT)
    before = [{name: value.clone() for name, value in network.state_dict().items()} for network in (G, D)]
    torch.manual_seed(1)
    images = G(z, y)
    torch.manual_seed(1)
    again = G(z, y)
    assert torch.equal(images, again)
    assert torch.equal(D(images, y).logits, D(images, y).logits)
    for network, values in zip((G, D), before, strict=True):
        for name, value in network.state_dict().items():
            if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
                assert torch.equal(value, values[name]), name


@every_variant
def test_classes_make_different_images(variant: str) -> None:
    G, D = pair(variant, RGB, CLASSES)
    z = torch.randn(1, LATENT).repeat(COUNT, 1)
    images = G(z, labels("classes"))
    for index in range(1, COUNT):
        assert (images[index] - images[0]).abs().max() > 0.01
    # D is told the class, or has to find it.
    image, classes = torch.randn(1, 3, 32, 32).repeat(COUNT, 1, 1, 1), labels("classes")
    logits = D(image, classes).logits
    assert (logits.detach().std() > 1e-5) == (VARIANTS[variant].d.get("labels") != "classifier")


@every_variant
def test_a_whole_class_is_the_same_as_its_share(variant: str) -> None:
    G, D = pair(variant, RGB, CLASSES)
    z, y = torch.randn(COUNT, LATENT), torch.tensor([0, 3, 4, 1])
    shares = torch.nn.functional.one_hot(y, CLASSES).float()
    torch.testing.assert_close(G.eval()(z, y), G(z, shares))  # in training it may draw
    images = torch.randn(COUNT, 3, 32, 32)
    torch.testing.assert_close(D(images, y).logits, D(images, shares).logits)


@every_variant
def test_a_saved_model_rebuilds_itself(variant: str, tmp_path: Path) -> None:
    """With its options, with what it learned, and with all that is no weight: statistics, vectors of spectral norms."""
    G, _ = pair(variant, ImageShape(3, 20, 36), CLASSES)
    with torch.no_grad():
        for weight in G.parameters():
            weight += 0.1 * torch.randn_like(weight)
    advance(G)
    settle(G, labels("classes"))
    header = modelfile.Header(
        net=VARIANTS[variant].family, latent=LATENT, options=g_options(variant), shape=(3, 20, 36), labels=True,
        class_names=list("abcde"), training={"nimg": 3},
    )  # fmt: skip
    modelfile.write(tmp_path / "model.safetensors", G, header)
    again, read = modelfile.read(tmp_path / "model.safetensors")
    assert read == header
    y = torch.arange(6) % CLASSES
    before, after = (torch.cat(list(generate(net, LATENT, 6, 0, y, batch=4))) for net in (G, again))
    assert torch.equal(before, after)
    assert before.float().std() > 5, "a grey picture shows nothing"


@pytest.mark.parametrize("kind", ["none", "shares"])
@every_variant
def test_pictures_do_not_depend_on_the_batch(variant: str, kind: str) -> None:
    y = labels(kind)
    G, _ = pair(variant, ImageShape(1, 28, 28), 0 if y is None else CLASSES)
    settle(G, y)
    y = None if y is None else y.repeat(3, 1)[:9]
    whole = torch.cat(list(generate_floats(G, LATENT, 9, 7, y, batch=9)))
    parts = torch.cat(list(generate_floats(G, LATENT, 9, 7, y, batch=2)))
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-4)  # other kernels round differently
    assert (whole - whole.flip(0)).abs().max() > 0.01, "pictures that are all alike show nothing"


@every_variant
def test_d_judges_an_image_by_itself_unless_it_is_known_not_to(variant: str) -> None:
    """As gradient penalties need it: all but those with BatchNorm, and those listed above."""
    _, D = pair(variant, RGB, 0)
    images = torch.randn(COUNT, 3, 32, 32)
    together, alone = D(images, None).logits[:2], D(images[:2], None).logits
    if normalises_over_the_batch(D) or variant in COMPARES:
        assert (together - alone).abs().max() > 1e-4
    else:
        torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("shape", [RGB, ImageShape(1, 8, 8)], ids=str)
@every_variant
def test_stages_have_weights_of_their_own_and_act_in_their_order(variant: str, shape: ImageShape) -> None:
    G, D = pair(variant, shape, 0)
    for network, given in ((G, torch.randn(COUNT, LATENT)), (D, torch.randn(COUNT, *dimensions(shape)))):
        assert isinstance(network, Staged)
        stages = network.stages()
        owned = [id(weight) for stage in stages for weight in stage.parameters()]
        assert len(owned) == len(set(owned)), "two stages share a weight"
        assert set(owned) <= {id(weight) for weight in network.parameters()}
        acted: list[nn.Module] = []
        for stage in stages:
            assert next(stage.parameters(), None) is not None, f"{type(stage).__name__} has no weights"
            inside = next(m for m in stage.modules() if next(m.parameters(recurse=False), None) is not None)
            inside.register_forward_hook(lambda *_, acted=acted, stage=stage: acted.append(stage))
        network(given, None)
        assert list(dict.fromkeys(acted)) == stages


@every_variant
def test_to_freeze_more_stages_freezes_more_and_never_all(variant: str) -> None:
    y = labels("classes")
    for make in (make_g, make_d):
        stages = len(make(variant, SMALL, CLASSES).stages())
        assert stages >= 3
        learning = []
        for count in range(stages):
            network = make(variant, SMALL, CLASSES)
            for stage in network.stages()[:count]:
                stage.requires_grad_(False)
            if make is make_g:
                network(torch.randn(COUNT, LATENT), y).square().sum().backward()
            else:
                said(network(torch.randn(COUNT, *dimensions(SMALL)), y)).backward()
            learning.append(sum(weight.grad is not None for weight in network.parameters()))
        assert learning == sorted(set(learning), reverse=True) and learning[-1] > 0


@pytest.mark.parametrize("family", PLAIN)
def test_both_networks_of_a_family_grow_or_neither(family: str) -> None:
    G, D = pair(family, RGB, 0)
    assert isinstance(G, Growing) == isinstance(D, Growing)


@pytest.mark.parametrize("family", PLAIN)
def test_unknown_and_wrong_options_are_refused(family: str) -> None:
    with pytest.raises(ConfigError, match="unknown option 'colour'"):
        nets.build_generator(family, RGB, LATENT, 0, {"colour": 8})
    with pytest.raises(ConfigError, match="unknown option 'colour'"):
        nets.build_discriminator(family, RGB, 0, {"colour": 8})
    if takes(nets.family(family).Generator, "width"):
        with pytest.raises(ConfigError, match="Did you mean 'width'"):
            nets.build_generator(family, RGB, LATENT, 0, {"widht": 8})
        with pytest.raises(ConfigError, match="width"):
            nets.build_generator(family, RGB, LATENT, 0, {"width": 0})
    if takes(nets.family(family).Discriminator, "labels"):
        with pytest.raises(ConfigError, match="labels"):
            nets.build_discriminator(family, RGB, CLASSES, {"labels": "guess"})


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'dcgan'"):
        nets.build_generator("dcgn", RGB, LATENT, 0, {})
