"""Image datasets of the Hugging Face Hub, or of a folder in the same layout: `hf:OWNER/NAME`. Needs ganloom[hf].

Images come from the first column of type Image, classes from the first column of type ClassLabel.
"""

import io
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ganloom.core.errors import DataError
from ganloom.core.terminal import log
from ganloom.data.sources.contract import SPLITS, Item, Remark, open_image
from ganloom.data.sources.labels import used_classes
from ganloom.data.sources.splits import SPLIT_NAMES, split_named

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["HubSource", "open_source"]


class HubSource:
    """The rows of a dataset in order, with images still encoded."""

    ignored = 0

    def __init__(self, spec: str, parts: "dict[str, Dataset]") -> None:
        import datasets

        self._spec = spec
        self.name = spec.replace("/", "-").replace(":", "-").strip(".-")
        self._split_of = _splits(list(parts))
        self._parts = {name: part for name, part in parts.items() if name in self._split_of}
        others = [name for name in parts if name not in self._split_of]
        if others and "train" not in self._split_of.values():
            raise DataError(
                f"'{spec}' has no split 'train', only {', '.join(parts)}: ganloom reads "
                f"{', '.join(SPLIT_NAMES)}. Put its images into a folder and give the path."
            )
        if others:
            log.info(
                f"{spec}: the splits {', '.join(others)} are left out; ganloom reads {', '.join(SPLIT_NAMES)}",
            )
        features = next(iter(parts.values())).features
        images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
        labels = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
        if not images:
            columns = ", ".join(f"{column} ({type(feature).__name__})" for column, feature in features.items())
            raise DataError(f"'{spec}' has no column of images, only {columns}: choose a dataset with images.")
        self._image, self._label = images[0], labels[0] if labels else None
        names = list(features[self._label].names) if self._label else []
        self._used = used_classes(names, self._occurring() if names else None)
        self.class_names = self._used.names
        self.remarks: Sequence[Remark] = self._used.remarks

    def _occurring(self) -> set[int]:
        """The numbers of the classes that have a training image."""
        parts = [part for name, part in self._parts.items() if self._split_of[name] == "train"]
        return {label for part in parts for label in part.unique(self._label) if label is not None and label >= 0}

    @property
    def splits(self) -> list[str]:
        return [split for split in SPLITS if split in self._split_of.values()]

    @property
    def count(self) -> int:
        return sum(len(part) for part in self._parts.values())

    def fingerprint(self) -> Iterator[str]:
        for name, part in self._parts.items():  # the path contains a hash of version, options and files
            files = [Path(file["filename"]) for file in part.cache_files]
            yield "\t".join([self._spec, name, *(f"{file.parent.name}/{file.name}" for file in files)])

    def items(self) -> Iterator[Item]:
        import datasets

        for name, part in self._parts.items():
            # Do not let `datasets` decode: there, one damaged image would end the preparation.
            images = part.select_columns([self._image]).cast_column(self._image, datasets.Image(decode=False))
            labels = part[self._label][:] if self._label else None
            for index in range(len(part)):
                label = labels[index] if labels is not None else None
                if label is not None and label < 0:  # `datasets` marks a missing label by -1
                    label = None
                label = self._used.label(label)
                yield Item(f"{name}/{index}", self._split_of[name], label, partial(_open, images, index, self._image))


def _splits(names: Sequence[str]) -> dict[str, str]:
    """The split of each name that is one. A less usual name, such as `dev` or `trainval`, counts where no usual one is
    of its split: it may hold the same images.
    """
    usual = {name: SPLIT_NAMES[name.lower()] for name in names if name.lower() in SPLIT_NAMES}
    others = {name: split for name in names if (split := split_named(name, short=True)) and name not in usual}
    return usual | {name: split for name, split in others.items() if split not in usual.values()}


def open_source(spec: str) -> HubSource:
    """Load the dataset into the cache of `datasets` unless it is there. Raises `DataError` with the remedy."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import datasets  # an extra, and slow to import
    except ImportError:
        raise DataError("Hugging Face datasets need a package: pip install 'ganloom[hf]'.") from None
    path, _, config = spec.partition(":")
    if "/" not in path.strip("/"):  # `datasets` would read 'parquet' as the files of the working folder
        raise DataError(
            f"'{spec}' is not the name of a dataset: write hf:OWNER/NAME, as on https://huggingface.co/datasets."
        )
    if not Path(path).is_dir():
        log.info(
            f"loading {spec} with Hugging Face datasets; files that are missing are downloaded to {_cache()}",
        )
    try:
        return HubSource(spec, datasets.load_dataset(path, config or None, keep_in_memory=False))
    except ConnectionError as error:
        raise DataError(
            f"'{spec}' is not in the cache of Hugging Face datasets, and the Hub cannot be reached "
            f"({_one_line(error)}). Check the connection, or put a copy of the dataset's files into a folder and "
            "give its path."
        ) from None
    except datasets.exceptions.DatasetNotFoundError as error:
        raise DataError(
            f"there is no dataset '{spec}', or you have no access: {_one_line(error)}. Check its name on "
            "https://huggingface.co/datasets, or log in with `hf auth login` if it is private."
        ) from None
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        configs = _configs(path)
        if config not in configs and len(configs) > 1:
            choices = ", ".join(f"hf:{path}:{name}" for name in configs)
            raise DataError(f"'{path}' has several configurations: write one of {choices}.") from None
        raise DataError(
            f"Hugging Face datasets cannot load '{spec}': {_one_line(error.__cause__ or error)}. "
            "Put its files into a folder and give the path."
        ) from None


def _configs(path: str) -> list[str]:
    import datasets

    try:
        return list(datasets.get_dataset_config_names(path))
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError):
        return []


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _cache() -> str:
    import datasets

    return str(datasets.config.HF_DATASETS_CACHE)


def _open(images: "Dataset", index: int, column: str) -> Image.Image:
    value = images[index][column] or {}
    if value.get("bytes") is not None:
        return open_image(io.BytesIO(value["bytes"]))
    if value.get("path"):
        return open_image(Path(value["path"]))
    raise OSError("this row has no image")
