"""DICOM files are rescaled to the scanner's units, and every frame is an image."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from making import encoded, entries, labels, noise, packed_by_name, pictures, prepared, rows, skipped, write
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ganloom.config import Reading
from ganloom.core.errors import DataError
from ganloom.data.prepare import Preprocessing, prepare
from ganloom.data.sources import find
from ganloom.data.sources.dicom import DicomSource


def scan(path: Path, pixels: NDArray[Any], **fields: Any) -> Path:
    """Write pixels [H, W], [frames, H, W] or [H, W, 3] as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    frames = pixels.shape[0] if pixels.ndim == 3 and not colour else 1
    data.Rows, data.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    if frames > 1:
        data.NumberOfFrames = frames
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in fields.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


RAMP = np.arange(0, 4096, 16, np.uint16).reshape(16, 16)
HOUNSFIELD = Preprocessing(window=(-1000.0, 1000.0))


def test_values_go_through_slope_and_intercept(tmp_path: Path) -> None:
    scan(tmp_path / "in" / "a.dcm", RAMP, RescaleSlope=0.5, RescaleIntercept=-1024)
    made = rows(prepared(tmp_path / "in", tmp_path / "out", HOUNSFIELD))[0, ..., 0]
    expected = ((RAMP * 0.5 - 1024 + 1000) * 255 / 2000).clip(0, 255).round()
    np.testing.assert_allclose(made, expected, atol=1)


def test_the_window_is_in_rescaled_values(tmp_path: Path) -> None:
    scan(tmp_path / "in" / "a.dcm", RAMP, RescaleSlope=2, RescaleIntercept=-1024)
    low, high = prepared(tmp_path / "in", tmp_path / "out").description.window or (0, 0)
    np.testing.assert_allclose((low, high), np.percentile(RAMP * 2.0 - 1024, (0.5, 99.5)))


@pytest.mark.parametrize(("kind", "stored"), [(np.uint8, 8), (np.uint16, 16), (np.uint16, 12), (np.int16, 16)])
def test_white_as_the_lowest_value_is_inverted(tmp_path: Path, kind: Any, stored: int) -> None:
    values = np.linspace(0, 2**stored - 1, 64).reshape(8, 8)
    values = (values - (2 ** (stored - 1) if kind == np.int16 else 0)).astype(kind)
    bits = {"BitsStored": stored, "HighBit": stored - 1}
    scan(tmp_path / "in" / "plain.dcm", values, **bits)
    scan(tmp_path / "in" / "turned.dcm", values, PhotometricInterpretation="MONOCHROME1", **bits)
    images = packed_by_name(prepared(tmp_path / "in", tmp_path / "out"))
    plain, turned = images["plain.dcm"].astype(int), images["turned.dcm"].astype(int)
    assert plain[0, 0, 0] == turned[-1, -1, 0] == 0
    assert np.abs(plain + turned - 255).max() <= 1


def test_signed_values_are_signed(tmp_path: Path) -> None:
    scan(tmp_path / "in" / "a.dcm", np.array([[-1000, 0], [500, 1000]], np.int16))
    assert rows(prepared(tmp_path / "in", tmp_path / "out", HOUNSFIELD)).ravel().tolist() == [0, 128, 191, 255]


def test_every_frame_is_an_image(tmp_path: Path) -> None:
    frames = np.stack([np.full((4, 6), 100 * number, np.uint16) for number in range(5)])
    scan(tmp_path / "in" / "a.dcm", frames)
    scan(tmp_path / "in" / "b.dcm", frames[4])
    dataset = prepared(tmp_path / "in", tmp_path / "out", Preprocessing(window=(0.0, 400.0)))
    assert [entry["file"] for entry in entries(dataset)] == [*(f"a.dcm#{number}" for number in range(5)), "b.dcm"]
    assert rows(dataset)[:, 0, 0, 0].tolist() == [0, 64, 128, 191, 255, 255]
    assert dataset.description.account.duplicates == 1


def test_colour_is_colour_and_is_not_windowed(tmp_path: Path) -> None:
    image = noise(6, 8)
    scan(tmp_path / "in" / "a.dcm", image)
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert np.array_equal(rows(dataset)[0], image)
    assert dataset.description.window is None


