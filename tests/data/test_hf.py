import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources import hf


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, and a cache of Hugging Face datasets elsewhere."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)  # no test may use the network
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "work"


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: str, images: list[Any], labels: list[int | None] | None = None) -> None:
    """A parquet file with columns of numbers, images and classes, in this order."""
    columns: dict[str, list[Any]] = {"number": list(range(len(images))), "photo": images}
    features: dict[str, Any] = {"number": datasets.Value("int64"), "photo": datasets.Image()}
    if labels is not None:
        columns["animal"] = labels
        features["animal"] = datasets.ClassLabel(names=["cat", "dog"])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns, features=datasets.Features(features)).to_parquet(path)


def rows(*shades: int) -> list[dict[str, Any]]:
    return [{"bytes": picture(shade), "path": None} for shade in shades]


def shade(image: Image.Image) -> int:
    return int(np.asarray(image)[0, 0, 0])


def test_images_classes_and_splits_are_found_by_their_kind() -> None:
    write("owner/name/train-00000-of-00001.parquet", rows(1, 2, 3), [0, 1, 1])
    write("owner/name/validation-00000-of-00001.parquet", rows(4), [0])
    write("owner/name/test-00000-of-00001.parquet", rows(5, 6), [1, 0])
    source = hf.open_source("owner/name")
    items = list(source.items())
    assert [shade(item.open()) for item in items] == [1, 2, 3, 4, 5, 6]
    assert [item.label for item in items] == [0, 1, 1, 0, 1, 0]
    assert [item.split for item in items] == ["train"] * 3 + ["val"] + ["test"] * 2
    assert [item.name for item in items][2:4] == ["train/2", "validation/0"]
    assert source.class_names == ["cat", "dog"]
    assert (source.name, source.count, source.splits) == ("owner-name", 6, ["train", "val", "test"])
    assert source.ignored == 0


def test_images_without_classes_have_no_labels() -> None:
    write("owner/name/train.parquet", rows(1, 2))
    source = hf.open_source("owner/name")
    assert [item.label for item in source.items()] == [None, None]
    assert source.class_names == []


def test_a_row_without_a_class_has_no_label() -> None:
    write("owner/name/train.parquet", rows(1, 2, 3), [1, None, -1])
    assert [item.label for item in hf.open_source("owner/name").items()] == [0, None, None]


def test_a_damaged_image_is_an_oserror_of_that_image_alone() -> None:
    write("owner/name/train.parquet", [*rows(1), {"bytes": b"no picture", "path": None}, None, *rows(4)])
    one, two, three, four = hf.open_source("owner/name").items()
    assert (shade(one.open()), shade(four.open())) == (1, 4)
    with pytest.raises(OSError, match="cannot identify image file"):
        two.open()
    with pytest.raises(OSError, match="this row has no image"):
        three.open()


def test_other_splits_are_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    write("owner/name/train.parquet", rows(1))
    write("owner/name/extra.parquet", rows(2))
    configure("owner/name", {"default": {"train": "train.parquet", "unsupervised": "extra.parquet"}})
    source = hf.open_source("owner/name")
    assert [shade(item.open()) for item in source.items()] == [1]
    assert "owner/name: the splits unsupervised are left out" in caplog.text


def test_splits_of_other_names_only_are_refused() -> None:
    write("owner/name/a.parquet", rows(1))
    configure("owner/name", {"default": {"faces": "a.parquet", "places": "a.parquet"}})
    with pytest.raises(DataError, match="'owner/name' has no split 'train', only faces, places"):
        hf.open_source("owner/name")


def test_a_dataset_of_several_configurations_asks_which() -> None:
    write("owner/name/a.parquet", rows(1))
    write("owner/name/b.parquet", rows(2))
    configure("owner/name", {"large": {"train": "a.parquet"}, "small": {"train": "b.parquet"}})
    for spec in ("owner/name", "owner/name:medium"):
        with pytest.raises(DataError, match="write one of hf:owner/name:large, hf:owner/name:small"):
            hf.open_source(spec)
    source = hf.open_source("owner/name:small")
    assert [shade(item.open()) for item in source.items()] == [2]
    assert source.name == "owner-name-small"
    assert list(source.fingerprint()) != list(hf.open_source("owner/name:large").fingerprint())


def configure(path: str, configs: dict[str, dict[str, str]]) -> None:
    """The header of README.md that lists configurations and their splits."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, file in splits.items():
            lines += [f"  - split: {split}", f"    path: {file}"]
    Path(path, "README.md").write_text("\n".join([*lines, "---", ""]))


def test_the_fingerprint_changes_when_the_files_do() -> None:
    write("owner/name/train.parquet", rows(1))
    before = list(hf.open_source("owner/name").fingerprint())
    assert list(hf.open_source("owner/name").fingerprint()) == before
    os.utime("owner/name/train.parquet", (1, 1))
    assert list(hf.open_source("owner/name").fingerprint()) != before


def test_a_dataset_without_images_says_what_it_has(folder: Path) -> None:
    (folder / "owner" / "name").mkdir(parents=True)
    (folder / "owner" / "name" / "train.txt").write_text("words\n")
    with pytest.raises(DataError, match=r"'owner/name' has no column of images, only text \(Value\)"):
        hf.open_source("owner/name")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("train.parquet", "cannot load 'owner/name': Parquet magic bytes"),
        ("notes.xyz", "data files found in owner/name"),
    ],
)
def test_files_that_are_not_a_dataset_are_refused(folder: Path, file: str, message: str) -> None:
    (folder / "owner" / "name").mkdir(parents=True)
    (folder / "owner" / "name" / file).write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=message):
        hf.open_source("owner/name")


def test_a_dataset_that_is_not_in_the_cache_is_refused_offline(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ganloom")
    with pytest.raises(DataError, match=r"'owner/nothing' is not in the cache .* cannot be reached .* put a copy"):
        hf.open_source("owner/nothing")
    assert "loading owner/nothing with Hugging Face datasets" in caplog.text


@pytest.mark.parametrize("spec", ["", "parquet", "name:config"])
def test_a_name_without_its_owner_is_refused(spec: str) -> None:
    write("train.parquet", rows(1))
    with pytest.raises(DataError, match=f"'{spec}' is not the name of a dataset: write hf:OWNER/NAME"):
        hf.open_source(spec)


def test_without_its_package_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'ganloom\[hf\]'"):
        hf.open_source("owner/name")
