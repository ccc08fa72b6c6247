"""Files that are made to harm: what they ask for does not happen, and the message says why."""

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


def test_no_other_program_is_started_for_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would call Ghostscript for EPS, whatever the file is called."""
    program = tmp_path / "bin" / "gs"
    write(program, f"#!/bin/sh\ntouch {tmp_path / 'called'}\n".encode())
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    pictures(tmp_path / "in", "good.png")
    write(tmp_path / "in" / "a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n%%EOF\n")
    dataset = prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.5)
    assert "in no format that is known" in skipped(dataset)["a.png"]
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    "change",
    [{"splits": {"../evil": 2}}, {"splits": {"train": -1}}, {"shape": [3, 0, 4]}, {"shape": [2, 4, 4]}],
    ids=str,
)
def test_a_description_cannot_lead_elsewhere(tmp_path: Path, change: dict[str, object]) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    path = prepared(tmp_path / "in", tmp_path / "out").path / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match="is not a packed dataset"):
        open_packed(path.parent)


def test_what_stands_before_a_header_of_a_tar_is_not_read_whatever_its_length(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, 2**21
        archive.addfile(info, io.BytesIO(b"0" * info.size))
    with pytest.raises(DataError, match="what stands before a header has 2097152 bytes"):
        find(str(tmp_path / "bomb.tar.gz"))


def test_a_file_that_is_gone_for_now_ends_the_preparation_which_goes_on_later(tmp_path: Path) -> None:
    """A network folder that was away for a moment must not lose its images for good."""
    for index in range(6):
        write(tmp_path / "in" / f"{index}.png", encoded(noise(4, 4, 3, seed=index)))
    source, away = find(str(tmp_path / "in")), tmp_path / "away.png"
    (tmp_path / "in" / "3.png").rename(away)
    with pytest.raises(StorageError, match=r"3\.png cannot be read now .* goes on"):
        prepare(source, Preprocessing(), Selection(holdout=0), tmp_path / "out", workers=1)
    away.rename(tmp_path / "in" / "3.png")
    dataset = prepare(source, Preprocessing(), Selection(holdout=0), tmp_path / "out", workers=1)
    assert dataset.count() == 6 and dataset.description.account.skipped == 0


def test_sixteen_bits_in_colour_that_use_only_the_lower_ones_are_refused_and_not_black(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow reads the upper eight bits alone, which hold 0 to 15 of what a scanner of twelve bits wrote."""
    image = Image.fromarray(np.full((8, 8, 3), 15, np.uint8))
    bright = Image.fromarray(np.full((8, 8, 3), 200, np.uint8))
    for name, picture in (("dark", image), ("bright", bright)):
        deep = np.asarray(picture).astype(">u2") * 257
        write(tmp_path / "in" / f"{name}.png", png_of_16_bits(deep))
    dataset = prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.5)
    assert skipped(dataset) == {
        "dark.png": "has 16 bits a channel of which only the lower are used, and is not grey: save it with 8 bits"
    }
    assert (rows(dataset)[0] == 200).all()
    monkeypatch.setattr(room, "DARK", 0)
    assert prepared(tmp_path / "in", tmp_path / "naive").count() == 2


def png_of_16_bits(pixels: np.ndarray) -> bytes:  # type: ignore[type-arg]  # [H, W, 3] big-endian
    """Pillow cannot write one."""
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    height, width, _ = pixels.shape
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([16, 2, 0, 0, 0])
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_deep_tiff_whose_lowest_value_is_white_is_no_negative(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    (tmp_path / "in").mkdir()
    Image.fromarray(ramp).save(tmp_path / "in" / "a.tif", tiffinfo={262: 0})
    pixels = rows(prepared(tmp_path / "in", tmp_path / "out", Preprocessing(window=(0, 65535))))[0].ravel()
    assert pixels[0] == 255 and pixels[-1] == 0 and (np.diff(pixels.astype(int)) <= 0).all()


def test_the_pattern_of_groups_is_looked_for_in_every_name(tmp_path: Path) -> None:
    pictures(tmp_path / "in", *(f"NORMAL/{index}.png" for index in range(20)), "PNEUMONIA/person1_1.png")
    dataset = prepare(
        find(str(tmp_path / "in")), Preprocessing(), Selection(holdout=0.1, group_by=r"person(\d+)"), tmp_path / "out"
    )
    assert dataset.description.account.ungrouped == 20
    assert any("20 images have names without the pattern" in line for line in remarks(dataset))


def test_a_place_that_is_a_link_is_followed_before_the_work(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    (tmp_path / "big").mkdir()
    (tmp_path / "link").symlink_to("big")
    assert prepared(tmp_path / "in", tmp_path / "link").path == tmp_path / "big"


def test_a_class_folder_of_any_bytes_has_a_name_that_can_be_written(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"tea"):
        write(tmp_path / "in" / os.fsdecode(name) / "1.png", encoded(noise(4, 4)))
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert dataset.class_names == ["caf\ufffd", "tea"] and dataset.count() == 2


def test_one_picture_is_no_array_of_pictures(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", noise(64, 64, 3))
    with pytest.raises(GanloomError, match="looks like one image"):
        find(str(tmp_path / "one.npy"))


def test_a_dataset_that_was_allowed_many_faults_is_refused_to_those_who_allow_few(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    write(tmp_path / "in" / "c.png", b"")
    prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.5)
    with pytest.raises(DataError, match="1 of 3 images cannot be used"):
        prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.1)
