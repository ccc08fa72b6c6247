"""Inception against torch-fidelity's, from the same file of random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ganloom.core.errors import ConfigError, ModelError
from ganloom.metrics import extractors
from ganloom.metrics.extractors import inception, resize, weights
from ganloom.metrics.extractors.inception import Inception

pytestmark = pytest.mark.slow

TAPS = {"64": "MaxPool_1", "192": "MaxPool_2", "768": "Mixed_6e"}  # the layers that torch-fidelity takes them from
HEADS = ("2048", "logits_unbiased", "logits")
SIZES = [(28, 28), (32, 32), (64, 64), (256, 256), (299, 299), (512, 512), (100, 60)]


def pictures(count: int, height: int, width: int, seed: int = 0) -> Tensor:  # uint8 [N, 3, H, W]
    """Blots with grain."""
    random = torch.Generator().manual_seed(seed)
    blots = F.interpolate(torch.rand(count, 3, 6, 6, generator=random), (height, width), mode="bilinear")
    grain = torch.rand(count, 3, height, width, generator=random)
    return (200 * blots + 55 * grain).to(torch.uint8)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights. BatchNorm's statistics are those of some images, and its biases let most of a map through ReLU.

    With biases about 0 a random network of this depth multiplies rounding a hundredfold, in torch-fidelity as here.
    """
    network = inception.build().to_empty(device="cpu").eval()
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, generator=random)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.bias, generator=random)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=random)
            nn.init.normal_(module.bias, 1.5, 0.3, generator=random)
            module.reset_running_stats()
            module.train().momentum = 1.0  # the statistics are the batch's
    with torch.no_grad():
        network(inception.normalise(pictures(4, 299, 299, seed=1).float()))
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def ours(weights_file: Path) -> Inception:
    return Inception(weights.read(weights_file).tensors)


@pytest.fixture(scope="module")
def theirs(weights_file: Path) -> nn.Module:
    extractor: Any = oracle.torch_fidelity().feature_extractor_inceptionv3.FeatureExtractorInceptionV3
    network: nn.Module = extractor("random", [*TAPS, *HEADS], feature_extractor_weights_path=str(weights_file))
    return network


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_all_heads_equal_torch_fidelitys(ours: Inception, theirs: nn.Module, height: int, width: int) -> None:
    images = pictures(2, height, width)
    *_, expected, expected_unbiased, expected_logits = theirs(images)
    features, unbiased = ours(images)
    assert features.shape == (2, 2048)
    assert unbiased is not None and unbiased.shape == (2, 1008)
    assert apart(features, expected) < 1e-5
    assert apart(unbiased, expected_unbiased) < 1e-5
    assert apart(ours.fc(features), expected_logits) < 1e-5


def test_maps_on_the_way_equal_torch_fidelitys(ours: Inception, theirs: nn.Module) -> None:
    images = pictures(2, 64, 64)
    x, found = inception.normalise(resize.tf1(images.float(), inception.SIZE)), {}
    for name, layer in ours.body.named_children():
        x = found[name] = layer(x)
    for layer_name, expected in zip(TAPS.values(), theirs(images), strict=False):
        assert apart(found[layer_name].mean((2, 3)), expected) < 1e-5


def test_another_resize_gives_other_features(weights_file: Path, ours: Inception) -> None:
    clean = Inception(weights.read(weights_file).tensors, resize="clean-299")
    images = pictures(2, 64, 64)
    smooth = F.interpolate(images.float(), (299, 299), mode="bilinear", antialias=True)
    expected = ours(images).features
    assert apart(clean(images).features, expected) > 1e-2
    assert apart(ours(smooth).features, expected) > 1e-2


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_tf1_resize_is_torch_fidelitys_to_the_last_bit(height: int, width: int) -> None:
    oracle.torch_fidelity()
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    images = pictures(2, height, width).float()
    expected = interpolate_bilinear_2d_like_tensorflow1x(images, size=(299, 299), align_corners=False)
    assert torch.equal(resize.tf1(images, 299), expected)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_clean_resize_is_pillows_on_float_channels(height: int, width: int) -> None:
    images = (pictures(2, height, width) // 128 * 255).float()  # steep edges: bicubic leaves 0 to 255
    planes = [
        Image.fromarray(plane).resize((299, 299), Image.Resampling.BICUBIC) for plane in images.flatten(0, 1).numpy()
    ]
    expected = torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]).clip(0, 255)).unflatten(0, (2, 3))
    assert (resize.clean(images, 299) - expected).abs().max() < 1e-4  # of 255


