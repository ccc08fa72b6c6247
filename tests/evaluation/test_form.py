"""The real images decide in which form generated ones are compared: what these lack counts against them."""

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import ganloom
from ganloom.core.errors import ConfigError, DataError
from ganloom.models import modelfile

SIDE = 16


def waves(seed: int, count: int, side: int = SIDE) -> NDArray[np.uint8]:  # [N, H, W, 3]
    """Smooth patterns in colour."""
    y, x = np.mgrid[:side, :side] * SIDE / side
    draw = np.random.default_rng(seed)
    a, b = draw.uniform(0.2, 1, (2, count, 3, 1, 1))
    images = 127 + 90 * np.sin(a * x + b * y + draw.uniform(0, 6, (count, 3, 1, 1)))
    return images.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def save(folder: Path, images: NDArray[np.uint8]) -> Path:
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def reals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("reals") / "reals", waves(1, 200))


def fd(folder: Path, reals: Path, size: int | None = None) -> ganloom.Score:
    return ganloom.evaluate(folder, reals, metrics="fd", size=size)[0]


def test_losing_all_colour_is_no_gain(reals: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    made = waves(2, 200)
    good = fd(save(tmp_path / "good", made), reals)
    assert not good.converted
    grey = fd(save(tmp_path / "grey", made.mean(-1).astype(np.uint8)), reals)
    assert grey.value > 5 * good.value
    assert grey.converted == "grey, compared as 16x16 RGB" and grey.shape == "16x16 RGB"
    assert "the generated images are grey, compared as 16x16 RGB: the real images decide in which form" in caplog.text


def test_losing_detail_is_no_gain(reals: Path, tmp_path: Path) -> None:
    """Tiny images are enlarged; the real ones stay as they are."""
    made = waves(2, 200)
    good = fd(save(tmp_path / "good", made), reals)
    tiny = fd(save(tmp_path / "tiny", waves(2, 200, side=4)), reals)
    assert tiny.value > 5 * good.value
    assert tiny.converted == "4x4, compared as 16x16 RGB"


def test_colour_counts_against_grey_images(reals: Path, tmp_path: Path) -> None:
    real = save(tmp_path / "grey", waves(1, 200).mean(-1).astype(np.uint8))
    coloured = fd(reals, real)
    assert coloured.shape == "16x16 RGB" and not coloured.converted
    assert coloured.value > 5 * fd(save(tmp_path / "also", waves(2, 200).mean(-1).astype(np.uint8)), real).value


def test_real_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    real = save(tmp_path / "real", waves(1, 60))
    for index, image in enumerate(waves(3, 60, side=24)):
        Image.fromarray(image).save(real / f"large{index}.png")
    made = save(tmp_path / "made", waves(2, 100, side=12))
    with pytest.raises(DataError, match=r"must not decide at which size all are compared: say it, as in .*size=64"):
        fd(made, real)
    score = fd(made, real, size=12)
    assert score.shape == "12x12 RGB" and not score.converted


def test_another_fault_of_the_real_images_is_not_taken_for_different_sizes(tmp_path: Path) -> None:
    """Even where its message says --size."""
    folder = tmp_path / "--size"
    folder.mkdir()
    for index in range(60):
        (folder / f"{index}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be used") as caught:
        fd(save(tmp_path / "made", waves(2, 60)), folder)
    assert "must not decide" not in str(caught.value)


def grey_model(folder: Path) -> Path:
    training = {"nimg": 64, "content_hash": ""}
    header = modelfile.Header(
        net="dcgan", latent=4, options={"width": 8}, shape=(1, 16, 16), labels=False, class_names=[], training=training
    )
    modelfile.write(folder / "grey.safetensors", header.build(), header)
    return folder / "grey.safetensors"


def test_a_grey_model_does_not_make_colour_photos_grey(reals: Path, tmp_path: Path) -> None:
    score = ganloom.evaluate(grey_model(tmp_path), reals, metrics="fd", n=100)[0]
    assert score.shape == "16x16 RGB" and score.converted == "16x16 grey, compared as 16x16 RGB"


def test_a_model_has_its_size(reals: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is compared at the size that it was trained for"):
        ganloom.evaluate(grey_model(tmp_path), reals, size=32)
    with pytest.raises(ConfigError, match="is not a size"):
        ganloom.evaluate(reals, reals, size="large")


def test_a_score_carries_the_hash_of_the_model_that_was_measured(
    reals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of the file a moment later, which a running training has replaced."""
    path = grey_model(tmp_path)
    before = modelfile.read(path).sha256
    build = modelfile.Header.build

    def replaced_meanwhile(header: modelfile.Header):
        G = build(header)
        modelfile.write(path, G, header.model_copy(update={"training": {"nimg": 128}}))
        return G

    monkeypatch.setattr(modelfile.Header, "build", replaced_meanwhile)
    assert ganloom.evaluate(path, reals, metrics="fd", n=50)[0].model == before
    assert modelfile.read_header(path).training["nimg"] == 128
