"""What is compared with what: the real images, and the generated ones of a run, a model or a folder."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.config import Data
from ganloom.core import rng
from ganloom.core.code import split
from ganloom.core.errors import DataError, ModelError, RunError
from ganloom.core.files import sha256, storage_errors
from ganloom.core.pictures import to_uint8
from ganloom.core.shapes import ImageShape
from ganloom.core.terminal import log, progress_bar
from ganloom.data.dataset import Dataset
from ganloom.data.from_config import prepare_from_config
from ganloom.data.sources import find
from ganloom.metrics.contract import Generator, Images
from ganloom.metrics.pairs import some
from ganloom.models.generate import generate_floats
from ganloom.runs import RunFolder, open_folder
from ganloom.synthesis.model import Model, load

__all__ = ["GENERATED", "Fakes", "Subject", "chosen", "generated", "open_subject", "renumbered", "whole_split"]

GENERATED = "generated"  # the split of images that no camera made


@dataclass(frozen=True)
class Subject:
    """What is evaluated, and the real images that it is held against."""

    name: str  # for people
    hash: str  # of the model's file, or of the folder's content
    nimg: int | None  # images that the model was trained with
    model: Model | None  # None: a folder
    folder: Dataset | None  # None: a model
    reals: Dataset
    run: RunFolder | None
    knows_training: bool  # whether `reals` are, as far as can be known, the images that it was trained on


@dataclass(frozen=True)
class Fakes:
    """Generated images, and the network that makes them where there is one."""

    images: Images
    generator: Generator | None


def open_subject(target: Path, data: str | None, device: torch.device, *, trust_code: bool = False) -> Subject:
    """A run or its best/ (and its own images, unless `data` says where they are now), a model file, a folder of images.

    Real images are prepared to the size and the channels of the generated ones. Code that the run or the model brings
    along is run with `trust_code` alone. Raises `GanloomError`.
    """
    if (target / "config.yaml").is_file():
        return _of_run(open_folder(target), None, data, device, trust_code)
    if (target.parent / "config.yaml").is_file() and (target / "model.safetensors").is_file():  # RUN/best
        return _of_run(open_folder(target.parent), target, data, device, trust_code)
    if not target.exists():
        raise DataError(f"there is nothing at {target}: name a run folder, a model.safetensors or a folder of images.")
    if data is None:
        raise DataError(f"{target} is no run folder, so say what to compare it with: ganloom evaluate {target} DATA")
    if target.suffix == ".safetensors":
        model = load(target, device=str(device), trust_code=trust_code)
        reals = prepare_from_config(find(data), _at(data, model.shape))
        trained_on = model.header.training.get("content_hash")
        known = trained_on == reals.content_hash
        if not known:
            log.info(f"note: the images of {data} are not those that {target} was trained on")
        return Subject(
            str(target), sha256(target.read_bytes()), model.header.training.get("nimg"), model, None, reals, None, known
        )
    try:
        folder = prepare_from_config(find(str(target)), Data(source=str(target), holdout=0.0))
    except DataError as error:
        if "--size" not in str(error):
            raise
        reason = str(error).partition(":")[0]
        raise DataError(
            f"{reason}. To compare images of several sizes make them one size first: "
            f"ganloom prepare {target} DEST --size N --holdout 0, then ganloom evaluate DEST {data}"
        ) from None
    reals = prepare_from_config(find(data), _at(data, folder.shape))
    return Subject(str(target), folder.content_hash, None, None, folder, reals, None, True)


def _of_run(run: RunFolder, best: Path | None, data: str | None, device: torch.device, trust_code: bool) -> Subject:
    """The newest model of a run, or its `best` one, whose scores then are not the run's own."""
    place = best or run.path
    model = load(place, device=str(device), trust_code=trust_code)
    if data is None and not trust_code and (own := split(run.config.data.source)):
        raise RunError(
            f"the images of {run.path} come from the code in {own[0]}. If you know where it comes from, add "
            "--trust-code; in Python, trust_code=True."
        )
    settings = run.config.data
    if data is not None:  # where the run's images are now, or others: of the model's form
        form = _at(data, model.shape).model_dump(exclude_unset=True)
        settings = run.config.with_overrides({f"data.{key}": value for key, value in form.items()}).data
    try:
        source = find(settings.source, settings.follow_links)
    except DataError as error:
        raise DataError(f"{error} If the images were moved: ganloom evaluate {place} DATA") from None
    try:
        reals = prepare_from_config(source, settings)
    except DataError:
        if data is None:
            raise
        reals = prepare_from_config(
            source, _at(data, model.shape)
        )  # the run's classes, groups or window are not theirs
    known = reals.content_hash == run.facts.content_hash
    if not known and data is None:
        raise RunError(
            f"the images of {settings.source} are no longer those that {run.path} was trained on: put them "
            f"back, or name others: ganloom evaluate {place} DATA"
        )
    if not known:
        log.info(f"note: the images of {data} are not those that {run.path} was trained on")
    nimg = model.header.training.get("nimg")
    digest = sha256((place / "model.safetensors").read_bytes())
    return Subject(str(place), digest, nimg, model, None, reals, None if best else run, known)


