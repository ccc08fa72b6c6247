import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources import lsun

KEYS = sorted(f"{index * 7919 % 1000:03}abc".encode() for index in range(30))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`GANLOOM_DATA`."""
    monkeypatch.setenv("GANLOOM_DATA", str(tmp_path))
    return tmp_path


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), shade, np.uint8)).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def database(path: Path, pictures: dict[bytes, bytes] | None = None) -> None:
    """An LMDB. Without `pictures`, the image of key i has the grey level i."""
    with lmdb.open(str(path), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for key, value in (pictures or {key: picture(index) for index, key in enumerate(KEYS)}).items():
            transaction.put(key, value)


def shade(image: Image.Image) -> int:
    return int(np.asarray(image)[0, 0, 0])


def test_images_come_in_the_order_of_their_keys_without_labels(folder: Path) -> None:
    database(folder / "church_outdoor_train_lmdb")
    source = lsun.open_source("church_outdoor")
    items = list(source.items())
    assert [item.name for item in items] == [f"church_outdoor_train_lmdb/{key.decode()}" for key in KEYS]
    assert [shade(item.open()) for item in items] == list(range(30))
    assert {(item.split, item.label) for item in items} == {("train", None)}
    assert (source.name, source.count, source.splits) == ("lsun-church_outdoor", 30, ["train"])
    assert (tuple(source.class_names), source.ignored) == ((), 0)


def test_the_second_database_is_the_split_val(folder: Path) -> None:
    database(folder / "church_outdoor_train_lmdb")
    database(folder / "church_outdoor_val_lmdb", {b"x": picture(200)})
    source = lsun.open_source("church_outdoor")
    assert (source.count, source.splits) == (31, ["train", "val"])
    *_, last = source.items()
    assert (last.split, shade(last.open())) == ("val", 200)
    assert len(list(source.fingerprint())) == 2


def test_images_may_be_opened_from_many_threads(folder: Path) -> None:
    database(folder / "tower_train_lmdb")
    items = list(lsun.open_source("tower").items()) * 30
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda item: shade(item.open()), items)) == list(range(30)) * 30


def test_a_scene_may_be_opened_twice_at_once(folder: Path) -> None:
    database(folder / "tower_train_lmdb")
    first, second = lsun.open_source("tower"), lsun.open_source("tower")
    assert shade(next(first.items()).open()) == shade(next(second.items()).open()) == 0


def test_nothing_is_written_beside_the_database(folder: Path) -> None:
    database(folder / "tower_train_lmdb")
    (folder / "tower_train_lmdb" / "lock.mdb").unlink()
    source = lsun.open_source("tower")
    shade(next(source.items()).open())
    assert [path.name for path in (folder / "tower_train_lmdb").iterdir()] == ["data.mdb"]


def test_a_damaged_image_is_an_oserror_of_that_image_alone(folder: Path) -> None:
    database(folder / "tower_train_lmdb", {b"a": b"no picture", b"b": picture(5)})
    one, two = lsun.open_source("tower").items()
    with pytest.raises(OSError, match="cannot identify image file"):
        one.open()
    assert shade(two.open()) == 5


def test_for_a_missing_scene_the_message_says_what_to_download_and_where_to_put_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zip_file = "http://dl.yf.io/lsun/scenes/church_outdoor_train_lmdb.zip"
    with pytest.raises(DataError) as caught:
        lsun.open_source("church_outdoor")
    assert zip_file in str(caught.value)
    assert f"unzip it in {folder}." in str(caught.value)
    monkeypatch.delenv("GANLOOM_DATA")
    with pytest.raises(DataError, match="unzip it in FOLDER, and set GANLOOM_DATA=FOLDER"):
        lsun.open_source("church_outdoor")


def test_a_zip_that_was_not_unzipped_is_reported(folder: Path) -> None:
    (folder / "church_outdoor_train_lmdb.zip").touch()
    with pytest.raises(DataError, match=r"church_outdoor_train_lmdb\.zip is still zipped: unzip it in its folder"):
        lsun.open_source("church_outdoor")


def test_a_file_that_is_not_a_database_is_refused(folder: Path) -> None:
    (folder / "tower_train_lmdb").mkdir()
    (folder / "tower_train_lmdb" / "data.mdb").write_bytes(bytes(10_000))
    with pytest.raises(DataError, match=r"cannot be read as LMDB: .*Unzip tower_train_lmdb\.zip again"):
        lsun.open_source("tower")


def test_an_unknown_scene_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"LSUN has no scene 'church'\. Did you mean 'church_outdoor'\?"):
        lsun.open_source("church")


def test_without_its_package_the_message_says_how_to_install_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database(folder / "tower_train_lmdb")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(DataError, match=r"pip install 'ganloom\[lmdb\]'"):
        lsun.open_source("tower")
