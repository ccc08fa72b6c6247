"""ganloom.load(path).sample(n): what a person does with a model."""

from pathlib import Path

import pytest
import torch

import ganloom
from conftest import tiny_config
from ganloom.core.errors import ModelError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = tiny_config(train__length="320 images").model_dump(mode="json")
    return ganloom.train(out=tmp_path_factory.mktemp("model") / "run", device="cpu", settings=settings).path


def test_pictures_are_uint8_nchw(run: Path) -> None:
    pictures = ganloom.load(run).sample(16, seed=0)
    assert pictures.shape == (16, 1, 32, 32) and pictures.dtype == torch.uint8


def test_picture_i_of_a_seed_is_the_same_whatever_the_count(run: Path) -> None:
    model = ganloom.load(run, device="cpu")
    many, few = model.sample(70, seed=1, batch=64), model.sample(20, seed=1, batch=7)
    assert (many[:20].int() - few.int()).abs().max() <= 1  # kernels may round by batch size
    assert not torch.equal(model.sample(4, seed=1), model.sample(4, seed=2))


def test_classes_take_turns_unless_one_is_asked_for(run: Path) -> None:
    model = ganloom.load(run, device="cpu")
    turns, sevens = model.sample(20), model.sample(20, class_name="7")
    assert torch.equal(turns[7], sevens[7]) and torch.equal(turns[17], sevens[17])
    assert not torch.equal(turns[8], sevens[8])


def test_the_model_file_alone_is_enough(run: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "model.safetensors"
    lonely.write_bytes((run / "model.safetensors").read_bytes())
    assert torch.equal(ganloom.load(lonely).sample(5), ganloom.load(run).sample(5))


def test_the_saved_model_is_the_averaged_generator(run: Path) -> None:
    """Its grid of the training's latents is the newest grid of the run."""
    from PIL import Image

    from ganloom.core.pictures import grid

    pictures = ganloom.load(run, device="cpu").sample(20, seed=0)
    shown = torch.from_numpy(__import__("numpy").array(Image.open(max((run / "samples").glob("0*.png")))))
    assert (grid(pictures, 10)[0].int() - shown.int()).abs().max() <= 1


def test_a_run_without_a_model_yet_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(ModelError, match="no model yet"):
        ganloom.load(tmp_path)


def test_no_pictures_at_all_are_refused(run: Path) -> None:
    with pytest.raises(ModelError, match="at least one"):
        ganloom.load(run).sample(0)
