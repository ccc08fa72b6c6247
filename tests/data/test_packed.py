import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packing import ALL, pack

from ganloom.core.errors import DataError
from ganloom.data import shards
from ganloom.data.packed import PackedDataset, open_packed
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find

COUNT = 11
COLOUR = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 5, 3), dtype=np.uint8)
GREY = COLOUR[..., :1]


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts with an empty cache."""
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))


def every(dataset: PackedDataset, split: str = "train") -> Any:
    return dataset.images(np.arange(dataset.count(split)), split)


@pytest.mark.parametrize("images", [COLOUR, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize("rows", [1, 3, COUNT])
def test_several_shards_hold_the_same_images_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Any, rows: int
) -> None:
    np.savez(tmp_path / "in.npz", x_train=images[:8], x_test=images[8:])
    source = find(str(tmp_path / "in.npz"))
    one = prepare(source, Preprocessing(), ALL)
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(
        shards, "SHARD_BYTES", rows * COLOUR[0].nbytes + 1
    )  # one byte more is not enough for another row
    many = prepare(source, Preprocessing(), ALL)

    for split, count in (("train", 8), ("test", 3)):
        assert len(list(one.path.glob(f"{split}-*.npy"))) == 1
        assert len(list(many.path.glob(f"{split}-*.npy"))) == -(-count // rows)
    assert np.array_equal(every(many), images[:8])
    assert np.array_equal(every(many), every(one))
    assert np.array_equal(every(many, "test"), images[8:])
    assert many.description.content_hash == one.description.content_hash

    mixed = np.array([7, 0, 3, 3, 6, 0])  # in any order, across shards, some twice
    assert np.array_equal(many.images(mixed), images[mixed])


def test_positions_count_from_the_first_image_of_each_split(tmp_path: Path) -> None:
    dataset = pack(tmp_path, x_train=COLOUR[:6], y_train=range(6), x_test=COLOUR[6:], y_test=np.arange(6, COUNT) % 6)
    assert [dataset.count(split) for split in ("train", "val", "test")] == [6, 0, 5]
    assert np.array_equal(dataset.images(np.array([4, 0]), "test"), COLOUR[[10, 6]])
    assert dataset.labels(np.array([4, 0]), "test").tolist() == [4, 0]
    assert dataset.labels(np.array([4, 0])).tolist() == [4, 0]


@pytest.mark.parametrize(
    ("labels", "dtype"), [(np.arange(COUNT) % 3, np.int64), (np.eye(COUNT)[:, :4], np.float32)], ids=["class", "shares"]
)
def test_labels_are_classes_or_shares_of_them(tmp_path: Path, labels: Any, dtype: Any) -> None:
    found = pack(tmp_path, images=COLOUR, labels=labels).labels(np.arange(COUNT))
    assert found.dtype == dtype
    assert np.array_equal(found, labels)


def test_a_dataset_without_labels_has_no_label_file_and_no_class_names(tmp_path: Path) -> None:
    dataset = pack(tmp_path, images=COLOUR)
    assert dataset.class_names == []
    assert not list(dataset.path.glob("*-labels.npy"))


def test_an_opened_dataset_equals_the_prepared_one(tmp_path: Path) -> None:
    dataset = pack(tmp_path, images=COLOUR)
    opened = open_packed(dataset.path)
    assert (opened.path, opened.description) == (dataset.path, dataset.description)
    assert np.array_equal(every(opened), COLOUR)


def test_opening_reads_only_the_description_and_the_sizes_of_the_shards(tmp_path: Path) -> None:
    dataset = pack(tmp_path, images=COLOUR, labels=np.zeros(COUNT, np.int64))
    for path in dataset.path.iterdir():
        if path.name.startswith("train-0"):
            path.write_bytes(bytes(path.stat().st_size))  # its content is invalid
        elif path.name != "dataset.json":
            path.unlink()
    assert open_packed(dataset.path).count() == COUNT


def test_files_are_named_in_the_order_of_their_rows(tmp_path: Path) -> None:
    dataset = pack(tmp_path, x_test=COLOUR[:1], x_train=COLOUR[:2])
    lines = (dataset.path / "files.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert [(entry["file"], entry["split"]) for entry in entries] == [
        ("train/0", "train"),
        ("train/1", "train"),
        ("test/0", "test"),
    ]
    # the first image is in both splits
    assert entries[0]["sha256"] == entries[2]["sha256"] != entries[1]["sha256"]
    assert [entry.get("duplicate", False) for entry in entries] == [False, False, True]


def without(values: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != key}


DAMAGE: dict[str, Callable[[dict[str, Any]], str | bytes]] = {
    "empty": lambda values: "",
    "cut short": lambda values: json.dumps(values)[:-20],
    "not text": lambda values: b"\xff\xfe\x00",
    "no mapping": lambda values: "[]",
    "nothing in it": lambda values: "{}",
    "a key missing": lambda values: json.dumps(without(values, "content_hash")),
    "a key too many": lambda values: json.dumps({**values, "extra": 1}),
    "a wrong type": lambda values: json.dumps({**values, "shape": "64x64"}),
    "format 1": lambda values: json.dumps({**values, "format": 1}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_description_is_reported_with_the_remedy(tmp_path: Path, damage: str) -> None:
    path = pack(tmp_path, images=COLOUR).path / "dataset.json"
    content = DAMAGE[damage](json.loads(path.read_text(encoding="utf-8")))
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        DataError, match=r"is not a packed dataset of this version of ganloom .*: delete it and prepare it again"
    ):
        open_packed(path.parent)


def test_a_folder_that_is_not_a_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("not to be deleted")
    for folder in (tmp_path, tmp_path / "missing", tmp_path / "thesis.txt"):
        with pytest.raises(DataError, match="is not a packed dataset: make one with ganloom prepare"):
            open_packed(folder)


@pytest.mark.parametrize("keep", [None, 100, -1])
def test_a_damaged_shard_is_reported_with_the_remedy(tmp_path: Path, keep: int | None) -> None:
    dataset = pack(tmp_path, images=COLOUR)
    shard = dataset.path / "train-00000.npy"
    data = shard.read_bytes()
    shard.unlink()
    if keep is not None:
        shard.write_bytes(data[:keep])
    with pytest.raises(DataError, match=r"the packed dataset .* is damaged .*: delete it and prepare it again"):
        open_packed(dataset.path).images(np.array([0]))
