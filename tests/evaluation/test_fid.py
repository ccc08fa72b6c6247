"""Only scores with the published Inception weights are called FID."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import ganloom
from ganloom.core.errors import ConfigError, ModelError
from ganloom.data.sources.digits import DigitsSource
from ganloom.metrics.extractors import inception, weights
from ganloom.metrics.scores import label


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two times sixty handwritten digits."""
    both = tmp_path / "a", tmp_path / "b"
    for folder in both:
        folder.mkdir()
    for index, item in zip(range(120), DigitsSource().items(), strict=False):
        picture = item.open()
        assert isinstance(picture, Image.Image)
        picture.save(both[index % 2] / f"{index}.png")
    return both


@pytest.fixture
def random_weights(tmp_path: Path) -> Path:
    network = inception.build().to_empty(device="cpu")
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, generator=random)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_other_weights_never_give_a_fid(folders: tuple[Path, Path], random_weights: Path) -> None:
    with pytest.raises(ModelError, match="is not the published"):
        ganloom.evaluate(*folders, metrics="fid", weights=random_weights)


@pytest.mark.slow
def test_the_weights_with_the_published_hash_do(
    folders: tuple[Path, Path], random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = weights.INCEPTION._replace(sha256=weights.read(random_weights).sha256)  # as if it were the real file
    monkeypatch.setattr(weights, "INCEPTION", published)
    monkeypatch.setattr(inception, "SIZE", 107)  # an eighth of the pixels: the features are of random weights anyhow
    monkeypatch.setenv("GANLOOM_WEIGHTS", str(random_weights))
    (score,) = ganloom.evaluate(*folders, metrics="fid", n=60)
    assert (score.label, score.metric, score.extractor) == ("fid@60", "fd", "inception")
    assert (score.weights, score.resize) == (published.sha256, "tf1-299")
    (clean,) = ganloom.evaluate(*folders, metrics="fd", extractor="inception-clean", n=60)
    assert clean.label == "fd[inception-clean]@60" and clean.value != score.value


def test_no_other_extractor_is_called_fid(folders: tuple[Path, Path]) -> None:
    assert label("fd", "inception-768", 10) == "fd[inception-768]@10"
    with pytest.raises(ConfigError, match="defined by the inception network"):
        ganloom.evaluate(*folders, metrics="fid", extractor="inception-clean")
