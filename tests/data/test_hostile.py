"""Malicious files do no harm, and the message says what is wrong with them."""

import io
import json
import os
import stat
import tarfile
from pathlib import Path

import numpy as np
import pytest
from making import encoded, noise, pictures, prepared, rows, skipped, write
from PIL import Image

from ganloom.api.images import remarks
from ganloom.core.errors import DataError, GanloomError, StorageError
from ganloom.data import decode as room
from ganloom.data.packed import open_packed
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.sources import find


def test_no_other_program_is_run_for_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would run Ghostscript for EPS, whatever the suffix."""
    program = tmp_path / "bin" / "gs"
    write(program, f"#!/bin/sh\ntouch {tmp_path / 'called'}\n".encode())
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    pictures(tmp_path / "in", "good.png")
    write(tmp_path / "in" / "a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n%%EOF\n")
    dataset = prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.5)
    assert "unknown image format" in skipped(dataset)["a.png"]
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    "change",
    [{"splits": {"../evil": 2}}, {"splits": {"train": -1}}, {"shape": [3, 0, 4]}, {"shape": [2, 4, 4]}],
    ids=str,
)
def test_a_description_cannot_contain_paths_to_other_folders(tmp_path: Path, change: dict[str, object]) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    path = prepared(tmp_path / "in", tmp_path / "out").path / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match="is not a packed dataset"):
        open_packed(path.parent)


def test_an_extension_header_of_a_tar_has_a_limited_size(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, 2**21
        archive.addfile(info, io.BytesIO(b"0" * info.size))
    with pytest.raises(DataError, match="an extension header has 2097152 bytes"):
        find(str(tmp_path / "bomb.tar.gz"))


def test_a_file_that_is_missing_for_now_stops_the_preparation_which_resumes_later(tmp_path: Path) -> None:
    """Images of a network folder that is offline for a moment must not be skipped for good."""
    for index in range(6):
        write(tmp_path / "in" / f"{index}.png", encoded(noise(4, 4, 3, seed=index)))
    source, away = find(str(tmp_path / "in")), tmp_path / "away.png"
    (tmp_path / "in" / "3.png").rename(away)
    with pytest.raises(StorageError, match=r"3\.png cannot be read now .* resumes"):
        prepare(source, Preprocessing(), Selection(holdout=0), tmp_path / "out", workers=1)
    away.rename(tmp_path / "in" / "3.png")
    dataset = prepare(source, Preprocessing(), Selection(holdout=0), tmp_path / "out", workers=1)
    assert dataset.count() == 6 and dataset.description.account.skipped == 0


def test_16_bit_colour_that_uses_only_the_lower_bits_is_refused_instead_of_black(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow reads only the upper eight bits, which are 0 to 15 in images of a 12-bit scanner."""
    image = Image.fromarray(np.full((8, 8, 3), 15, np.uint8))
    bright = Image.fromarray(np.full((8, 8, 3), 200, np.uint8))
    for name, picture in (("dark", image), ("bright", bright)):
        deep = np.asarray(picture).astype(">u2") * 257
        write(tmp_path / "in" / f"{name}.png", png_of_16_bits(deep))
    dataset = prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.5)
    assert skipped(dataset) == {
        "dark.png": "is a colour image of 16 bits per channel that uses only the lower bits: save it with 8 bits"
    }
    assert (rows(dataset)[0] == 200).all()
    monkeypatch.setattr(room, "DARK", 0)
    assert prepared(tmp_path / "in", tmp_path / "naive").count() == 2


def png_of_16_bits(pixels: np.ndarray) -> bytes:  # type: ignore[type-arg]  # [H, W, 3] big-endian
    """A 16-bit RGB PNG, which Pillow cannot write."""
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    height, width, _ = pixels.shape
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([16, 2, 0, 0, 0])
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_16_bit_tiff_whose_lowest_value_is_white_is_inverted(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    (tmp_path / "in").mkdir()
    Image.fromarray(ramp).save(tmp_path / "in" / "a.tif", tiffinfo={262: 0})
    pixels = rows(prepared(tmp_path / "in", tmp_path / "out", Preprocessing(window=(0, 65535))))[0].ravel()
    assert pixels[0] == 255 and pixels[-1] == 0 and (np.diff(pixels.astype(int)) <= 0).all()


def test_the_group_pattern_is_searched_in_every_name(tmp_path: Path) -> None:
    pictures(tmp_path / "in", *(f"NORMAL/{index}.png" for index in range(20)), "PNEUMONIA/person1_1.png")
    dataset = prepare(
        find(str(tmp_path / "in")), Preprocessing(), Selection(holdout=0.1, group_by=r"person(\d+)"), tmp_path / "out"
    )
    assert dataset.description.account.ungrouped == 20
    assert any("20 images do not match data.group_by" in line for line in remarks(dataset))


def test_a_destination_that_is_a_link_is_resolved_before_the_work(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    (tmp_path / "big").mkdir()
    (tmp_path / "link").symlink_to("big")
    assert prepared(tmp_path / "in", tmp_path / "link").path == tmp_path / "big"


def test_a_class_folder_whose_name_is_not_unicode_gets_a_valid_class_name(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"tea"):
        write(tmp_path / "in" / os.fsdecode(name) / "1.png", encoded(noise(4, 4)))
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert dataset.class_names == ["caf\ufffd", "tea"] and dataset.count() == 2


def test_an_array_of_one_picture_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", noise(64, 64, 3))
    with pytest.raises(GanloomError, match="looks like a single image"):
        find(str(tmp_path / "one.npy"))


def test_an_existing_dataset_with_many_faults_is_refused_if_fewer_are_allowed(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    write(tmp_path / "in" / "c.png", b"")
    prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.5)
    with pytest.raises(DataError, match="1 of 3 images cannot be used"):
        prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.1)
