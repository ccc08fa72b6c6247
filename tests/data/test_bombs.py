"""Small files that state or unpack to a lot: refused with the reason, in little memory and time."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from making import encoded, noise, write

from ganloom.core import memory
from ganloom.core.errors import DataError, GanloomError, OutOfMemoryError
from ganloom.data import parallel
from ganloom.data.inspect import inspect
from ganloom.data.parallel import in_order
from ganloom.data.sources import Item, archive, find, frames
from ganloom.data.sources.contract import refused

MIB = 2**20
MOST = 160 * MIB  # of memory, for any of them


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def png(width: int, height: int, *chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(min(height, 99) * (min(width, 99) + 1))))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def tiff(width: int, height: int, pages: int = 1) -> bytes:
    """Uncompressed grey pages that share one strip of 64 bytes."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 64}
    size, out = 2 + 12 * len(tags) + 4, b"II*\0" + struct.pack("<I", 72) + bytes(64)
    for page in range(1, pages + 1):
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        out += struct.pack("<H", len(tags)) + entries + struct.pack("<I", 72 + page * size if page < pages else 0)
    return out


def gif(width: int, height: int) -> bytes:
    content = bytearray(encoded(noise(2, 2), "GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


IMAGES = {
    "stated.png": png(50_000, 50_000),
    "profile.png": png(8, 8, chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(64 * MIB), 1))),
    "stated.tif": tiff(60_000, 60_000),
    "stated.gif": gif(60_000, 60_000),
    "stated.ppm": b"P6 60000 60000 255\n" + bytes(99),
    "stated.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6),
}


@pytest.fixture
def little() -> Iterator[None]:
    """Fails if more memory is taken than any image file needs."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_states_too_much_is_listed_and_the_others_are_read(tmp_path: Path, name: str) -> None:
    write(tmp_path / "good.png", encoded(noise(8, 8)))
    write(tmp_path / name, IMAGES[name])
    findings = inspect(find(str(tmp_path)), workers=1)
    assert findings.count == 1
    assert [(bomb, reason[:15]) for bomb, reason in findings.faults] == [(name, "cannot be read:")]


def header(shape: str, kind: str = "'|u1'", fortran: bool = False) -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': {fortran}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def npz(**members: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for name, content in members.items():
                file.writestr(f"{name}.npy", content)

    return make


def tailed(path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as file:
        info = tarfile.TarInfo("a.png")
        info.size = len(content := encoded(noise(8, 8)))
        file.addfile(info, io.BytesIO(content))
    path.write_bytes(gzip.compress(plain.getvalue() + bytes(4 * MIB), 1))


def zeros(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file, file.open("a.png", "w") as member:
        for _ in range(257):
            member.write(bytes(MIB))


FOUR = header("(4, 8, 8)") + bytes(256)
FILES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a header of an npy": ("a.npy", lambda path: write(path, header("(10**6, 10**3, 10**3)")), "cannot be read"),
    "elements of an npy": ("a.npy", lambda path: write(path, header("(1000000, 1000, 1000)")), "cut short"),
    "elements of an npz": ("a.npz", npz(images=header("(1000000, 1000, 1000)")), "cut short"),
    "one image": ("a.npz", npz(images=header("(4, 1000000, 1000000)")), "may have at most"),
    "a long header": (
        "a.npz",
        npz(images=b"\x93NUMPY\2\0" + struct.pack("<I", 2**30) + bytes(MIB)),
        "its header has",
    ),
    "a deep header": ("a.npy", lambda path: write(path, header("-" * 9000 + "1")), "cannot be read"),
    "columns": ("a.npz", npz(images=header("(4, 8, 8)", fortran=True)), "cut short"),
    "labels": ("a.npz", npz(images=FOUR, labels=header("(4,)", "'|S99999999'")), "are not names of classes"),
    "pickles": ("a.npy", lambda path: np.save(path, np.array([{}, None], object), allow_pickle=True), "never loads"),
    "zeros in a zip": ("a.zip", zeros, "unpacks to more than 256 MiB"),
    "an archive in another": ("a.zip", npz(x=b""), "no images"),
    "zeros after a tar": ("a.tar.gz", tailed, "more than 2 MiB follow its end"),
}


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_states_too_much_is_refused_in_one_line(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_TAIL", 2 * MIB)
    file, make, said = FILES[name]
    make(tmp_path / file)
    with pytest.raises(DataError, match=said) as raised:
        inspect(find(str(tmp_path / file)), workers=1)
    assert "\n" not in str(raised.value) and file.partition(".")[0] in str(raised.value)


@pytest.mark.usefixtures("little")
def test_columns_are_read_no_further_than_the_array_goes(tmp_path: Path) -> None:
    npz(images=header("(4, 8, 8)", fortran=True) + bytes(200 * MIB))(tmp_path / "a.npz")
    tracemalloc.reset_peak()  # what was made for the file does not count
    assert inspect(find(str(tmp_path / "a.npz")), workers=1).count == 4


def test_an_exhausted_memory_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.asfortranarray(noise(8, 8, 4).transpose(2, 0, 1))
    np.savez(tmp_path / "a.npz", images=images)
    monkeypatch.setattr(memory, "free_memory", lambda: 100)
    with pytest.raises(OutOfMemoryError, match=r"a\.npz.*Close other programs"):
        inspect(find(str(tmp_path / "a.npz")), workers=1)


@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "Cannot allocate memory")])
def test_a_file_that_cannot_be_mapped_for_lack_of_memory_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    np.save(tmp_path / "a.npy", noise(8, 8, 4).transpose(2, 0, 1))

    def load(*given: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(np, "load", load)
    with pytest.raises(OutOfMemoryError, match="Close other programs"):
        inspect(find(str(tmp_path / "a.npy")), workers=1)


def test_pages_of_a_tiff_are_counted_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.tif", tiff(8, 8, pages=50))
    monkeypatch.setattr(frames, "MAX_PAGES", 50)
    assert inspect(find(str(tmp_path)), workers=1).remarks[-1].text.startswith("1 file has several pages")
    (item,) = find(str(tmp_path)).items()
    assert len(list(frames.every_frame(item))) == 50
    monkeypatch.setattr(frames, "MAX_PAGES", 49)
    (refusal,) = frames.every_frame(item)
    with pytest.raises(OSError, match="has more than 49 pages: split it"):
        refusal.open()


def test_few_large_items_are_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "HELD", 1000)
    taken, done = [0], [0]

    def items() -> Iterator[Item]:
        for number in range(40):
            taken[0] += 1
            assert taken[0] - done[0] < 8
            yield Item(str(number), "train", None, refused(""), held=400)

    for _ in in_order(items(), lambda item: None, 16):
        done[0] += 1
    assert done == [40]


def test_a_bomb_alone_is_a_message(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png", IMAGES["stated.png"])
    with pytest.raises(GanloomError, match=r"a\.png cannot be read: Image size"):
        inspect(find(str(tmp_path / "in")))


def test_a_dicom_file_has_no_more_frames_than_bytes(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    data.Rows = data.Columns = 8
    data.NumberOfFrames = 2**31 - 1
    data.save_as(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=r"a\.dcm states 2,147,483,647 frames, more than it has bytes"):
        inspect(find(f"dicom:{tmp_path}"), workers=1)
