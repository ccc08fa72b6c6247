"""An archive gives the same dataset as its folder, and attacks end in a clear error or a skipped file."""

import gzip
import io
import json
import pickle
import re
import resource
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import encoded, entries, labels, noise, packed_by_name, pictures, png_header, prepared, rows, skipped, write

from ganloom.config import Reading
from ganloom.core.errors import DataError
from ganloom.data.prepare import Preprocessing
from ganloom.data.sources import archive, find

GOOD = {f"{number}.png": encoded(noise(4, 5, 1, number)) for number in range(3)}
Packer = Callable[[Path, Mapping[str, bytes]], Path]


@pytest.fixture(autouse=True)
def cache_elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def nothing_is_written_elsewhere(tmp_path: Path) -> Iterator[None]:
    """Whatever an archive contains, files are written in `tmp_path/work` only."""
    (tmp_path / "work").mkdir()
    before = set(tmp_path.parent.iterdir()), set(Path.cwd().iterdir())
    yield
    assert {path.name for path in tmp_path.iterdir()} == {"work"}
    assert (set(tmp_path.parent.iterdir()), set(Path.cwd().iterdir())) == before
    assert {path.name for path in (tmp_path / "work").iterdir()} <= ALLOWED


ALLOWED = {
    "in",
    "out",
    "a.zip",
    "a.tar",
    "a.tar.gz",
    "a.tgz",
    "a.tar.bz2",
    "a.tar.xz",
    "a-skipped.csv",
    "a.npz",
    "x.npy",
}


def as_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def as_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    suffix = path.suffix.removeprefix(".").replace("tgz", "gz")
    with tarfile.open(path, "w" if suffix == "tar" else f"w:{suffix}") as packed:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    return (as_zip if path.suffix == ".zip" else as_tar)(path, files)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


LAYOUTS = {
    "flat": ("a.png", "b.png", "notes.txt", ".DS_Store", "__MACOSX/._a.png"),
    "classes": ("cat/1.png", "cat/2.png", "dog/1.png", "dog/deep/2.png"),
    "splits": ("train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "test/1.png", "other/1.png"),
    "shared folder": ("all/of/it/cat/1.png", "all/of/it/dog/1.png", "all/of/it/dog/.hidden.png"),
    "odd names": ("日本/ü 1.png", "dog's/'2\".png", "dog's/.3/x.png"),
}
KINDS = ("a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_archive_gives_the_same_dataset_as_its_folder(tmp_path: Path, layout: str, kind: str) -> None:
    work = tmp_path / "work"
    pictures(work / "in", *LAYOUTS[layout])
    pack(work / kind, files_of(work / "in"))
    out = [prepared(work / name, work / "out" / name, max_skipped=0.5) for name in ("in", kind)]
    assert out[0].description.content_hash == out[1].description.content_hash
    assert out[0].description.account == out[1].description.account
    assert [sorted(map(str, entries(each))) for each in out[:1]] == [
        sorted(map(str, entries(each))) for each in out[1:]
    ]


@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_dataset_json_in_stylegans_format_labels_the_images(tmp_path: Path, kind: str) -> None:
    work = tmp_path / "work"
    names = [f"00000/img{number:08}.png" for number in range(4)]
    listing = json.dumps({"labels": [[name, label] for name, label in zip(names, (6, 0, 2, 6), strict=True)]}).encode()
    files = {name: encoded(noise(4, 5, 3, seed)) for seed, name in enumerate(names)} | {"dataset.json": listing}
    dataset = prepared(pack(work / kind, files), work / "out")
    assert labels(dataset) == [2, 0, 1, 2]
    assert dataset.class_names == ["0", "2", "6"]
    assert np.array_equal(rows(dataset)[2], noise(4, 5, 3, 2))


@pytest.mark.parametrize("kind", KINDS[:2])
def test_images_without_labels_in_stylegans_format_get_no_classes_from_their_folders(tmp_path: Path, kind: str) -> None:
    work = tmp_path / "work"
    files = dict(zip(("00000/img00000000.png", "00001/img00001000.png"), GOOD.values(), strict=False))
    pack(work / kind, {**files, "dataset.json": b'{"labels": null}'})
    assert prepared(work / kind, work / "out").class_names == []


@pytest.mark.parametrize("kind", KINDS[:2])
def test_a_leading_dot_folder_is_not_hidden(tmp_path: Path, kind: str) -> None:
    work = tmp_path / "work"
    pack(work / kind, {f"./{name}": content for name, content in GOOD.items()})
    assert sorted(packed_by_name(prepared(work / kind, work / "out"))) == sorted(GOOD)


def test_a_zip_made_on_windows_has_folders(tmp_path: Path) -> None:
    as_zip(tmp_path / "work" / "a.zip", {"cat|1.png": GOOD["0.png"], "dog|1.png": GOOD["1.png"]})
    path = tmp_path / "work" / "a.zip"
    path.write_bytes(path.read_bytes().replace(b"|", b"\\"))
    assert find(str(path)).class_names == ["cat", "dog"]


# Attacks


@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "a/../../evil.png",
        "/evil.png",
        "//evil.png",
        "\\evil.png",
        "..\\evil.png",
        "C:\\evil.png",
        "c:e.png",
    ],
)
def test_an_archive_with_a_path_out_of_it_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    work = tmp_path / "work"
    pack(work / kind, {**GOOD, name: GOOD["0.png"]})
    with pytest.raises(DataError, match=r"is refused: the path of its member '.*' leads out of the archive"):
        prepared(work / kind, work / "out")


