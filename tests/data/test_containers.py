"""Images in tables, batches, IDX and parquet files, and what is said of files that are not read."""

import gzip
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from making import encoded, noise, prepared, rows
from numpy.typing import NDArray

from ganloom.config import Reading
from ganloom.core.errors import ConfigError, DataError
from ganloom.data.sources import Source, find

GREY = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
NUMBERS = [2, 0, 1, 2, 0, 1]


def pixels(source: Source, split: str = "train") -> NDArray[np.uint8]:
    return np.stack([np.asarray(item.open()) for item in source.items() if item.split == split]).astype(np.uint8)


def labels(source: Source, split: str = "train") -> list[Any]:
    return [item.label for item in source.items() if item.split == split]


def said(source: Source) -> str:
    return "\n".join(f"{topic}: {text}" for topic, text in source.remarks)


# Tables of pixels


def table(path: Path, images: NDArray[Any], numbers: list[Any] | None, header: bool = True, last: bool = False) -> Path:
    lines = []
    if header:
        names = [f"pixel{index}" for index in range(images[0].size)]
        lines.append(",".join([*names, "label"] if last else ["label", *names] if numbers else names))
    for index, image in enumerate(images):
        cells = [str(value) for value in image.ravel()]
        own = [str(numbers[index])] if numbers else []
        lines.append(",".join([*cells, *own] if last else [*own, *cells]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize(("header", "last"), [(True, False), (True, True), (False, False)])
def test_rows_of_pixels_are_images_with_labels(
    tmp_path: Path, images: NDArray[np.uint8], header: bool, last: bool
) -> None:
    source = find(str(table(tmp_path / "train.csv", images, NUMBERS, header, last)))
    assert np.array_equal(pixels(source), images)
    assert labels(source) == NUMBERS
    assert source.class_names == ["0", "1", "2"]


def test_a_column_of_pixels_and_one_of_usages_are_read_as_in_fer2013(tmp_path: Path) -> None:
    usages = ["Training", "PrivateTest", "Training", "PublicTest", "Training", "Training"]
    lines = [f"{n},{' '.join(map(str, image.ravel()))},{u}" for n, image, u in zip(NUMBERS, GREY, usages, strict=True)]
    (tmp_path / "fer.csv").write_text("emotion, pixels,Usage\n" + "\n".join(lines))
    source = find(str(tmp_path / "fer.csv"))
    assert source.splits == ("train", "val", "test")
    assert np.array_equal(pixels(source), GREY[[0, 2, 4, 5]]) and labels(source) == [2, 1, 0, 1]
    assert np.array_equal(pixels(source, "test"), GREY[[1]]) and labels(source, "val") == [2]


def test_tables_of_a_folder_are_its_splits_and_other_files_are_ignored(tmp_path: Path) -> None:
    table(tmp_path / "mnist_train.csv", GREY, NUMBERS)
    table(tmp_path / "mnist_test.csv", GREY[:2] // 2, None)
    (tmp_path / "sample_submission.csv").write_text("id,label\n1,0\n")
    source = find(str(tmp_path))
    assert source.splits == ("train", "test") and source.ignored == 1
    assert labels(source, "test") == [None, None]


def test_another_column_may_hold_the_labels(tmp_path: Path) -> None:
    lines = [f"{age},{'mf'[age % 2]},{' '.join(map(str, image.ravel()))}" for age, image in enumerate(GREY)]
    (tmp_path / "faces.csv").write_text("age,gender,pixels\n" + "\n".join(lines))
    source = find(str(tmp_path / "faces.csv"))
    assert source.class_names == [] and "not read: age, gender (labels: data.label_column" in said(source)
    chosen = find(Reading(source=str(tmp_path / "faces.csv"), label_column="gender"))
    assert chosen.class_names == ["f", "m"] and labels(chosen)[:2] == [1, 0]
    assert list(chosen.fingerprint()) != list(source.fingerprint())
    with pytest.raises(DataError, match=r"has no column 'gendre'\. Did you mean 'gender'"):
        find(Reading(source=str(tmp_path / "faces.csv"), label_column="gendre"))


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    path = table(tmp_path / "train.csv", GREY, NUMBERS)
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[5], "x")
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"row 4 of .*train\.csv should have 64 numbers from column 2 on"):
        prepared(path, tmp_path / "out")


def test_a_row_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = table(tmp_path / "train.csv", GREY, NUMBERS)
    path.write_text(path.read_text()[:-30])
    with pytest.raises(DataError, match=r"row 7 of .*train\.csv has \d+ columns, not 65: repair or remove it"):
        find(str(path))


def test_a_table_without_pixels_says_what_it_may_be_for(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,label\na.png,cat\n")
    with pytest.raises(DataError, match=r"is a table without pixels: .*--labels FILE"):
        find(str(tmp_path / "labels.csv"))


# Pickled batches


def batch(path: Path, images: NDArray[np.uint8], protocol: int = 2, key: bytes = b"labels") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), -1))
    numbers = [index % 3 for index in range(len(images))]
    path.write_bytes(pickle.dumps({b"batch_label": b"one", b"data": data, key: numbers}, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_batches_of_any_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    batch(folder / "data_batch_1", COLOUR[:3], protocol)
    batch(folder / "data_batch_2", COLOUR[3:], protocol)
    batch(folder / "test_batch", COLOUR[:2], protocol)
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog", b"owl"]}, protocol))
    source = find(str(folder))
    assert np.array_equal(pixels(source), COLOUR) and np.array_equal(pixels(source, "test"), COLOUR[:2])
    assert source.class_names == ["cat", "dog", "owl"] and labels(source) == [0, 1, 2, 0, 1, 2]
    assert source.ignored == 0 and "read without running them" in said(source)


def test_cifar_100_has_its_fine_labels(tmp_path: Path) -> None:
    batch(tmp_path / "in" / "train", COLOUR, key=b"fine_labels")
    batch(tmp_path / "in" / "test", COLOUR[:1], key=b"fine_labels")
    assert labels(find(str(tmp_path / "in"))) == [0, 1, 2, 0, 1, 2]
    assert find(str(tmp_path / "in" / "test")).splits == ("train",)  # alone, it is what is trained on


# IDX


def idx(path: Path, array: NDArray[np.uint8], zipped: bool = False) -> None:
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("given", ["file", "folder"])
def test_idx_files_are_read_by_their_path(tmp_path: Path, zipped: bool, given: str) -> None:
    end = ".gz" if zipped else ""
    idx(tmp_path / f"train-images-idx3-ubyte{end}", GREY, zipped)
    idx(tmp_path / f"train-labels-idx1-ubyte{end}", np.array(NUMBERS, np.uint8), zipped)
    idx(tmp_path / f"t10k-images-idx3-ubyte{end}", GREY[:2], zipped)
    source = find(str(tmp_path if given == "folder" else tmp_path / f"train-images-idx3-ubyte{end}"))
    assert np.array_equal(pixels(source), GREY) and labels(source) == NUMBERS
    assert source.splits == (("train", "test") if given == "folder" else ("train",))


def test_images_of_emnist_are_turned(tmp_path: Path) -> None:
    idx(tmp_path / "emnist-letters-train-images-idx3-ubyte", GREY)
    source = find(str(tmp_path))
    assert np.array_equal(pixels(source), GREY.transpose(0, 2, 1))
    assert "turned back" in said(source) and "labels: none" in said(source)


def test_several_sets_of_idx_files_are_not_guessed(tmp_path: Path) -> None:
    for name in ("digits", "letters"):
        idx(tmp_path / f"{name}-train-images-idx3-ubyte", GREY)
    with pytest.raises(DataError, match=r"several sets of images .*name one of the files"):
        find(str(tmp_path))


@pytest.mark.parametrize("change", [-1, 1])
def test_an_idx_file_of_another_length_is_refused(tmp_path: Path, change: int) -> None:
    idx(tmp_path / "images.idx", GREY)
    content = (tmp_path / "images.idx").read_bytes()
    (tmp_path / "images.idx").write_bytes(content[:-1] if change < 0 else content + b"\0")
    with pytest.raises(DataError, match=r"is cut short|has more data"):
        list(find(str(tmp_path / "images.idx")).items())


# Parquet


def parquet(path: Path, inside: bool = True, metadata: bytes | None = None, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = [encoded(image) for image in COLOUR[: len(next(iter(columns.values())))]]
    images = [{"bytes": content, "path": None} for content in contents] if inside else contents
    made = pyarrow.table({"img": images, **columns})
    pyarrow.parquet.write_table(made.replace_schema_metadata(metadata and {b"huggingface": metadata}), path)


@pytest.mark.parametrize("inside", [True, False], ids=["records", "bytes"])
def test_parquet_files_are_read_with_splits_and_labels(tmp_path: Path, inside: bool) -> None:
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", inside, label=NUMBERS)
    parquet(tmp_path / "data" / "test-00000-of-00001.parquet", inside, label=[0, 1])
    source = find(str(tmp_path))
    assert np.array_equal(pixels(source), COLOUR) and labels(source) == NUMBERS
    assert source.splits == ("train", "test") and labels(source, "test") == [0, 1]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the open files as Linux lists them")
def test_parquet_files_are_open_only_while_they_are_read(tmp_path: Path) -> None:
    for index in range(20):
        parquet(tmp_path / f"{index}.parquet", label=NUMBERS)
    before = len(os.listdir("/proc/self/fd"))
    source = find(str(tmp_path))
    items = source.items()
    next(items)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert sum(1 for _ in items) == 20 * len(NUMBERS) - 1


def test_names_of_classes_come_from_the_metadata_of_hugging_face(tmp_path: Path) -> None:
    names = b'{"info": {"features": {"label": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}}}}'
    parquet(tmp_path / "a.parquet", metadata=names, label=[2, None, -1])
    source = find(str(tmp_path / "a.parquet"))
    assert source.class_names == ["cat", "dog", "owl"] and labels(source) == [2, None, None]


def test_texts_in_parquet_are_class_names(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", kind=["owl", None, "cat"], n=[1, 2, 3])
    source = find(Reading(source=str(tmp_path / "a.parquet"), label_column="kind"))
    assert source.class_names == ["cat", "owl"] and labels(source) == [1, None, 0]
    assert "images from 'img', labels from 'kind'; not read: n" in said(source)


def test_parquet_without_images_or_damaged_is_refused(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"], "label": [1]}), tmp_path / "text.parquet")
    with pytest.raises(DataError, match=r"no column with the bytes of images, only text \(string\), label \(int64\)"):
        find(str(tmp_path / "text.parquet"))
    (tmp_path / "torn.parquet").write_bytes(b"PAR1" + bytes(30))
    with pytest.raises(DataError, match=r"torn\.parquet cannot be read as parquet"):
        find(str(tmp_path / "torn.parquet"))


def test_parquet_without_pyarrow_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet(tmp_path / "a.parquet", label=[1])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"pip install 'ganloom\[parquet\]'"):
        find(str(tmp_path / "a.parquet"))


# What is not read


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("a.h5", r"is an HDF5 file: .*\./reader\.py"),
        ("a.mat", "is a MATLAB file: .*scipy"),
        ("a.nii.gz", "is a medical volume: save its slices"),
        ("a.pt", r"is a PyTorch file, which is a pickle: .*tensor\.numpy"),
        ("a.pkl", "is a pickle, which could run any code .*np.savez"),
        ("x.tfrecord-00000-of-00002", "is a file of TensorFlow records"),
        ("a.rar", "is a RAR archive: unpack it"),
        ("clip.mp4", r"is a video: extract its frames: mkdir frames; ffmpeg -i clip\.mp4 frames/%06d\.png"),
        ("a.pdf", r"pdfimages -png a\.pdf"),
        ("a.NEF", "is a camera's raw file"),
        ("a.heic", "is a HEIC photograph: convert"),
        ("a.png", "is a single image: give its folder"),
        ("a.dcm", "is a DICOM file: give the folder of such files"),
    ],
)
def test_a_file_that_is_not_read_is_named_with_the_next_step(tmp_path: Path, name: str, step: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(bytes(200))
    with pytest.raises(DataError, match=step):
        find(str(tmp_path / "in" / name))
    if name not in ("a.heic", "a.png", "a.dcm"):
        with pytest.raises(DataError, match=r"there are no images in .*\. It holds 1 \.\w+"):
            find(str(tmp_path / "in"))


def test_a_zip_in_a_zip_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("photos.zip", b"PK\5\6" + bytes(18))
    with pytest.raises(DataError, match=r"It holds 1 \.zip \(an archive\): .* has to be unpacked first"):
        find(str(tmp_path / "outer.zip"))


def test_dicom_in_an_archive_says_to_unpack_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        archive.writestr("scans/1.dcm", bytes(128) + b"DICM")
    with pytest.raises(DataError, match=r"It holds 1 \.dcm .* an archive of them has to be unpacked first"):
        find(str(tmp_path / "scans.zip"))


def test_a_folder_of_several_kinds_is_not_guessed(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", GREY, NUMBERS)
    np.save(tmp_path / "images.npy", COLOUR)
    with pytest.raises(DataError, match=r"several kinds of files \(1 such as images\.npy; 1 such as train\.csv\)"):
        find(str(tmp_path))


@pytest.mark.parametrize("name", ["Digits", "DIGITS", "di-gits"])
def test_names_count_whatever_their_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(name).name == "digits"
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.png").write_bytes(encoded(noise(4, 4)))
    assert find(name).name == name  # a folder of that name comes first


def test_an_address_and_a_pattern_of_images_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is an address: download it first \(curl -LO https://x\.org/a\.zip\)"):
        find("https://x.org/a.zip")
    (tmp_path / "a.png").write_bytes(encoded(noise(4, 4)))
    with pytest.raises(DataError, match=r"1 files match .*: patterns are for array files"):
        find(str(tmp_path / "*.png"))


def test_a_setting_that_such_files_cannot_follow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.frames cannot be followed"):
        find(Reading(source=str(table(tmp_path / "a.csv", GREY, NUMBERS)), frames="all"))


def test_a_table_is_prepared_like_any_source(tmp_path: Path) -> None:
    dataset = prepared(table(tmp_path / "train.csv", COLOUR, NUMBERS), tmp_path / "out")
    assert np.array_equal(rows(dataset), COLOUR)
    assert dataset.description.remarks[0].topic == "table"


def test_folders_of_tables_and_idx_files_are_splits(tmp_path: Path) -> None:
    for split, images in (("train", GREY), ("test", GREY[:1])):
        (tmp_path / "csv" / split).mkdir(parents=True)
        table(tmp_path / "csv" / split / "a.csv", images, None)
        (tmp_path / "idx" / split).mkdir(parents=True)
        idx(tmp_path / "idx" / split / "images-idx3-ubyte", images)
    for kind in ("csv", "idx"):
        source = find(str(tmp_path / kind))
        assert np.array_equal(pixels(source), GREY)
        assert np.array_equal(pixels(source, "test"), GREY[:1])


def test_grey_tables_keep_their_values(tmp_path: Path) -> None:
    images = np.random.default_rng(2).integers(60, 190, (6, 8, 8), dtype=np.uint8)
    assert np.array_equal(rows(prepared(table(tmp_path / "a.csv", images, None), tmp_path / "a"))[..., 0], images)
    images = images[:, :, :, None].repeat(3, axis=3)
    assert np.array_equal(pixels(find(str(table(tmp_path / "c.csv", images, None)))), images)


def test_grey_fractions_in_tables_have_a_window(tmp_path: Path) -> None:
    images = np.random.default_rng(2).random((6, 8, 8)) * 0.5 + 0.2
    packed = rows(prepared(table(tmp_path / "a.csv", images, None), tmp_path / "out"))[..., 0]
    assert np.abs(packed / 255 - images).max() < 0.01


def test_a_row_outside_the_range_of_the_others_is_named(tmp_path: Path) -> None:
    images = np.concatenate([GREY] * 100).astype(np.int64)
    images[301] = 300
    with pytest.raises(DataError, match=r"row 303 of .* has other values than whole numbers from 0 to 255"):
        pixels(find(str(table(tmp_path / "a.csv", images, None))))


def test_a_cell_may_hold_a_large_image(tmp_path: Path) -> None:
    large = np.full((200, 200), 200)
    (tmp_path / "a.csv").write_text("emotion,pixels\n" + f"1,{' '.join(map(str, large.ravel()))}\n" * 2)
    assert np.array_equal(pixels(find(str(tmp_path / "a.csv")))[1], large)


def test_an_unknown_usage_is_not_taken_for_training(tmp_path: Path) -> None:
    lines = [f"{' '.join(map(str, image.ravel()))},{usage}" for image, usage in zip(GREY, "abcdef", strict=True)]
    (tmp_path / "a.csv").write_text("pixels,Usage\n" + "\n".join(lines))
    with pytest.raises(DataError, match="'a': write Training"):
        find(str(tmp_path / "a.csv"))
    (tmp_path / "a.csv").write_text("pixels,Usage\n" + "\n".join(lines).replace(",a", ",train"))
    with pytest.raises(DataError, match="'b': write Training"):
        find(str(tmp_path / "a.csv"))


@pytest.mark.parametrize("planes", [True, False])
def test_the_axis_of_the_colours_of_a_batch_is_the_one_of_3(tmp_path: Path, planes: bool) -> None:
    data = np.ascontiguousarray(COLOUR[:, :, :6].transpose(0, 3, 1, 2) if planes else COLOUR[:, :, :6])
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": data}, 4))
    assert np.array_equal(pixels(find(str(tmp_path / "data_batch_1"))), COLOUR[:, :, :6])


def test_names_of_classes_are_only_looked_for_beside_a_batch(tmp_path: Path) -> None:
    batch(tmp_path / "data_batch_1", COLOUR)
    (tmp_path / "other").mkdir()
    names = pickle.dumps({"label_names": ["cat", "dog", "owl"]}, 4)
    (tmp_path / "other" / "batches.meta").write_bytes(names)
    assert find(str(tmp_path / "data_batch_1")).class_names == ["0", "1", "2"]
    (tmp_path / "batches.meta").write_bytes(names)
    assert find(str(tmp_path / "data_batch_1")).class_names == ["cat", "dog", "owl"]


@pytest.mark.parametrize("kind", ["ArrowNotImplementedError", "ArrowKeyError", "ArrowInvalid"])
def test_every_error_of_pyarrow_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")

    def refuse(path: Path) -> None:
        raise getattr(pyarrow, kind)("codec is not there")

    monkeypatch.setattr("pyarrow.parquet.ParquetFile", refuse)
    (tmp_path / "a.parquet").touch()
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as parquet \(.*codec is not there"):
        find(str(tmp_path / "a.parquet"))


def test_deep_metadata_of_parquet_gives_no_class_names(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    parquet(tmp_path / "a.parquet", metadata=b"[" * 100_000, label=NUMBERS)
    assert find(str(tmp_path / "a.parquet")).class_names == ["0", "1", "2"]