def _at(source: str, shape: ImageShape) -> Data:
    return Data.model_validate({"source": source, "size": (shape.height, shape.width), "channels": shape.channels})


def whole_split(dataset: Dataset, split: str) -> Images:
    """Every image of a split. Raises `DataError` when it has none."""
    if not dataset.count(split):
        raise DataError(f"{dataset.name} has no images in '{split}': it has {', '.join(dataset.splits)}.")
    index = np.arange(dataset.count(split))
    labels = dataset.labels(index, split) if dataset.class_names else None
    return Images(
        lambda rows: dataset.images(rows, split),
        index,
        labels,
        dataset.name,
        dataset.content_hash,
        split,
    )


def chosen(images: Images, n: int, seed: int) -> Images:
    """`n` of the images, chosen by the seed; all of them where there are no more."""
    return images.only(some(len(images), n, rng.key(seed, "real")))


@contextlib.contextmanager
def generated(subject: Subject, n: int, seed: int, reals: Images) -> Iterator[Fakes]:
    """`n` generated images: made now, on the disk as long as the context lasts, or chosen from the folder.

    A model that takes labels gets them in the real images' proportions. Labels are numbered as those of the real images
    are. Raises `ModelError` for a model whose images are no numbers.
    """
    names = subject.reals.class_names
    if subject.folder is not None:
        images = chosen(whole_split(subject.folder, "train"), n, seed)
        labels = renumbered(images.labels, subject.folder.class_names, names)
        yield Fakes(replace(images, labels=labels, name=subject.name, identity=subject.hash, split=GENERATED), None)
        return
    model = subject.model
    assert model is not None, "a subject is a folder or a model"
    y = _labels(model, n, seed, reals.labels if list(model.class_names) == names else None)
    shape = model.shape
    with tempfile.TemporaryDirectory(prefix="ganloom-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "generated"
        with progress_bar("generating", subject.name) as progress:
            fill(file, model, n, seed, y, progress)
        array = np.memmap(file, np.uint8, "r", shape=(n, shape.height, shape.width, shape.channels))
        labels = renumbered(None if y is None else y.numpy(), model.class_names, names)
        identity = f"{subject.hash}, seed {seed}"
        images = Images(lambda rows: array[rows], np.arange(n), labels, subject.name, identity, GENERATED)
        yield Fakes(images, Generator(model.G, model.header.latent, y))


def renumbered(
    labels: NDArray[Any] | None,  # int64 [N] or float [N, K]
    names: Sequence[str],  # the classes that they number
    wanted: Sequence[str],  # the classes that they are to number
) -> NDArray[Any] | None:  # None where no class is in both
    """Labels by name: class 1 of a folder with `cat` and `dog` may be class 7 elsewhere; -1 is in none of them."""
    if labels is None or list(names) == list(wanted):
        return labels
    if labels.ndim > 1 or not set(names) & set(wanted):
        return None
    table = np.array([list(wanted).index(name) if name in wanted else -1 for name in names] + [-1])
    numbers: NDArray[np.int64] = table[labels]  # -1, without a label, stays what it is
    return numbers


def fill(
    path: Path,
    model: Model,
    n: int,
    seed: int,
    labels: Tensor | None,  # int64 [n] or float [n, K]
    progress: Callable[[int, int | None], None],
) -> None:
    """Write the model's pictures 0 to n, [n, H, W, C], rounded as a PNG would round them."""
    done = 0
    with storage_errors(path, "Name another place with the environment variable TMPDIR."), open(path, "wb") as file:
        for images in generate_floats(model.G, model.header.latent, n, seed, labels):
            if not torch.isfinite(images).all():
                raise ModelError(
                    "the model makes images that are no numbers (NaN or infinity), so there is nothing to measure: "
                    "its training has diverged. Take an earlier model, or train anew with lower rates."
                )
            file.write(to_uint8(images).cpu().permute(0, 2, 3, 1).contiguous().numpy().tobytes())
            done += len(images)
            progress(done, n)


def _labels(model: Model, n: int, seed: int, real: NDArray[Any] | None) -> Tensor | None:  # int64 [n] or float [n, K]
    """Labels of real images drawn at random, so that classes are as frequent as there; of every class in turn where
    the real images do not have the model's classes.
    """
    if not model.class_names:
        return None
    if real is not None and real.ndim == 1:
        real = real[real >= 0]
    if real is None or len(real) == 0:
        return torch.arange(n) % len(model.class_names)
    rows = np.random.default_rng(rng.key(seed, "labels")).integers(len(real), size=n)
    return torch.from_numpy(real[rows])
