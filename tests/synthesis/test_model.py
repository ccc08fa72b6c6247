"""ganloom.load(path).sample(n): what a person does with a model."""

from pathlib import Path

import pytest
import torch

import ganloom
from conftest import tiny_config
from ganloom.core.errors import ModelError
from ganloom.core.shapes import ImageShape
from ganloom.models import modelfile
from ganloom.models.generate import truncated
from ganloom.nets import build_generator
from ganloom.synthesis.model import Model


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


def test_where_memory_is_short_smaller_batches_make_the_same_pictures(run: Path) -> None:
    model, sizes = ganloom.load(run, device="cpu"), []
    expected = model.sample(40, seed=1)
    forward = model.G.forward

    def short(z: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        sizes.append(len(z))
        if len(z) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        made: torch.Tensor = forward(z, y)
        return made

    model.G.forward = short
    assert (model.sample(40, seed=1).int() - expected.int()).abs().max() <= 1
    assert sizes == [40, 20, 10, 10, 10, 10]


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


def test_truncated_values_keep_their_order_and_are_normal_within_the_limit() -> None:
    z = torch.randn(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cut = truncated(z, 0.7)
    assert cut.abs().max() <= 0.7
    assert torch.equal(cut.argsort(), z.argsort())
    inside = torch.sort(z[z.abs() < 0.7]).values  # what drawing again and again would leave
    ours = torch.sort(cut).values
    shares = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    torch.testing.assert_close(ours.quantile(shares), inside.quantile(shares), rtol=0, atol=0.01)
    torch.testing.assert_close(truncated(z, 30.0), z)


def test_truncation_makes_pictures_more_alike(run: Path) -> None:
    model = ganloom.load(run, device="cpu")
    whole, cut = (model.sample(64, class_name="7", truncation=limit).float() for limit in (None, 0.1))
    assert cut.std(0).mean() < 0.5 * whole.std(0).mean()


@pytest.mark.parametrize("truncation", [0.0, -1.0, float("nan"), float("inf")])
def test_a_truncation_that_leaves_nothing_is_refused(run: Path, truncation: float) -> None:
    with pytest.raises(ModelError, match="above 0"):
        ganloom.load(run, device="cpu").sample(1, truncation=truncation)


def test_the_truncation_of_styles_goes_from_their_mean_to_themselves() -> None:
    G = build_generator("stylegan2", ImageShape(1, 16, 16), 8, 0, {"width": 8, "mapping": 2}).eval()
    header = modelfile.Header(
        net="stylegan2", latent=8, options={}, shape=(1, 16, 16), labels=False, class_names=[], training={}
    )
    model = Model(G, header)
    assert (model.sample(3, truncation=0.0) == model.sample(1, truncation=0.0)).all()
    assert torch.equal(model.sample(3, truncation=1.0), model.sample(3))
    for truncation in (-0.1, 1.5, float("nan"), float("inf")):
        with pytest.raises(ModelError, match="from 0, their mean, to 1"):
            model.sample(1, truncation=truncation)


def test_a_network_that_sees_only_the_direction_of_z_refuses_truncation(run: Path) -> None:
    model = ganloom.load(run, device="cpu")
    model.G.truncates = False
    with pytest.raises(ModelError, match="direction of z"):
        model.sample(1, truncation=1.0)