def link_in_zip(path: Path) -> None:
    as_zip(path, GOOD)
    with zipfile.ZipFile(path, "a") as packed:
        member = zipfile.ZipInfo("link.png")
        member.external_attr = 0o120777 << 16
        packed.writestr(member, "/etc/hostname")


def member_of_tar(kind: bytes, target: str = "", name: str = "link.png") -> Callable[[Path], None]:
    def make(path: Path) -> None:
        as_tar(path, GOOD)
        with tarfile.open(path, "a") as packed:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            packed.addfile(member)

    return make


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("a.zip", link_in_zip),
        ("a.tar", member_of_tar(tarfile.SYMTYPE, "/etc/hostname")),
        ("a.tar", member_of_tar(tarfile.SYMTYPE, "0.png")),
        ("a.tar", member_of_tar(tarfile.LNKTYPE, "/etc/hostname")),
        ("a.tar", member_of_tar(tarfile.LNKTYPE, "0.png")),
        ("a.tar", member_of_tar(tarfile.CHRTYPE)),
        ("a.tar", member_of_tar(tarfile.BLKTYPE)),
        ("a.tar", member_of_tar(tarfile.FIFOTYPE)),
    ],
)
def test_links_and_devices_in_archives_are_skipped_with_the_reason(
    tmp_path: Path, kind: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "work" / kind)
    dataset = prepared(tmp_path / "work" / kind, tmp_path / "work" / "out", max_skipped=0.3)
    assert dataset.count() == 3
    assert "link or a device" in skipped(dataset)["link.png"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["0.png", "/etc/hostname", "nowhere"])
def test_a_listing_that_is_a_link_is_not_followed(tmp_path: Path, kind: bytes, target: str) -> None:
    member_of_tar(kind, target, "dataset.json")(tmp_path / "work" / "a.tar")
    dataset = prepared(tmp_path / "work" / "a.tar", tmp_path / "work" / "out")
    assert (dataset.count(), dataset.description.account.ignored) == (3, 1)


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.gz"])
def test_a_member_that_unpacks_to_too_much_is_skipped_with_the_reason(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 10_000)
    pack(tmp_path / "work" / kind, {**GOOD, "bomb.png": GOOD["0.png"] + bytes(20_000)})
    dataset = prepared(tmp_path / "work" / kind, tmp_path / "work" / "out", max_skipped=0.3)
    assert dataset.count() == 3
    assert "unpacks to more than" in skipped(dataset)["bomb.png"]


def with_a_lying_size(path: Path, name: str, size: int) -> None:
    """Make a zip state a wrong size for a member, both in its directory and before the data."""
    content = bytearray(path.read_bytes())
    for magic, offset, of_name in ((b"PK\3\4", 22, 30), (b"PK\1\2", 24, 46)):
        place = 0
        while (place := content.find(magic, place)) >= 0:
            if content[place + of_name :].startswith(name.encode()):
                content[place + offset : place + offset + 4] = struct.pack("<I", size)
            place += 4
    path.write_bytes(content)


