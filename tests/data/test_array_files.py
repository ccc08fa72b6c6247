"""Array files among each other: classes, splits and masks by the rules of image files."""

from pathlib import Path

import numpy as np
import pytest

from ganloom.config import Reading
from ganloom.core.errors import ConfigError
from ganloom.data.sources import Source, find
from ganloom.data.sources.contract import Label

PHOTO = np.arange(256, dtype=np.uint8).reshape(16, 16)
MASK = np.where(PHOTO > 99, 255, 0).astype(np.uint8)


def saved(root: Path, **arrays: np.ndarray) -> Path:
    for name, array in arrays.items():
        path = root / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    return root


def seen(source: Source) -> dict[str, tuple[str, Label]]:
    return {item.name: (item.split, item.label) for item in source.items()}


def test_folders_of_one_image_files_are_classes_and_splits(tmp_path: Path) -> None:
    names = [f"{split}/{name}/{index}" for split in ("train", "val") for name in ("cat", "dog") for index in range(3)]
    source = find(str(saved(tmp_path, **dict.fromkeys(names, PHOTO))))
    assert list(source.class_names) == ["cat", "dog"]
    assert seen(source)["train/dog/1.npy"] == ("train", 1) and seen(source)["val/cat/2.npy"] == ("val", 0)
    flat = find(Reading(source=str(tmp_path), class_level=0))
    assert not flat.class_names and set(flat.splits) == {"train", "val"}


def test_settings_of_folders_are_refused_for_files_of_many_images(tmp_path: Path) -> None:
    saved(tmp_path, a=np.stack([PHOTO] * 5), b=np.stack([PHOTO] * 5))
    with pytest.raises(ConfigError, match=r"data\.class_level is for files of one image each"):
        find(Reading(source=str(tmp_path), class_level=1))


def test_a_file_of_masks_beside_one_of_images_is_left_out(tmp_path: Path) -> None:
    saved(tmp_path, images=np.stack([PHOTO] * 5), masks=np.stack([MASK] * 5))
    source = find(str(tmp_path))
    assert source.count == 5 and any(remark.topic == "masks" for remark in source.remarks)
    assert find(Reading(source=str(tmp_path), keep_masks=True)).count == 10


def test_masks_of_one_image_files_are_left_out(tmp_path: Path) -> None:
    for index in range(4):
        saved(tmp_path, **{f"images/{index}": PHOTO, f"masks/{index}": MASK})
    source = find(str(tmp_path))
    assert source.count == 4 and not source.class_names


def test_images_that_are_only_called_masks_are_kept(tmp_path: Path) -> None:
    saved(tmp_path, images=np.stack([PHOTO] * 5), masks=np.stack([PHOTO] * 5))
    assert find(str(tmp_path)).count == 10


def test_labels_in_a_file_of_their_own_stay_labels(tmp_path: Path) -> None:
    saved(tmp_path, images=np.stack([PHOTO] * 6), labels=np.arange(6) % 2)
    source = find(str(tmp_path))
    assert source.count == 6 and len(source.class_names) == 2