def test_scans_of_different_ranges_keep_their_relation(tmp_path: Path) -> None:
    scan(tmp_path / "in" / "dark.dcm", RAMP // 16)
    scan(tmp_path / "in" / "bright.dcm", RAMP // 16 + 1000)
    images = packed_by_name(prepared(tmp_path / "in", tmp_path / "out"))
    assert images["dark.dcm"].max() < images["bright.dcm"].min()


def test_a_folder_of_scans_is_recognized(tmp_path: Path) -> None:
    scan(tmp_path / "in" / "deep" / "a.DCM", RAMP)
    write(tmp_path / "in" / "README.txt", b"hello")
    source = find(str(tmp_path / "in"))
    assert isinstance(source, DicomSource)
    assert source.ignored == 1


def test_scans_among_pictures_are_refused_with_the_way_to_read_them(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png")
    scan(tmp_path / "in" / "b.dcm", RAMP)
    source = find(str(tmp_path / "in"))
    assert not isinstance(source, DicomSource)
    assert [item.name for item in source.items()] == ["a.png", "b.dcm"]
    dataset = prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.5)
    assert "dicom:FOLDER" in skipped(dataset)["b.dcm"]


def test_files_without_suffix_are_found_with_dicom_path(tmp_path: Path) -> None:
    for name in ("IM000001", "1.2.840.113619.2.5", "deep/I10"):
        scan(tmp_path / "in" / name, RAMP)
    write(tmp_path / "in" / "DICOMDIR.txt", b"x")
    write(tmp_path / "in" / "LICENSE", b"no scan")
    dataset = prepared(f"dicom:{tmp_path / 'in'}", tmp_path / "out")
    assert sorted(packed_by_name(dataset)) == ["1.2.840.113619.2.5", "IM000001", "deep/I10"]
    assert dataset.description.account.ignored == 2


def test_folders_are_classes_and_splits(tmp_path: Path) -> None:
    for number, name in enumerate(("train/ill/1.dcm", "train/well/1.dcm", "val/ill/1.dcm")):
        scan(tmp_path / "in" / name, RAMP + np.uint16(number))
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert dataset.class_names == ["ill", "well"]
    assert labels(dataset) == [0, 1]
    assert labels(dataset, "val") == [0]


@pytest.mark.timeout(600)
def test_what_cannot_be_read_is_skipped_with_the_reason_and_accounted_for(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number in range(3):
        scan(folder / f"good{number}.dcm", RAMP + np.uint16(number))
    whole = (folder / "good0.dcm").read_bytes()
    write(folder / "cut.dcm", whole[:-200])
    write(folder / "cut in header.dcm", whole[:300])
    write(folder / "empty.dcm", b"")
    write(folder / "nonsense.dcm", bytes(range(256)) * 4)
    write(folder / "text.dcm", b"hello")
    without_pixels = pydicom.dcmread(folder / "good0.dcm")
    del without_pixels.PixelData
    without_pixels.save_as(folder / "report.dcm")
    (folder / "dead.dcm").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.dcm")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.png")
    write(folder / "photo.png", encoded(noise(16, 16)))
    dataset = prepared(f"dicom:{folder}", tmp_path / "out", max_skipped=1.0)
    account = dataset.description.account
    assert account.taken == 3
    names = ["cut", "cut in header", "dead", "empty", "nonsense", "pipe", "report", "text"]
    assert set(skipped(dataset)) == {f"{name}.dcm" for name in names}
    assert all(skipped(dataset).values())
    assert account.taken + account.skipped + account.ignored == len(list(folder.iterdir()))


def test_a_class_folder_of_scans_beside_a_dead_link_keeps_its_class(tmp_path: Path) -> None:
    scan(tmp_path / "in" / "ill" / "1.dcm", RAMP)
    scan(tmp_path / "in" / "well" / "1.dcm", RAMP)
    (tmp_path / "in" / "dead.dcm").symlink_to("nowhere")
    assert find(str(tmp_path / "in")).class_names == ["ill", "well"]


def test_without_pydicom_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(tmp_path / "in" / "a.dcm", RAMP)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for source in (f"dicom:{tmp_path / 'in'}", str(tmp_path / "in")):
        with pytest.raises(DataError, match=r"pip install 'ganloom\[medical\]'"):
            find(source)


@pytest.mark.parametrize("spec", ["dicom:", "dicom", "dicom:nowhere"])
def test_an_invalid_path_is_refused(tmp_path: Path, spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"needs an argument|there is no folder|needs a"):
        find(spec)


def test_colour_of_twelve_bits_keeps_its_brightness(tmp_path: Path) -> None:
    path = scan(tmp_path / "in" / "a.dcm", np.full((8, 8, 3), 4000, np.uint16), BitsStored=12, HighBit=11)
    assert path.exists()
    assert (rows(prepared(tmp_path / "in", tmp_path / "out"))[0] == 4000 >> 4).all()


@pytest.mark.parametrize("prefix", ["", "dicom:"])
def test_links_that_lead_out_are_followed_when_asked_and_then_it_is_another_dataset(
    tmp_path: Path, prefix: str
) -> None:
    folder = tmp_path / "in"
    scan(folder / "a.dcm", RAMP)
    (folder / "b.dcm").symlink_to(scan(tmp_path / "elsewhere" / "b.dcm", RAMP[::-1].copy()))
    without, followed = find(f"{prefix}{folder}"), find(Reading(source=f"{prefix}{folder}", follow_links=True))
    assert [*without.fingerprint()] != [*followed.fingerprint()]
    assert prepare(without, Preprocessing(), max_skipped=1).description.account.taken == 1
    assert prepare(followed, Preprocessing()).description.account.taken == 2


def test_files_without_a_suffix_are_recognised_by_their_content(tmp_path: Path) -> None:
    for number in range(3):
        scan(tmp_path / "in" / f"IM{number:04}", RAMP + np.uint16(number))
    scan(tmp_path / "in" / "DICOMDIR", RAMP)
    source = find(str(tmp_path / "in"))
    assert isinstance(source, DicomSource)
    assert [item.name for item in source.items()] == ["IM0000", "IM0001", "IM0002"] and source.ignored == 1


def test_objects_that_are_no_images_are_ignored_and_counted(tmp_path: Path) -> None:
    scan(tmp_path / "in" / "1.dcm", RAMP)
    report = pydicom.dcmread(tmp_path / "in" / "1.dcm")
    for field in ("Rows", "Columns", "PixelData"):
        delattr(report, field)
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"  # a report
    report.save_as(tmp_path / "in" / "2.dcm")
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    account = dataset.description.account
    assert (account.taken, account.skipped, account.ignored) == (1, 0, 1)


def test_a_missing_decoder_is_one_line_with_the_package(tmp_path: Path) -> None:
    scan(tmp_path / "in" / "1.dcm", RAMP)
    scan(tmp_path / "in" / "2.dcm", RAMP)
    data = pydicom.dcmread(tmp_path / "in" / "2.dcm")
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + bytes(50)])
    data["PixelData"].VR = "OB"
    data.save_as(tmp_path / "in" / "2.dcm")
    (reason,) = skipped(prepared(tmp_path / "in", tmp_path / "out", max_skipped=0.5)).values()
    assert reason == "is compressed with JPEG-LS Lossless Image Compression: to read it, pip install pyjpegls"


def test_dicom_without_a_suffix_among_other_images_is_named(tmp_path: Path) -> None:
    scan(tmp_path / "in" / "IM0001", RAMP)
    write(tmp_path / "in" / "photo.png", encoded(noise(16, 16)))
    (remark,) = find(str(tmp_path / "in")).remarks
    assert remark.topic == "dicom" and "1 of 1 other files are DICOM (IM0001)" in remark.text


def test_frames_of_one_file_stay_on_one_side_of_the_hold_out(tmp_path: Path) -> None:
    scan(tmp_path / "in" / "volume.dcm", np.zeros((5, 8, 8), np.uint16))
    groups = [item.group for item in find(str(tmp_path / "in")).items()]
    assert groups == ["volume.dcm"] * 5
