"""The generator of a run at a moment: the newest, the best, or that of the nearest checkpoint."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ganloom.core.errors import ConfigError, ModelError
from ganloom.core.files import sha256
from ganloom.core.lengths import Length
from ganloom.core.tensors import unpack
from ganloom.core.terminal import log
from ganloom.models import modelfile
from ganloom.runs import RunFolder, checkpoints, open_folder

__all__ = ["BEST", "LAST", "read_at"]

BEST, LAST = "best", "last"
EMA = "ema/"  # what names of the EMA generator's tensors begin with in a checkpoint


class Saved(NamedTuple):
    """A generator on the disk."""

    nimg: int
    path: Path  # a model file or a checkpoint
    is_model: bool


def read_at(path: Path, at: int | str, *, trust_code: bool) -> modelfile.Read:
    """The generator of the run folder `path` at a moment: "best", or a length such as 20000 or "20 kimg".

    Of a length it is the nearest one that was saved; the log says which. Raises `ModelError` and `ConfigError`.
    """
    if not (path / "config.yaml").is_file():
        raise ModelError(f"{path} is not a run folder, and only a run has several models: leave out --at.")
    run = open_folder(path)
    if at == BEST:
        if not run.best.exists():
            raise ModelError(f"{path} has no best model yet, the first evaluation saves one: use --at last.")
        best = modelfile.read(run.best, trust_code=trust_code)
        _report(run.best, best.header, "best score")
        return best
    wanted = _images(run, at)
    damaged: list[str] = []
    for saved in sorted(_saved(run), key=lambda each: abs(each.nimg - wanted)):
        if saved.is_model:
            read = modelfile.read(saved.path, trust_code=trust_code)
        elif found := checkpoints.read(saved.path, damaged):
            read = _of_checkpoint(run, saved, found[1], trust_code=trust_code)
        else:
            log.warning(f"damaged checkpoint skipped: {damaged[-1] if damaged else saved.path}")
            continue
        _report(saved.path, read.header, f"the nearest to {wanted:,}")
        return read
    raise ModelError(
        f"{path} has no model yet: the first checkpoint writes it. Continue the training: ganloom resume {path}"
    )


def _report(path: Path, header: modelfile.Header, why: str) -> None:
    log.info(f"model     {path}: EMA generator at {header.training['nimg']:,} images ({why})")


def _images(run: RunFolder, at: int | str) -> int:
    """The image count of a moment. Raises `ConfigError` with what can be given."""
    text = str(at)
    try:
        length = Length.parse(f"{text} images" if text.strip().replace("_", "").replace(",", "").isdigit() else text)
    except ValueError:
        length = None
    if length is None or length.is_time:
        raise ConfigError(
            f"at must be 'best', 'last' or a length such as 20000, '20 kimg' or '3 epochs', not '{text}'."
        )
    return length.images(epoch=run.facts.images, step=run.config.images_per_step)


def _saved(run: RunFolder) -> Iterator[Saved]:
    """Every generator of the run that is saved; model files first, which are quicker to read."""
    for path in (run.model, run.best):
        if path.exists():
            yield Saved(modelfile.read_header(path).training.get("nimg", 0), path, is_model=True)
    for folder in (run.checkpoints, run.best_checkpoint):
        for manifest in checkpoints.numbered(folder, "json"):
            yield Saved(int(manifest.stem), manifest.with_suffix(".safetensors"), is_model=False)


def _of_checkpoint(run: RunFolder, saved: Saved, data: bytes, *, trust_code: bool) -> modelfile.Read:
    """The EMA generator in a checkpoint, which the header of the run's model describes."""
    described = modelfile.read_header(run.model if run.model.exists() else run.best)
    training = {name: value for name, value in described.training.items() if name != "best"} | {"nimg": saved.nimg}
    header = described.model_copy(update={"training": training})
    tensors = unpack(data, saved.path).items()
    weights = {name.removeprefix(EMA): tensor for name, tensor in tensors if name.startswith(EMA)}
    G = modelfile.rebuild(header, weights, saved.path, trust_code=trust_code)
    return modelfile.Read(G, header, sha256(data))
