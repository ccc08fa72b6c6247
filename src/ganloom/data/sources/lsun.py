"""LSUN (Yu et al. 2015): ten kinds of scenes as LMDB, downloaded by hand to `GANLOOM_DATA`. Needs ganloom[lmdb]."""

import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from PIL import Image

from ganloom.core.errors import DataError
from ganloom.core.names import nearest
from ganloom.data.sources.contract import Item, Remark, open_image, stamp
from ganloom.data.sources.fetch import local_data

if TYPE_CHECKING:
    from lmdb import Environment

__all__ = ["LsunSource", "open_source"]

URL = "http://dl.yf.io/lsun/scenes/"
SCENES = (
    "bedroom", "bridge", "church_outdoor", "classroom", "conference_room", "dining_room", "kitchen", "living_room",
    "restaurant", "tower",
)  # fmt: skip
_opened: "WeakValueDictionary[Path, Environment]" = WeakValueDictionary()
_opening = Lock()


class LsunSource:
    """The images of one scene in the order of their keys, without labels."""

    class_names: tuple[str, ...] = ()
    ignored = 0
    remarks: Sequence[Remark] = ()

    def __init__(self, folders: dict[str, Path], name: str) -> None:
        self.name = name
        self.splits = list(folders)
        self._folders = folders
        self._environments = {split: _environment(folder) for split, folder in folders.items()}

    @property
    def count(self) -> int:
        return sum(environment.stat()["entries"] for environment in self._environments.values())

    def fingerprint(self) -> Iterator[str]:
        for folder in self._folders.values():
            yield stamp(folder / "data.mdb")

    def items(self) -> Iterator[Item]:
        for split, environment in self._environments.items():
            with environment.begin() as transaction:
                for key in transaction.cursor().iternext(keys=True, values=False):
                    name = f"{self._folders[split].name}/{key.decode('ascii', 'backslashreplace')}"
                    yield Item(name, split, None, partial(_read, environment, key))


def open_source(spec: str) -> LsunSource:
    """Open one scene. Raises `DataError`, which says what to download and where to unzip it."""
    if spec not in SCENES:
        raise DataError(f"LSUN has no scene '{spec}'. {nearest(spec, SCENES)}")
    home = local_data()
    train, val = f"{spec}_train_lmdb", f"{spec}_val_lmdb"
    if home is None or not (home / train / "data.mdb").is_file():
        if home and (home / f"{train}.zip").is_file():
            raise DataError(f"{home / train}.zip is still zipped: unzip it in its folder.")
        where = home or "FOLDER, and set GANLOOM_DATA=FOLDER"
        raise DataError(
            f"LSUN must be downloaded by hand: download {URL}{train}.zip, and for a split 'val' {URL}{val}.zip, "
            f"and unzip it in {where}. ganloom looks for {train}/data.mdb there."
        )
    folders = {"train": home / train}
    if (home / val / "data.mdb").is_file():
        folders["val"] = home / val
    return LsunSource(folders, f"lsun-{spec}")


def _environment(folder: Path) -> "Environment":
    """The open database, shared within the process because LMDB refuses to open one twice."""
    try:
        import lmdb  # an extra
    except ImportError:
        raise DataError("LSUN needs the package lmdb: pip install 'ganloom[lmdb]'.") from None
    path = folder.resolve()
    with _opening:
        environment = _opened.get(path)
        if environment is None:
            try:
                environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False)
            except lmdb.Error as error:
                raise DataError(f"{folder} cannot be read as LMDB: {error}. Unzip {folder.name}.zip again.") from None
            _opened[path] = environment
    return environment


def _read(environment: "Environment", key: bytes) -> Image.Image:
    import lmdb

    try:
        with environment.begin() as transaction:  # a new one: a transaction belongs to one thread
            data = transaction.get(key)
    except lmdb.Error as error:
        raise OSError(f"LMDB: {error}") from None
    return open_image(io.BytesIO(data or b""))
