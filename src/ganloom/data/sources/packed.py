"""A packed dataset as a source: to prepare it again in another size or with other classes."""

import io
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from ganloom.core.files import open_regular, read_regular
from ganloom.core.plain_json import read_json
from ganloom.data.identity import verified_hash
from ganloom.data.packed import PackedDataset, damaged, open_packed, shard_path
from ganloom.data.sources.contract import SPLITS, Item, Remark, stamp

__all__ = ["PackedSource", "is_packed", "open_source"]


class PackedSource:
    """The images of a packed dataset, with their original names and in their original order."""

    ignored = 0
    remarks: Sequence[Remark] = ()

    def __init__(self, dataset: PackedDataset) -> None:
        self.dataset = dataset
        self.name = dataset.name
        self.class_names = dataset.class_names
        self.splits = dataset.splits
        self.count = sum(dataset.count(split) for split in dataset.splits)
        self.window = dataset.description.window  # of the original images; these have 8 bits

    def fingerprint(self) -> Iterator[str]:
        yield self.dataset.content_hash
        if not verified_hash(self.dataset):  # then that hash says nothing of the files
            yield from (stamp(path) for path in sorted(self.dataset.path.glob("*.npy")))

    def items(self) -> Iterator[Item]:
        rows = {split: self.dataset.rows(split) for split in self.dataset.splits}
        try:
            with io.TextIOWrapper(open_regular(self.dataset.path / "files.jsonl"), encoding="utf-8") as account:
                for line in account:
                    entry = read_json(line)
                    if split := entry.get("split"):
                        image, label = next(rows[split])
                        flat = image[..., 0] if image.shape[2] == 1 else image
                        yield Item(entry["file"], split, label, partial(Image.fromarray, flat), entry.get("group"))
        except (OSError, ValueError, KeyError, StopIteration) as error:
            raise damaged(self.dataset.path, f"files.jsonl: {error}") from None
        if any(next(each, None) is not None for each in rows.values()):
            raise damaged(self.dataset.path, "files.jsonl does not list every image")


def open_source(spec: str) -> PackedSource:
    """Raises `DataError` for a folder that is not a packed dataset, or is a damaged one."""
    return PackedSource(open_packed(Path(spec)))


def is_packed(path: Path) -> bool:
    """Whether a folder is a packed dataset of any version, or a damaged one: its shards are no arrays of a user. The
    dataset.json of StyleGAN looks different.
    """
    if (path / "dataset.json").exists() and any(shard_path(path, split, 0).exists() for split in SPLITS):
        return True
    try:
        return re.match(rb'\s*\{\s*"format"\s*:', read_regular(path / "dataset.json", 200)) is not None
    except OSError:
        return False
