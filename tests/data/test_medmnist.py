import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import md5, serve

from ganloom.core.errors import DataError
from ganloom.data.sources import medmnist
from ganloom.data.sources.arrays import ArraySource

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)


def download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, labels: Any) -> ArraySource:
    """The source of a file with these labels: three images in train, one in val, two in test."""
    buffer = io.BytesIO()
    parts = np.split(IMAGES, (3, 4)), np.split(np.asarray(labels, np.uint8), (3, 4))
    arrays = {f"{split}_{kind}": part for kind, sets in zip(("images", "labels"), parts, strict=True)
              for split, part in zip(("train", "val", "test"), sets, strict=True)}  # fmt: skip
    np.savez_compressed(buffer, **arrays)
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANLOOM_DATA", raising=False)
    base, _, size = name.partition("_")
    hashes = list(medmnist.SETS[base].md5)
    hashes[["", "64", "128", "224"].index(size)] = md5(buffer.getvalue())
    monkeypatch.setitem(medmnist.SETS, base, replace(medmnist.SETS[base], md5=tuple(hashes)))  # type: ignore[arg-type]
    with serve({f"files/{name}.npz?download=1": buffer.getvalue()}) as url:
        monkeypatch.setattr(medmnist, "MIRRORS", (url + "files/{file}?download=1",))
        return medmnist.open_source(name)


@pytest.mark.parametrize("name", ["pneumoniamnist", "pneumoniamnist_64", "pneumoniamnist_224"])
def test_a_set_is_downloaded_verified_and_has_the_names_of_its_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    source = download(tmp_path, monkeypatch, name, [[1], [0], [1], [0], [1], [1]])
    items = list(source.items())
    assert np.array_equal(np.stack([np.asarray(item.open()) for item in items]), IMAGES)
    assert [item.label for item in items] == [1, 0, 1, 0, 1, 1]
    assert [item.split for item in items] == ["train"] * 3 + ["val"] + ["test"] * 2
    assert list(source.class_names) == ["normal", "pneumonia"]
    assert (source.name, source.count, list(source.splits)) == (name, 6, ["train", "val", "test"])
    assert (tmp_path / "cache" / "downloads" / f"{name}.npz").exists()


def test_overlapping_classes_have_shares_as_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(1).integers(0, 2, (6, 14))
    source = download(tmp_path, monkeypatch, "chestmnist", labels)
    given = np.stack([np.asarray(item.label) for item in source.items()])
    assert given.dtype == np.float32
    assert np.array_equal(given, labels)
    assert source.class_names[13] == "hernia"


def test_labels_that_do_not_match_the_class_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="has 3 classes, not 2"):
        download(tmp_path, monkeypatch, "pneumoniamnist", [[1], [0], [2], [0], [1], [1]])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("patmnist", r"MedMNIST has no 'patmnist'\. Did you mean 'pathmnist'\?"),
        ("pathmnist_65", r"no 'pathmnist_65'\. Did you mean 'pathmnist_64'\?"),
        ("organmnist3d", "no 'organmnist3d'"),
        ("xyz", r"Known: bloodmnist, .*tissuemnist\. Larger images: NAME_64, NAME_128, NAME_224"),
        ("", "Known: "),
    ],
)
def test_an_unknown_set_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        medmnist.open_source(name)


def test_the_table_has_twelve_sets_whose_48_files_all_differ() -> None:
    hashes = [digest for published in medmnist.SETS.values() for digest in published.md5]
    assert len(medmnist.SETS) == 12
    assert len(set(hashes)) == 48
    assert all(len(digest) == 32 and int(digest, 16) >= 0 for digest in hashes)
    assert all(len(published.class_names) == len(set(published.class_names)) for published in medmnist.SETS.values())
