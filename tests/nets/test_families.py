"""What holds for every network family and its variants."""

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
    estimate_batchnorm,
    g_options,
    labels,
    make_d,
    make_g,
    pair,
    remove_zero_init,
    takes,
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
# A new family is added to one of these lists if it does this on purpose:
STYLES = {"stylegan2", "stylegan2-small"}
COMPARES_IMAGES = {"progressive", "progressive-classifier"} | STYLES  # D uses the deviation over the minibatch
UNBOUNDED = {"r3gan", "r3gan-small"} | COMPARES_IMAGES  # G ends without an activation

every_variant = pytest.mark.parametrize("variant", VARIANTS)
every_kind = pytest.mark.parametrize("kind", ["none", "classes", "overlapping"])


def dimensions(shape: ImageShape) -> tuple[int, int, int]:
    return shape.channels, shape.height, shape.width


def output_sum(judgement: Judgement) -> Tensor:
    """One number that depends on the logits and, if there are any, on the class logits."""
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
        pytest.param(variant, shape, [["none"], ["classes", "overlapping"]][(v + s) % 2], id=f"{variant}-{shape}")
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
def test_images_without_a_final_activation_are_finite_and_of_the_right_scale(variant: str) -> None:
    """Maps start with variance 1 or are normalised to it, and the last layer has unit gain."""
    G, _ = pair(variant, RGB, 0)
    scale = 1 if getattr(G, "truncates", True) else 100  # otherwise z is normalised: its scale has no effect
    images = G(scale * torch.randn(64, LATENT), None)
    assert images.isfinite().all() and 0.3 < images.std() < 3
    assert images.abs().max() > 1, "its images are bounded: remove it from UNBOUNDED"


@pytest.mark.slow
@every_kind
@every_variant
def test_only_a_classifier_returns_class_logits(variant: str, kind: str) -> None:
    y = labels(kind)
    _, D = pair(variant, RGB, 0 if y is None else CLASSES)
    class_logits = D(torch.randn(COUNT, 3, 32, 32), y).class_logits
    if y is not None and VARIANTS[variant].d.get("labels") == "classifier":
        assert class_logits.shape == (COUNT, CLASSES)
    else:
        assert class_logits is None


