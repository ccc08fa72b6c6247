"""Published weights: found in a copy of the user or downloaded with a message, and always verified by their hash."""

import hashlib
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from rich.filesize import decimal
from torch import Tensor

from ganloom.core.errors import ModelError
from ganloom.core.files import cache_folder
from ganloom.data.sources.fetch import download

__all__ = ["INCEPTION", "Published", "file_sha256", "locate", "read"]


class Published(NamedTuple):
    """A published file of weights."""

    names: tuple[str, ...]  # usual file names; the first one is used for downloads
    sha256: str
    size: int  # bytes
    urls: tuple[str, ...]  # mirrors, in the order in which they are tried


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
    place = given or (Path(named).expanduser() if named else None)
    if place is not None and not place.exists():
        raise ModelError(f"{place} does not exist, but {'--weights' if given else 'GANLOOM_WEIGHTS'} names it.")
    if place is not None and (given or place.is_file()):
        return _verified(place, published)
    cache = cache_folder() / "weights"
    for folder in (place, cache) if place else (cache,):
        for name in published.names:
            if (folder / name).exists():
                return _verified(folder / name, published)
    return _fetch(published, cache / published.names[0])


def file_sha256(path: Path) -> str:
    """Hash of a file in hex. Raises `ModelError` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from None


def read(path: Path) -> dict[str, Tensor]:
    """Tensors by name. No code in the file is executed. Raises `ModelError` if it holds anything but named tensors."""
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns about some formats before it refuses them
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can raise nearly anything
        raise ModelError(f"{path} cannot be read as a PyTorch file of weights ({type(error).__name__}).") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path} is a PyTorch file, but not one of weights: it should only hold named tensors.")
    return state


def _verified(path: Path, published: Published) -> Path:
    found = file_sha256(path)
    if found != published.sha256:
        raise ModelError(
            f"{path} is not the published {published.names[0]}: its sha256 is {found}, not {published.sha256}, and it "
            f"has {path.stat().st_size:,} bytes, not {published.size:,}. Replace or remove it."
        )
    return path


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
