"""Published weights: found in a copy of the user or downloaded with a message, and always verified by their hash."""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import torch
from rich.filesize import decimal
from torch import Tensor

from ganloom.core.errors import AGAIN, ModelError
from ganloom.core.files import FileState, cache_folder, open_regular, user_path
from ganloom.data.sources.fetch import download

__all__ = ["INCEPTION", "Published", "State", "hashed", "locate", "read", "read_published"]


class Published(NamedTuple):
    """A published file of weights."""

    names: tuple[str, ...]  # usual file names; the first one is used for downloads
    sha256: str
    size: int  # bytes
    urls: tuple[str, ...]  # mirrors, in the order in which they are tried


class State(NamedTuple):
    """What one reading of a file of weights gave."""

    tensors: dict[str, Tensor]  # by name
    sha256: str  # of the file


INCEPTION = Published(
    ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    95_628_359,
    (
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    ),
)


def locate(published: Published, given: Path | None) -> Path:
    """The verified file: `given`, else in `GANLOOM_WEIGHTS` (a file or a folder), else in the cache, else downloaded.

    Raises `ModelError` if the file is missing or is not the published one; the message has the actual and the expected
    hash.
    """
    named = os.environ.get("GANLOOM_WEIGHTS")
    place = given or (user_path(named) if named else None)
    if place is not None and not place.exists():
        raise ModelError(
            f"{place} does not exist, but {'--weights' if given else 'GANLOOM_WEIGHTS'} names it: correct the path."
        )
    if place is not None and (given or place.is_file()):
        return _verified(place, published)
    cache = cache_folder() / "weights"
    for folder in (place, cache) if place else (cache,):
        for name in published.names:
            if (folder / name).exists():
                return _verified(folder / name, published)
    return _fetch(published, cache / published.names[0])


@contextlib.contextmanager
def hashed(path: Path) -> Iterator[tuple[BufferedReader, str]]:
    """A file, and its hash in hex: what is read in the block has that hash.

    Raises `ModelError` if it cannot be read, or was changed or replaced meanwhile.
    """
    try:
        file = open_regular(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}. Make it readable, or remove it.") from None
    with file:
        opened = FileState.of(os.fstat(file.fileno()))
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        yield file, digest
        with contextlib.suppress(FileNotFoundError):  # if it was deleted, it was still read as a whole
            if not opened == FileState.of(os.fstat(file.fileno())) == FileState.of(path.stat()):
                raise ModelError(f"{path} was changed while it was read: try again.")


def read(path: Path) -> State:
    """The tensors in a file, and its hash. No code in the file is executed.

    Raises `ModelError` if it holds anything but named tensors.
    """
    with hashed(path) as (file, digest):
        try:
            with warnings.catch_warnings(action="ignore"):  # torch warns about some formats before it refuses them
                found = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # a broken file can raise nearly anything
            raise ModelError(
                f"{path} cannot be read as a PyTorch file of weights ({type(error).__name__}): {AGAIN}."
            ) from None
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ModelError(f"{path} is a PyTorch file, but not one of weights: it should only hold named tensors.")
    return State(found, digest)


def read_published(published: Published, given: Path | None) -> State:
    """The published weights, which `locate` finds; verified as they are read. Raises `ModelError`."""
    path = locate(published, given)
    state = read(path)
    if state.sha256 != published.sha256:  # it was replaced in between
        raise _not_published(path, state.sha256, published)
    return state


def _verified(path: Path, published: Published) -> Path:
    with hashed(path) as (_, found):
        if found != published.sha256:
            raise _not_published(path, found, published)
    return path


def _not_published(path: Path, found: str, published: Published) -> ModelError:
    return ModelError(
        f"{path} is not the published {published.names[0]}: its sha256 is {found}, not {published.sha256}, and it has "
        f"{path.stat().st_size:,} bytes, not {published.size:,}. Replace or remove it."
    )


def _fetch(published: Published, path: Path) -> Path:
    reasons = download(published.urls, f"sha256:{published.sha256}", path)
    if not path.exists():
        raise ModelError(
            f"{path.name} ({decimal(published.size)}) could not be downloaded ({'; '.join(reasons)}).\n"
            "Download it with a browser or on another machine, from\n"
            + "".join(f"  {url}\n" for url in published.urls)
            + f"and name it with --weights FILE, or put it at\n  {path}\n"
            f"Its sha256 is {published.sha256}.\n"
            "The built-in extractor, loomnet-1, needs no download: use the metric fd, its Frechet distance."
        )
    return path