def test_grey_images_count_as_rgb_and_floats_as_levels(ours: Inception) -> None:
    grey = pictures(2, 32, 32)[:, :1]
    expected = ours(grey.expand(-1, 3, -1, -1)).features
    assert torch.equal(ours(grey).features, expected)
    assert torch.equal(ours(grey.float()).features, expected)


def test_features_of_an_image_do_not_depend_on_its_batch(ours: Inception) -> None:
    images = pictures(18, 32, 32)
    together = ours(images).features
    assert torch.equal(torch.cat([ours(images[:8]).features, ours(images[8:]).features]), together)
    assert apart(torch.cat([ours(image[None]).features for image in images[:3]]), together[:3]) < 1e-5


def test_an_extractor_is_frozen_and_takes_no_random_numbers(weights_file: Path) -> None:
    before = torch.get_rng_state()
    network = Inception(weights.read(weights_file).tensors)
    assert torch.equal(torch.get_rng_state(), before)
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_weights_that_do_not_fit_are_refused(weights_file: Path, change: str) -> None:
    state = weights.read(weights_file).tensors
    name = "Mixed_7c.branch3x3_2b.conv.weight"
    if change == "missing":
        del state[name]
    elif change == "unknown":
        state["Mixed_8a.conv.weight"] = state[name]
    else:
        state[name] = state[name].mT
    with pytest.raises(RuntimeError, match=r"Mixed_"):
        Inception(state)


def test_only_verified_weights_are_called_inception(weights_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Inception(weights.read(weights_file).tensors).id == "unpublished"
    with pytest.raises(ModelError, match=f"its sha256 is .*, not {weights.INCEPTION.sha256}"):
        extractors.find("inception", weights_file)
    sha256 = weights.read(weights_file).sha256
    monkeypatch.setattr(weights, "INCEPTION", weights.INCEPTION._replace(sha256=sha256))
    plain, clean = (extractors.find(name, weights_file) for name in ("inception", "inception-clean"))
    assert (plain.id, plain.resize, plain.weights) == ("inception", "tf1-299", sha256)
    assert (clean.id, clean.resize, clean.weights) == ("inception-clean", "clean-299", sha256)


TRUNK = Path(__file__).parents[2] / "scripts" / "inception_trunk.py"


def test_the_trunks_features_are_those_on_the_way(
    ours: Inception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an .npz file with unknown names, in the order of the network."""
    trunk = ours.body[: [name for name, _ in ours.body.named_children()].index("Mixed_6e") + 1]
    values = {f"t{number}": value.numpy() for number, value in enumerate(trunk.state_dict().values())}
    np.savez(tmp_path / "trunk.npz", **values)
    monkeypatch.setenv("INCEPTION_TRUNK", str(tmp_path / "trunk.npz"))
    extractor = extractors.find(f"{TRUNK}:trunk")
    assert (extractor.id, extractor.resize) == ("inception-768", "tf1-299")
    weights_before = extractor.weights
    values["t0"] = values["t0"] + 1
    np.savez(tmp_path / "trunk.npz", **values)
    assert extractors.find(f"{TRUNK}:trunk").weights != weights_before
    images = pictures(2, 32, 32)
    expected = trunk(inception.normalise(resize.tf1(images.float(), inception.SIZE))).mean((2, 3))
    assert apart(extractor(images).features, expected) < 1e-6


def test_a_trunk_that_is_missing_or_wrong_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INCEPTION_TRUNK", raising=False)
    with pytest.raises(ConfigError, match="set INCEPTION_TRUNK"):
        extractors.find(f"{TRUNK}:trunk")
    np.savez(tmp_path / "trunk.npz", conv=np.ones((32, 3, 3, 3)))
    monkeypatch.setenv("INCEPTION_TRUNK", str(tmp_path / "trunk.npz"))
    with pytest.raises(ModelError, match="does not hold the trunk's weights"):
        extractors.find(f"{TRUNK}:trunk")
    (tmp_path / "trunk.npz").write_bytes(b"hello")
    with pytest.raises(ModelError, match="does not hold the trunk's weights"):
        extractors.find(f"{TRUNK}:trunk")
