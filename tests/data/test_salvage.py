"""Files that are sound but for something that no pixel depends on are read; files that lack pixels are not."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from making import encoded, noise, prepared, rows, skipped, write
from PIL import Image, PngImagePlugin

from ganloom.data.prepare import Preprocessing
from ganloom.data.sources.salvage import with_end

PHOTO = Image.fromarray(noise(6, 6)).resize((48, 40), Image.Resampling.BICUBIC)
JPEGS = {
    "baseline": encoded(PHOTO, "JPEG"),
    "progressive": encoded(PHOTO, "JPEG", progressive=True),
    "grey": encoded(PHOTO.convert("L"), "JPEG"),
    "restarts": encoded(PHOTO, "JPEG", restart_marker_rows=1),
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("cut", [1, 2])
def test_a_jpeg_without_its_end_mark_has_the_same_pixels(tmp_path: Path, kind: str, cut: int) -> None:
    write(tmp_path / "in" / "a.jpg", JPEGS[kind][:-cut])
    write(tmp_path / "in" / "b.jpg", JPEGS[kind])
    made = rows(prepared(tmp_path / "in", tmp_path / "out"))
    assert len(made) == 2 and np.array_equal(made[0], made[1])


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_lacks_pixels_stays_refused(tmp_path: Path, kind: str) -> None:
    whole = np.asarray(with_end(JPEGS[kind][:-2]))
    for end in range(JPEGS[kind].index(b"\xff\xda") + 20, len(JPEGS[kind]) - 2):
        found = with_end(JPEGS[kind][:end])
        assert found is None or np.array_equal(found, whole), end  # the last bits may be padding
    for share in (0.5, 0.7, 0.9):
        write(tmp_path / "in" / f"{share}.jpg", JPEGS[kind][: int(share * len(JPEGS[kind]))])
    write(tmp_path / "in" / "good.jpg", JPEGS[kind])
    reasons = skipped(prepared(tmp_path / "in", tmp_path / "out", max_skipped=1))
    assert len(reasons) == 3 and all("truncated" in reason.lower() for reason in reasons.values())


def test_a_progressive_jpeg_that_lacks_a_scan_stays_refused() -> None:
    content = JPEGS["progressive"]
    scans = [place for place in range(len(content)) if content[place : place + 2] == b"\xff\xda"]
    tables = content.rfind(b"\xff\xc4", 0, scans[-1])  # of the last scan
    assert with_end(content[:tables]) is None and with_end(content[:-2]) is not None


def test_the_draft_of_a_jpeg_without_its_end_mark_is_that_of_the_whole(tmp_path: Path) -> None:
    big = encoded(PHOTO.resize((480, 400)), "JPEG")
    write(tmp_path / "in" / "a.jpg", big[:-2])
    write(tmp_path / "in" / "b.jpg", big)
    made = rows(prepared(tmp_path / "in", tmp_path / "out", Preprocessing((20, 24), fast=True)))
    assert np.array_equal(made[0], made[1])


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "tEXt"])
def test_long_texts_in_a_png_do_not_cost_the_image(tmp_path: Path, place: str, kind: str) -> None:
    text = b"x" * 3_000_000
    data = {
        "zTXt": b"workflow\0\0" + zlib.compress(text),
        "iTXt": b"workflow\0\1\0\0\0" + zlib.compress(text),
        "tEXt": b"workflow\0" + text * 30,
    }[kind]
    chunk = len(data).to_bytes(4, "big") + kind.encode() + data
    chunk += zlib.crc32(chunk[4:]).to_bytes(4, "big")
    whole = encoded(noise(8, 8))
    at = whole.index(b"IDAT" if place == "before" else b"IEND") - 4
    write(tmp_path / "in" / "a.png", whole[:at] + chunk + whole[at:])
    assert np.array_equal(rows(prepared(tmp_path / "in", tmp_path / "out"))[0], noise(8, 8))


def test_short_texts_and_the_orientation_beside_long_ones_are_kept(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 3_000_000, zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / "in" / "a.png", encoded(Image.fromarray(noise(8, 6)), pnginfo=info, exif=exif))
    made = rows(prepared(tmp_path / "in", tmp_path / "out"))[0]
    assert np.array_equal(made, np.rot90(noise(8, 6), -1))


def test_a_bomb_of_text_is_never_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("bomb", "x" * 50_000_000, zip=True)
    write(tmp_path / "in" / "a.png", encoded(noise(8, 8), pnginfo=info))
    sizes: list[int] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self) -> None:
            self.inner = real()

        def decompress(self, data: bytes, limit: int) -> bytes:
            made = self.inner.decompress(data, limit)
            sizes.append(len(made))
            return made

        @property
        def unconsumed_tail(self) -> bytes:
            return self.inner.unconsumed_tail

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    assert prepared(tmp_path / "in", tmp_path / "out").count() == 1
    assert sizes and max(sizes) <= 2**20