def normalises_over_the_batch(network: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def cancelled_biases(network: nn.Module) -> set[str]:
    """Biases that the following BatchNorm cancels."""
    if not normalises_over_the_batch(network):
        return set()
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    return {f"{name}.bias" for name, module in layers.items() if module.bias is not None}


@pytest.mark.slow
@every_kind
@every_variant
def test_gradients_reach_every_weight_and_are_finite(variant: str, kind: str) -> None:
    """In float64, where rounding errors are below 1e-12. Growing networks: each weight at one level or another."""
    y = labels(kind)
    G, D = pair(variant, RGB, 0 if y is None else CLASSES)
    for network in (G.double(), D.double()):
        remove_zero_init(network)
    z = torch.randn(COUNT, LATENT, dtype=torch.float64)
    for _ in at_each_level(G, D):
        output_sum(D(G(z, y), y)).backward()
    for network in (G, D):
        largest = max(weight.grad.abs().max() for weight in network.parameters() if weight.grad is not None)
        for name, weight in network.named_parameters():
            if name in cancelled_biases(network):
                continue
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
            assert weight.grad.abs().max() > 1e-9 * largest, name


@pytest.mark.slow
@every_kind
@every_variant
def test_second_derivatives_are_finite_and_reach_every_weight(variant: str, kind: str) -> None:
    """As gradient penalties need them. Biases of piecewise linear networks have no second derivatives."""
    y = labels(kind)
    _, D = pair(variant, RGB, 0 if y is None else CLASSES)
    remove_zero_init(D.double())
    images = torch.randn(COUNT, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    for _ in at_each_level(D):
        (gradient,) = torch.autograd.grad(output_sum(D(images, y)), images, create_graph=True)
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
def test_the_same_seed_gives_the_same_network(variant: str) -> None:
    for one, other in zip(pair(variant, RGB, CLASSES), pair(variant, RGB, CLASSES), strict=True):
        assert one.state_dict().keys() == other.state_dict().keys()
        assert all(
            torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )


@every_variant
def test_forward_passes_are_repeatable(variant: str) -> None:
    """Random draws depend on torch's seed alone, and a forward pass changes nothing but BatchNorm's statistics."""
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
def test_the_class_changes_the_image_and_the_logit(variant: str) -> None:
    G, D = pair(variant, RGB, CLASSES)
    z = torch.randn(1, LATENT).repeat(COUNT, 1)
    images = G(z, labels("classes"))
    for index in range(1, COUNT):
        assert (images[index] - images[0]).abs().max() > 0.01
    # D is conditioned on the class, or predicts it.
    image, classes = torch.randn(1, 3, 32, 32).repeat(COUNT, 1, 1, 1), labels("classes")
    logits = D(image, classes).logits
    assert (logits.detach().std() > 1e-5) == (VARIANTS[variant].d.get("labels") != "classifier")


@every_variant
def test_an_integer_label_is_equivalent_to_a_one_hot_label(variant: str) -> None:
    G, D = pair(variant, RGB, CLASSES)
    z, y = torch.randn(COUNT, LATENT), torch.tensor([0, 3, 4, 1])
    one_hot = torch.nn.functional.one_hot(y, CLASSES).float()
    torch.testing.assert_close(G.eval()(z, y), G(z, one_hot))  # in training mode it may draw noise
    images = torch.randn(COUNT, 3, 32, 32)
    torch.testing.assert_close(D(images, y).logits, D(images, one_hot).logits)


@every_variant
def test_a_saved_model_is_rebuilt_completely(variant: str, tmp_path: Path) -> None:
    """With its options, its weights and its buffers: BatchNorm statistics, vectors of spectral norms."""
    G, _ = pair(variant, ImageShape(3, 20, 36), CLASSES)
    with torch.no_grad():
        for weight in G.parameters():
            weight += 0.1 * torch.randn_like(weight)
    advance(G)
    estimate_batchnorm(G, labels("classes"))
    header = modelfile.Header(
        net=VARIANTS[variant].family, latent=LATENT, options=g_options(variant), shape=(3, 20, 36), labels=True,
        class_names=list("abcde"), training={"nimg": 3},
    )  # fmt: skip
    modelfile.write(tmp_path / "model.safetensors", G, header)
    again, read, *_ = modelfile.read(tmp_path / "model.safetensors")
    assert read == header
    y = torch.arange(6) % CLASSES
    before, after = (torch.cat(list(generate(net, LATENT, 6, 0, y, batch=4))) for net in (G, again))
    assert torch.equal(before, after)
    assert before.float().std() > 5, "with grey images the test proves nothing"


@pytest.mark.parametrize("kind", ["none", "overlapping"])
@every_variant
def test_images_do_not_depend_on_the_batch_size(variant: str, kind: str) -> None:
    y = labels(kind)
    G, _ = pair(variant, ImageShape(1, 28, 28), 0 if y is None else CLASSES)
    estimate_batchnorm(G, y)
    y = None if y is None else y.repeat(3, 1)[:9]
    whole = torch.cat(list(generate_floats(G, LATENT, 9, 7, y, batch=9)))
    parts = torch.cat(list(generate_floats(G, LATENT, 9, 7, y, batch=2)))
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-4)  # other kernels round differently
    assert (whole - whole.flip(0)).abs().max() > 0.01, "with equal images the test proves nothing"


@every_variant
def test_d_judges_each_image_independently_unless_listed(variant: str) -> None:
    """As gradient penalties need it. Exceptions are networks with BatchNorm, and those listed above."""
    _, D = pair(variant, RGB, 0)
    images = torch.randn(COUNT, 3, 32, 32)
    together, alone = D(images, None).logits[:2], D(images[:2], None).logits
    if normalises_over_the_batch(D) or variant in COMPARES_IMAGES:
        assert (together - alone).abs().max() > 1e-4
    else:
        torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("shape", [RGB, ImageShape(1, 8, 8)], ids=str)
@every_variant
def test_stages_share_no_weights_and_act_in_order(variant: str, shape: ImageShape) -> None:
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
def test_freezing_more_stages_freezes_more_weights_and_never_all(variant: str) -> None:
    y = labels("classes")
    for make in (make_g, make_d):
        stages = len(make(variant, SMALL, CLASSES).stages())
        assert stages >= 3
        trainable = []
        for count in range(stages):
            network = make(variant, SMALL, CLASSES)
            for stage in network.stages()[:count]:
                stage.requires_grad_(False)
            if make is make_g:
                network(torch.randn(COUNT, LATENT), y).square().sum().backward()
            else:
                output_sum(network(torch.randn(COUNT, *dimensions(SMALL)), y)).backward()
            trainable.append(sum(weight.grad is not None for weight in network.parameters()))
        assert trainable == sorted(set(trainable), reverse=True) and trainable[-1] > 0


@pytest.mark.parametrize("family", PLAIN)
def test_either_both_networks_of_a_family_grow_or_neither_does(family: str) -> None:
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
