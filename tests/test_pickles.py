"""No pickle from elsewhere is ever loaded, because loading a pickle runs its code.

Every kind of file that may come from elsewhere is replaced by a pickle with a trap. It must be refused with a message,
and the trap must not run.
"""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ganloom
from conftest import tiny_config
from ganloom.cli import app
from ganloom.core.errors import DataError, GanloomError, ModelError, RunError
from ganloom.core.files import sha256
from ganloom.data.packed import PackedDataset, labels_path, open_packed, shard_path
from ganloom.metrics.extractors.perceptual import ALEXNET, HEADS
from ganloom.runs import open_folder


class Trap:
    """A malicious pickle: loading it creates a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    """The folder that exists once a trap has run."""
    return tmp_path / "sprung"


def bare(path: Path, sprung: Path) -> None:
    path.write_bytes(pickle.dumps(Trap(sprung)))


def saved(path: Path, sprung: Path) -> None:
    """As PyTorch saves: a zip that contains a pickle."""
    torch.save({"weight": torch.zeros(3), "trap": Trap(sprung)}, path)


def old_style(path: Path, sprung: Path) -> None:
    """As PyTorch saved before 1.6: a sequence of pickles."""
    torch.save({"trap": Trap(sprung)}, path, _use_new_zipfile_serialization=False)


FORMS = [bare, saved, old_style]
Form = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pickles") / "run"
    settings = tiny_config(train__length="192 images", checkpoint__every="64 images").model_dump(mode="json")
    ganloom.train(out=out, device="cpu", settings=settings)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def dataset(digits: PackedDataset, tmp_path: Path) -> Path:
    return shutil.copytree(digits.path, tmp_path / "images")


def fix_checksums(run: Path) -> None:
    """Make every recorded checksum match, so that a file can be refused only for its format."""
    for record in (run / "checkpoints").glob("*.json"):
        data = record.with_suffix(".safetensors").read_bytes()
        record.write_text(json.dumps({**json.loads(record.read_text()), "sha256": sha256(data)}))


@pytest.mark.parametrize("form", FORMS)
def test_the_traps_work(tmp_path: Path, sprung: Path, form: Form) -> None:
    """Loading them as pickles runs them."""
    form(tmp_path / "file", sprung)
    if form is bare:
        pickle.loads((tmp_path / "file").read_bytes())
    else:
        torch.load(tmp_path / "file", weights_only=False)
    assert sprung.exists()


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_in_checkpoints(run: Path, sprung: Path, form: Form) -> None:
    for path in (run / "checkpoints").glob("*.safetensors"):
        form(path, sprung)
    fix_checksums(run)
    with pytest.raises(RunError, match=r"every checkpoint is damaged .*not a readable safetensors file"):
        ganloom.resume(run, device="cpu")
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        ganloom.train("digits", out=run.parent / "new", device="cpu", settings={"start.model": str(run)})
    assert not sprung.exists()


@pytest.mark.parametrize("form", FORMS)
def test_in_the_newest_checkpoint_alone(run: Path, sprung: Path, form: Form) -> None:
    """It is ignored, and the run resumes from the one before."""
    before = open_folder(run).model.read_bytes()
    form(max((run / "checkpoints").glob("*.safetensors")), sprung)
    fix_checksums(run)
    ganloom.resume(run, device="cpu")
    assert open_folder(run).model.read_bytes() == before
    assert not sprung.exists()


@pytest.mark.parametrize("form", FORMS)
def test_in_model_files(run: Path, tmp_path: Path, sprung: Path, form: Form) -> None:
    model = run / "model.safetensors"
    form(model, sprung)
    for target in (model, run):
        with pytest.raises(ModelError, match="not a readable safetensors file"):
            ganloom.load(target)
        with pytest.raises(ModelError, match="not a readable safetensors file"):
            ganloom.evaluate(target, "digits", device="cpu", n=8)
        with pytest.raises(ModelError, match="not a readable safetensors file"):
            ganloom.train("digits", out=tmp_path / "new", device="cpu", settings={"start.model": str(target)})
        result = CliRunner().invoke(app, ["sample", str(target), "--out", str(tmp_path / "grid.png")])
        assert isinstance(result.exception, ModelError)
    assert not (tmp_path / "grid.png").exists() and not (tmp_path / "new").exists()
    assert not sprung.exists()


def objects(sprung: Path, count: int, size: int) -> Callable[[Path], None]:
    """An .npy file of `count` objects, large enough to pass for the images."""

    def write(path: Path) -> None:
        with open(path, "wb") as file:
            np.save(file, np.array([Trap(sprung)] * count, dtype=object), allow_pickle=True)
            file.write(bytes(size))

    return write


def padded(form: Form, sprung: Path, size: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        form(path, sprung)
        content = path.read_bytes()
        path.write_bytes(content + bytes(size))

    return write


@pytest.mark.parametrize("part", ["images", "labels"])
@pytest.mark.parametrize("form", ["objects", "npz", *FORMS])
def test_in_packed_datasets(dataset: Path, tmp_path: Path, sprung: Path, part: str, form: str | Form) -> None:
    path = shard_path(dataset, "train", 0) if part == "images" else labels_path(dataset, "train")
    size, count = path.stat().st_size, open_packed(dataset).count()
    if form == "objects":
        objects(sprung, count, size)(path)
    elif form == "npz":
        np.savez(path.with_suffix(".npz"), x=np.array([Trap(sprung)], dtype=object), filler=np.zeros(size, np.uint8))
        path.with_suffix(".npz").replace(path)
    else:
        assert not isinstance(form, str)
        padded(form, sprung, size)(path)

    opened = open_packed(dataset)
    with pytest.raises(DataError, match=r"is damaged .*: delete it and prepare it again"):
        (opened.images if part == "images" else opened.labels)(np.arange(3))
    settings = tiny_config().model_dump(mode="json", exclude={"data": {"source"}})
    with pytest.raises(DataError, match=r"is damaged .*: delete it and prepare it again"):
        ganloom.train(dataset, out=tmp_path / "new", device="cpu", settings=settings)
    assert not sprung.exists()
    if form == "objects":
        np.load(path, allow_pickle=True)
        assert sprung.exists()


@pytest.mark.parametrize("form", FORMS)
def test_in_the_description_of_a_dataset(dataset: Path, tmp_path: Path, sprung: Path, form: Form) -> None:
    form(dataset / "dataset.json", sprung)
    with pytest.raises(DataError, match="is not a packed dataset"):
        open_packed(dataset)
    with pytest.raises(GanloomError):
        ganloom.train(dataset, out=tmp_path / "new", device="cpu")
    assert not sprung.exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["mine.pt", "mine.pth", "mine.ts"])
def test_in_extractors(run: Path, tmp_path: Path, sprung: Path, form: Form, name: str) -> None:
    form(tmp_path / name, sprung)
    with pytest.raises(ModelError, match="is not a TorchScript file"):
        ganloom.evaluate(run, device="cpu", n=8, extractor=str(tmp_path / name))
    assert not sprung.exists()


@pytest.mark.parametrize("form", FORMS)
def test_in_weights(run: Path, tmp_path: Path, sprung: Path, form: Form) -> None:
    """Weights of published networks, which are pickles."""
    for name in ("inception.pth", ALEXNET, HEADS):
        form(tmp_path / name, sprung)
    with pytest.raises(ModelError, match="is not the published"):
        ganloom.evaluate(run, device="cpu", n=8, extractor="inception", weights=tmp_path / "inception.pth")
    with pytest.raises(ModelError, match="cannot be read as a PyTorch file of weights"):
        ganloom.evaluate(run, device="cpu", n=8, lpips_weights=tmp_path)
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["config.yaml", "run.json", "log.jsonl", "changes.json", "scores.json"])
def test_in_the_other_files_of_a_run(run: Path, sprung: Path, name: str) -> None:
    """Files that an action does not need may be ignored silently."""
    bare(run / name, sprung)
    for action in (
        lambda: ganloom.resume(run, device="cpu", length="256 images"),
        lambda: ganloom.evaluate(run, device="cpu", n=8, metrics="ms-ssim"),
        lambda: ganloom.compare([run]),
    ):
        try:
            action()
        except GanloomError as error:
            assert str(error)
    assert not sprung.exists()


def test_in_a_yaml_tag_of_a_configuration(run: Path, sprung: Path) -> None:
    with open(run / "config.yaml", "a") as file:
        file.write(f"seed: !!python/object/apply:os.mkdir [{sprung}]\n")
    with pytest.raises(GanloomError):
        ganloom.resume(run, device="cpu")
    assert not sprung.exists()