def test_a_zip_that_declares_a_bomb_to_be_small_unpacks_no_more_than_it_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = as_zip(tmp_path / "work" / "a.zip", {**GOOD, "bomb.png": GOOD["0.png"] + bytes(50_000_000)})
    with_a_lying_size(path, "bomb.png", 1000)
    taken = []
    unpack = zipfile.ZipExtFile.read
    monkeypatch.setattr(
        zipfile.ZipExtFile, "read", lambda *arguments: (taken.append(part := unpack(*arguments)), part)[1]
    )
    dataset = prepared(path, tmp_path / "work" / "out", max_skipped=0.3)
    assert dataset.count() == 3
    assert "bomb.png" in skipped(dataset)
    assert max(map(len, taken)) <= 1000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
def test_a_bomb_of_a_gigabyte_takes_neither_memory_nor_disk(tmp_path: Path, kind: str) -> None:
    work = tmp_path / "work"
    size, block = 2**30, bytes(2**20)
    if kind == "a.zip":
        with zipfile.ZipFile(work / kind, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            for name, content in GOOD.items():
                packed.writestr(name, content)
            with packed.open("bomb.png", "w", force_zip64=True) as file:
                for _ in range(size // len(block)):
                    file.write(block)
    else:
        header = tarfile.TarInfo("bomb.png")
        header.size = size
        plain = as_tar(work / "a.tar", {**GOOD, "last.png": b""}).read_bytes()
        with gzip.open(work / kind, "wb", compresslevel=1) as file:
            file.write(plain[: plain.index(b"last.png")] + header.tobuf())
            for _ in range(size // len(block)):
                file.write(block)
            file.write(bytes(1024))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    dataset = prepared(work / kind, work / "out", max_skipped=0.3)
    assert dataset.count() == 3
    assert "unpacks to more than" in skipped(dataset)["bomb.png"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert sum(path.stat().st_size for path in (work / "out").rglob("*")) < 10_000


@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
def test_a_picture_whose_header_states_too_many_pixels_is_skipped_with_the_reason(tmp_path: Path, kind: str) -> None:
    path = pack(tmp_path / "work" / kind, {**GOOD, "huge.png": png_header(50_000, 50_000)})
    dataset = prepared(path, tmp_path / "work" / "out", max_skipped=0.3)
    assert "exceeds limit" in skipped(dataset)["huge.png"]


def encrypted(path: Path, name: str) -> None:
    content = bytearray(path.read_bytes())
    for magic, offset, of_name in ((b"PK\3\4", 6, 30), (b"PK\1\2", 8, 46)):
        place = 0
        while (place := content.find(magic, place)) >= 0:
            if content[place + of_name :].startswith(name.encode()):
                content[place + offset] |= 1
            place += 4
    path.write_bytes(content)


def test_an_encrypted_member_is_skipped_with_the_reason(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "work" / "a.zip", GOOD)
    encrypted(path, "1.png")
    dataset = prepared(path, tmp_path / "work" / "out", max_skipped=0.4)
    assert dataset.count() == 2
    assert "encrypted" in skipped(dataset)["1.png"]


def test_an_encrypted_listing_is_a_clear_error(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "work" / "a.zip", {**GOOD, "dataset.json": b'{"labels": [["0.png", 1]]}'})
    encrypted(path, "dataset.json")
    with pytest.raises(DataError, match="encrypted"):
        prepared(path, tmp_path / "work" / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", KINDS[:2])
def test_of_members_of_one_name_the_first_is_taken_and_the_others_skipped(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "work" / kind
    pack(path, GOOD)
    if kind == "a.zip":
        with zipfile.ZipFile(path, "a") as packed:
            packed.writestr("0.png", GOOD["1.png"])
    else:
        with tarfile.open(path, "a") as packed:
            member = tarfile.TarInfo("0.png")
            member.size = len(GOOD["1.png"])
            packed.addfile(member, io.BytesIO(GOOD["1.png"]))
    dataset = prepared(path, tmp_path / "work" / "out", max_skipped=0.3)
    assert dataset.description.account.taken + dataset.description.account.skipped == 4
    assert "a second time" in skipped(dataset)["0.png"]
    assert np.array_equal(packed_by_name(dataset)["0.png"][..., 0], noise(4, 5, 1, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_cut_short_is_refused_or_lists_what_is_missing(tmp_path: Path, kind: str) -> None:
    work = tmp_path / "work"
    names = [f"{number}.png" for number in range(20)]
    whole = pack(work / kind, {name: encoded(noise(8, 8, 3, seed)) for seed, name in enumerate(names)}).read_bytes()
    end = len(whole)
    if kind == "a.tar":  # what follows the last file is padding
        with tarfile.open(work / kind) as packed:
            end = packed.getmembers()[-1].offset_data + packed.getmembers()[-1].size
    for cut in (*range(0, end, max(1, end // 40)), end - 1):
        (work / kind).write_bytes(whole[:cut])
        try:
            dataset = prepared(work / kind, work / "out" / str(cut), max_skipped=1.0)
        except DataError:
            continue
        assert dataset.count() + len(skipped(dataset)) == 20, f"cut at {cut} of {len(whole)}: images were lost silently"


def test_a_tar_damaged_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = as_tar(tmp_path / "work" / "a.tar", GOOD)
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as packed:
        content[packed.getmembers()[1].offset + 10] ^= 0xFF  # in the name, so the checksum is wrong
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as an archive"):
        prepared(path, tmp_path / "work" / "out", max_skipped=1.0)


@pytest.mark.parametrize("kind", ["a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_a_compressed_tar_is_checked_to_its_last_checksum(tmp_path: Path, kind: str) -> None:
    content = bytearray(as_tar(tmp_path / "work" / kind, GOOD).read_bytes())
    content[-6] ^= 1
    write(tmp_path / "work" / kind, bytes(content))
    with pytest.raises(DataError, match="cannot be read as an archive"):
        prepared(tmp_path / "work" / kind, tmp_path / "work" / "out", max_skipped=1.0)


@pytest.mark.parametrize("kind", KINDS[:3])
def test_an_archive_in_an_archive_is_not_opened(tmp_path: Path, kind: str) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("inner.png", GOOD["0.png"])
    path = pack(tmp_path / "work" / kind, {**GOOD, "inner.zip": inner.getvalue()})
    dataset = prepared(path, tmp_path / "work" / "out")
    assert sorted(packed_by_name(dataset)) == sorted(GOOD)
    assert dataset.description.account.ignored == 1


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\3\4", b"not an archive at all", bytes(10_240), b"\x1f\x8b\x08"])
@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path, kind: str, content: bytes) -> None:
    write(tmp_path / "work" / kind, content)
    with pytest.raises(DataError, match=r"cannot be read as an archive|no images in"):
        prepared(tmp_path / "work" / kind, tmp_path / "work" / "out")


METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def whole_archives() -> list[tuple[str, bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        files = {**GOOD, "cat/3.png": GOOD["0.png"], "dataset.json": b'{"labels": [["0.png", 1], ["1.png", 0]]}'}
        zips = [("a.zip", as_zip(Path(folder) / "a.zip", files, method).read_bytes()) for method in METHODS]
        return zips + [(kind, as_tar(Path(folder) / kind, files).read_bytes()) for kind in KINDS[1:]]


WHOLE = whole_archives()


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_a_damaged_archive_never_ends_in_a_traceback(whole: tuple[str, bytes], changes: Any) -> None:
    kind, content = whole[0], bytearray(whole[1])
    for place, change in changes:
        content[int(place * (len(content) - 1))] ^= change
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / kind, bytes(content))
        try:
            dataset = prepared(path, Path(folder) / "out", Preprocessing((4, 5)), max_skipped=1.0)
        except DataError:
            return
        account = dataset.description.account
        assert account.taken + account.skipped == len(entries(dataset)) > 0


def test_a_compressed_member_that_is_damaged_is_skipped_with_the_reason(tmp_path: Path) -> None:
    for method in METHODS[1:]:
        path = as_zip(tmp_path / "work" / "a.zip", {**GOOD, "bad.png": GOOD["0.png"] * 9}, method)
        with zipfile.ZipFile(path) as packed:
            info = packed.getinfo("bad.png")
        content = bytearray(path.read_bytes())
        start = info.header_offset + 30 + len("bad.png")
        content[start + 9 : start + info.compress_size] = bytes(info.compress_size - 9)
        path.write_bytes(content)
        dataset = prepared(path, tmp_path / "work" / "out" / str(method), max_skipped=0.3)
        assert "cannot be unpacked" in skipped(dataset)["bad.png"]


# Attacks by arrays


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def promise(shape: tuple[int, ...], data: bytes = b"", dtype: str = "|u1", fortran: bool = False) -> bytes:
    """An .npy file whose header states this shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": fortran, "shape": shape})
    return buffer.getvalue() + data


@pytest.mark.parametrize("key", ["images.npy", "labels.npy", "x.npy", "train_labels.npy"])
def test_a_pickle_in_an_npz_is_never_run(tmp_path: Path, key: str) -> None:
    images = "train_images.npy" if key.startswith("train") else "images.npy"
    work = tmp_path / "work"
    for content in (pickle.dumps(Evil(tmp_path / "evil")), npy(np.array([Evil(tmp_path / "evil")] * 2, object))):
        as_zip(work / "a.npz", {images: npy(noise(4, 5, 1)[None]), key: content})
        with pytest.raises(DataError, match="cannot be read as arrays"):
            prepared(work / "a.npz", work / "out")
        write(work / "x.npy", content)
        with pytest.raises(DataError, match="cannot be read as arrays"):
            prepared(work / "x.npy", work / "out")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("name", ["a.npz", "x.npy"])
@pytest.mark.parametrize(
    "shape",
    [
        (10**15, 8, 8),
        (2**62, 8, 8),
        (10**30, 8, 8),
        (3, 10**9, 10**9),
        (-1, 8, 8),
        (3, -8, -8),
        (3, 8, 8),
        (True, 8, 8),
    ],
)
def test_an_array_whose_header_states_too_much_is_a_clear_error(
    tmp_path: Path, shape: tuple[int, ...], name: str, fortran: bool
) -> None:
    work = tmp_path / "work"
    content = promise(shape, bytes(63), fortran=fortran)
    if name == "a.npz":
        as_zip(work / name, {"images.npy": content})
    else:
        write(work / name, content)
    with pytest.raises(DataError, match=re.escape(name)):
        prepared(work / name, work / "out", workers=1)


def test_pictures_of_runs_are_left_out(tmp_path: Path) -> None:
    inside = {f"photos/runs/a/{name}": b"{}" for name in ("config.yaml", "run.json")}
    sheet = {"photos/runs/a/samples/reals.png": GOOD["0.png"]}
    as_zip(tmp_path / "work" / "a.zip", {f"photos/{name}": content for name, content in GOOD.items()} | inside | sheet)
    source = find(str(tmp_path / "work" / "a.zip"))
    assert [item.name for item in source.items()] == [f"photos/{name}" for name in GOOD]
    assert source.count == len(GOOD)


@pytest.mark.parametrize("shape", [(10**15,), (3, 10**12), (10**15, 1), (-3,)])
def test_labels_whose_header_states_too_much_are_a_clear_error(tmp_path: Path, shape: Any) -> None:
    work = tmp_path / "work"
    as_zip(
        work / "a.npz", {"images.npy": npy(np.zeros((3, 8, 8), np.uint8)), "labels.npy": promise(shape, dtype="<i8")}
    )
    with pytest.raises(DataError, match=r"a\.npz"):
        prepared(work / "a.npz", work / "out")


def damaged(path: Path, content: bytes) -> None:
    """Change a stored member, so that its checksum is wrong."""
    whole = path.read_bytes()
    assert content in whole
    path.write_bytes(whole.replace(content, content[::-1], 1))


@pytest.mark.parametrize("name", ["notes.xyz", "masks/0.png", "notes.csv"])
def test_a_damaged_member_that_nobody_asked_for_is_no_obstacle(tmp_path: Path, name: str) -> None:
    content = bytes(range(200))
    path = as_zip(tmp_path / "work" / "a.zip", {**GOOD, name: content}, zipfile.ZIP_STORED)
    damaged(path, content)
    source = find(str(path))
    assert len(list(source.items())) == len(GOOD) + name.endswith("png")
    if name.endswith("csv"):
        assert any("notes.csv cannot be read" in text for _, text in source.remarks)


def test_a_damaged_member_that_the_user_named_is_an_error(tmp_path: Path) -> None:
    content = b"file_name,label\n0.png,cat\n1.png,dog\n"
    path = as_zip(tmp_path / "work" / "a.zip", {**GOOD, "labels.csv": content}, zipfile.ZIP_STORED)
    damaged(path, content)
    with pytest.raises(DataError, match=r"labels\.csv of .* cannot be unpacked"):
        find(Reading(source=str(path), label_file="labels.csv"))
