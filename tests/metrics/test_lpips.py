"""LPIPS against its formula with random weights, the files that hold it, and the diversity it measures."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from comparing import comparison, digits, shapes
from torch import Tensor

from ganloom.core.errors import ModelError
from ganloom.metrics.extractors.perceptual import ALEXNET, HEADS, Lpips, load_lpips
from ganloom.metrics.lpips import measure

SHAPES = {
    "0": (64, 3, 11, 11),
    "3": (192, 64, 5, 5),
    "6": (384, 192, 3, 3),
    "8": (256, 384, 3, 3),
    "10": (256, 256, 3, 3),
}


def weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of AlexNet, its classifier left out, and of the heads: random, and no weight of a head below 0."""
    generator = torch.Generator().manual_seed(0)
    alexnet, heads = {"classifier.6.bias": torch.zeros(1000)}, {}
    for layer, (place, shape) in enumerate(SHAPES.items()):
        scale = (2 / np.prod(shape[1:])) ** 0.5
        alexnet[f"features.{place}.weight"] = torch.randn(shape, generator=generator) * scale
        alexnet[f"features.{place}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
        heads[f"lin{layer}.model.1.weight"] = torch.rand(1, shape[0], 1, 1, generator=generator)
    return alexnet, heads


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    alexnet, heads = weights()
    torch.save(alexnet, tmp_path / ALEXNET)
    torch.save(heads, tmp_path / HEADS)
    return tmp_path


@pytest.fixture(scope="module")
def lpips(tmp_path_factory: pytest.TempPathFactory) -> Lpips:
    place = tmp_path_factory.mktemp("lpips")
    alexnet, heads = weights()
    torch.save(alexnet, place / ALEXNET)
    torch.save(heads, place / HEADS)
    return load_lpips(place)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def formula(a: Tensor, b: Tensor) -> list[float]:
    """Zhang et al. 2018, equation 1, one pair and one layer after the other, with AlexNet written out, in float64."""
    alexnet, heads = ({name: value.double() for name, value in state.items()} for state in weights())
    found = []
    for pair in zip(a, b, strict=True):
        layers: list[list[Tensor]] = []
        for image in pair:
            x = image[None].double() / 255 * 2 - 1
            x = torch.stack([(x[:, 0] + 0.030) / 0.458, (x[:, 1] + 0.088) / 0.448, (x[:, 2] + 0.188) / 0.450], 1)
            maps = []
            for place, stride, padding in (("0", 4, 2), ("3", 1, 2), ("6", 1, 1), ("8", 1, 1), ("10", 1, 1)):
                if place in ("3", "6"):
                    x = F.max_pool2d(x, kernel_size=3, stride=2)
                weight, bias = alexnet[f"features.{place}.weight"], alexnet[f"features.{place}.bias"]
                x = F.conv2d(x, weight, bias, stride, padding).relu()
                maps.append(x[0])
            layers.append(maps)
        total = 0.0
        for layer, (x, y) in enumerate(zip(*layers, strict=True)):
            difference = (x / x.norm(dim=0) - y / y.norm(dim=0)) ** 2  # [C, h, w]
            total += (heads[f"lin{layer}.model.1.weight"][0] * difference).sum(0).mean().item()
        found.append(total)
    return found


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 80)])
def test_lpips_is_the_formula(lpips: Lpips, height: int, width: int) -> None:
    a, b = noise(3, 3, height, width), noise(3, 3, height, width, seed=1) // 2 + 60
    found = lpips(a, b)
    assert found.tolist() == pytest.approx(formula(a, b), rel=1e-5)
    assert torch.allclose(lpips(b, a), found)
    assert lpips(a, a).tolist() == [0, 0, 0]
    assert torch.allclose(lpips(a[1:2], b[1:2]), found[1:2], rtol=1e-5)


def test_small_grey_and_transparent_pictures_are_compared_too(lpips: Lpips) -> None:
    a, b = noise(2, 1, 28, 28), noise(2, 1, 28, 28, seed=1)
    grey = lpips(a, b)
    assert (grey > 0).all() and torch.allclose(grey, lpips(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1)))
    large = [F.interpolate(x.float(), (64, 64), mode="bilinear") for x in (a, b)]
    assert torch.allclose(lpips(*large), grey, rtol=1e-5)
    assert lpips(noise(2, 4, 40, 8), noise(2, 4, 40, 8, seed=1)).shape == (2,)


@pytest.mark.slow
def test_too_little_variety_looks_more_alike_than_real_images(lpips: Lpips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganloom.metrics.lpips.PAIRS", 150)
    images, labels = digits()
    new = images[900:]
    fakes = (new, new[labels[900:] == 1], np.repeat(new[:1], 120, axis=0))
    good, collapsed, constant = (measure(comparison(images[:900], fake, lpips=lpips)) for fake in fakes)
    low, high = good["lpips_real"].low, collapsed["lpips"].high
    assert good["lpips"].value == pytest.approx(good["lpips_real"].value, rel=0.1)
    assert low is not None and high is not None and high < low
    assert constant["lpips"].value == pytest.approx(0, abs=1e-7)
    assert good["lpips_real"] == collapsed["lpips_real"]


def test_colour_counts(lpips: Lpips) -> None:
    images, _ = shapes(2, size=64)
    pictures = torch.tensor(images[:1]).permute(0, 3, 1, 2)
    assert lpips(pictures, pictures.flip(1)).item() > 0.01


def test_other_weights_have_another_name(folder: Path) -> None:
    first = load_lpips(folder).weights
    assert len(first) == 64 and load_lpips(folder).weights == first
    torch.save({name: value + 1 for name, value in weights()[1].items()}, folder / HEADS)
    assert load_lpips(folder).weights != first


@pytest.mark.parametrize("name", [ALEXNET, HEADS])
def test_a_missing_cut_or_wrong_file_is_named_with_the_remedy(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).unlink()
    with pytest.raises(ModelError, match=rf"no {name} in .*download\.pytorch\.org.*PerceptualSimilarity"):
        load_lpips(folder)
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=name):
        load_lpips(folder)
    torch.save(weights()[name == ALEXNET], folder / name)  # the other one's content
    with pytest.raises(ModelError, match=rf"{name} (is not|does not).*LPIPS needs"):
        load_lpips(folder)
    state = {key: value[:, :2] for key, value in weights()[name == HEADS].items() if value.ndim == 4}
    torch.save(state, folder / name)  # VGG's, say: the names but not the widths
    with pytest.raises(ModelError, match=name):
        load_lpips(folder)
