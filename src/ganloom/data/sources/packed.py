"""A packed dataset as a source: to prepare it again in another size or with other classes."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from ganloom.data.packed import PackedDataset, damaged, open_packed
from ganloom.data.sources.contract import Item

__all__ = ["PackedSource", "is_packed", "open_source"]


class PackedSource:
    """The images of a packed dataset, with their original names and in their original order."""

    ignored = 0

    def __init__(self, dataset: PackedDataset) -> None:
        self.dataset = dataset
        self.name = dataset.name
        self.class_names = dataset.class_names
        self.splits = dataset.splits
        self.count = sum(dataset.count(split) for split in dataset.splits)

    def fingerprint(self) -> Iterator[str]:
        yield self.dataset.content_hash

    def items(self) -> Iterator[Item]:
        rows = {split: self.dataset.rows(split) for split in self.dataset.splits}
        try:
            with open(self.dataset.path / "files.jsonl", encoding="utf-8") as account:
                for line in account:
                    entry = json.loads(line)
                    if split := entry.get("split"):
                        image, label = next(rows[split])
                        flat = image[..., 0] if image.shape[2] == 1 else image
                        yield Item(entry["file"], split, label, partial(Image.fromarray, flat))
        except (OSError, ValueError, KeyError, StopIteration) as error:
            raise damaged(self.dataset.path, f"files.jsonl: {error}") from None


def open_source(spec: str) -> PackedSource:
    """Raises `DataError` for a folder that is not a packed dataset, or is a damaged one."""
    return PackedSource(open_packed(Path(spec)))


def is_packed(path: Path) -> bool:
    """Whether a folder is a packed dataset of any version. The dataset.json of StyleGAN looks different."""
    try:
        with open(path / "dataset.json", encoding="utf-8") as file:
            return re.match(r'\s*\{\s*"format"\s*:', file.read(200)) is not None
    except (OSError, UnicodeDecodeError):
        return False
