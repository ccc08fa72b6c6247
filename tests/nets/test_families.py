"""Claims about every network there is a file for."""

from pathlib import Path

import pytest
import torch

from ganloom import nets
from ganloom.core import rng
from ganloom.core.errors import ConfigError
from ganloom.core.shapes import ImageShape
from ganloom.nets import modelfile
from ganloom.nets.generate import generate

FAMILIES = nets.names()
SHAPES = [
    ImageShape(1, 28, 28),
    ImageShape(3, 32, 32),
    ImageShape(3, 33, 47),
    ImageShape(4, 24, 40),
    ImageShape(1, 8, 8),
]
LATENT, CLASSES, COUNT = 12, 5, 4
NARROW = {"width": 8}


def pair(family: str, shape: ImageShape, classes: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    rng.seed(0, "nets")
    G = nets.build_generator(family, shape, LATENT, classes, NARROW)
    return G, nets.build_discriminator(family, shape, classes, NARROW)


def labels(kind: str) -> torch.Tensor | None:
    rng.seed(0, "labels")
    whole = torch.arange(COUNT) % CLASSES
    return {"none": None, "classes": whole, "shares": torch.rand(COUNT, CLASSES)}[kind]


def test_the_families_are_found() -> None:
    assert {"dcgan", "mlp"} <= set(FAMILIES)


@pytest.mark.parametrize("kind", ["none", "classes", "shares"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_and_range(family: str, shape: ImageShape, kind: str) -> None:
    y = labels(kind)
    G, D = pair(family, shape, 0 if y is None else CLASSES)
    images = G(torch.randn(COUNT, LATENT), y)
    assert images.shape == (COUNT, shape.channels, shape.height, shape.width)
    assert images.abs().max() <= 1
    assert D(images, y).logits.shape == (COUNT,)


@pytest.mark.parametrize("kind", ["none", "classes"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_every_weight_and_are_finite(family: str, kind: str) -> None:
    y = labels(kind)
    G, D = pair(family, SHAPES[1], 0 if y is None else CLASSES)
    D(G(torch.randn(COUNT, LATENT), y), y).logits.sum().backward()
    for network in (G, D):
        for name, weight in network.named_parameters():
            assert weight.grad is not None and weight.grad.isfinite().all(), name
            assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("family", FAMILIES)
def test_second_derivatives_are_finite_and_not_nothing(family: str) -> None:
    _, D = pair(family, SHAPES[1], 0)
    images = torch.randn(COUNT, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(D(images, None).logits.sum(), images, create_graph=True)
    gradient.square().sum().backward()
    second = [weight.grad for weight in D.parameters() if weight.grad is not None]
    assert second and all(grad.isfinite().all() for grad in second)
    assert any(grad.abs().sum() > 0 for grad in second)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_key_makes_the_same_network(family: str) -> None:
    first, second = pair(family, SHAPES[0], CLASSES), pair(family, SHAPES[0], CLASSES)
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_classes_make_different_images(family: str) -> None:
    G, _ = pair(family, SHAPES[1], CLASSES)
    z = torch.randn(1, LATENT).repeat(2, 1)
    one, other = G.eval()(z, torch.tensor([0, 1]))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_class_is_the_same_as_its_share(family: str) -> None:
    G, D = pair(family, SHAPES[1], CLASSES)
    z, y = torch.randn(COUNT, LATENT), torch.tensor([0, 3, 4, 1])
    shares = torch.nn.functional.one_hot(y, CLASSES).float()
    torch.testing.assert_close(G(z, y), G(z, shares))
    images = torch.randn(COUNT, 3, 32, 32)
    torch.testing.assert_close(D(images, y).logits, D(images, shares).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_rebuilds_itself(family: str, tmp_path: Path) -> None:
    shape = ImageShape(3, 20, 36)
    G, _ = pair(family, shape, CLASSES)
    header = modelfile.Header(
        net=family, latent=LATENT, options=NARROW, shape=(3, 20, 36), labels=True,
        class_names=list("abcde"), training={"nimg": 3},
    )  # fmt: skip
    modelfile.write(tmp_path / "model.safetensors", G, header)
    again, read = modelfile.read(tmp_path / "model.safetensors")
    assert read == header
    y = torch.arange(6) % CLASSES
    before, after = (torch.cat(list(generate(net, LATENT, 6, 0, y, batch=4))) for net in (G, again))
    assert torch.equal(before, after)


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_do_not_depend_on_the_batch(family: str) -> None:
    G, _ = pair(family, SHAPES[0], 0)
    for weight in G.parameters():
        weight.data *= 10  # fresh weights make almost the same grey of every latent
    whole = torch.cat(list(generate(G, LATENT, 9, 7, None, batch=9)))
    parts = torch.cat(list(generate(G, LATENT, 9, 7, None, batch=2)))
    # Kernels for other batch sizes may round differently: one grey level at most.
    assert (whole.int() - parts.int()).abs().max() <= 1
    assert (whole.int() - whole.flip(0).int()).abs().max() > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_unknown_and_wrong_options_are_refused(family: str) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'width'"):
        nets.build_generator(family, SHAPES[0], LATENT, 0, {"widht": 8})
    with pytest.raises(ConfigError, match="width"):
        nets.build_discriminator(family, SHAPES[0], 0, {"width": "wide"})


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'dcgan'"):
        nets.build_generator("dcgn", SHAPES[0], LATENT, 0, {})
