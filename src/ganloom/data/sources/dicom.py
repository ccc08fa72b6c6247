"""DICOM files (needs ganloom[medical]): rescaled to the scanner's units, with every frame as one image.

The file's rescale slope and intercept are applied (CT: Hounsfield units), then values are windowed like all images of
more than 8 bits. Images whose lowest value is white (MONOCHROME1) are inverted.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import Item, refused, stamp
from ganloom.data.sources.folder import short_name, walk
from ganloom.data.sources.layout import DICOM_SUFFIXES, Layout, is_hidden, is_image, suffix

__all__ = ["DicomSource", "has_only_dicom", "open_source"]

MAGIC = b"DICM"  # follows a preamble of 128 bytes


class DicomSource:
    """The DICOM files of a folder. `Layout` determines the split and class of each, as for other images."""

    count = None  # a file may have many frames

    def __init__(self, root: Path, follow_links: bool = False) -> None:
        self.root = root
        self.name = short_name(root) or "dicom"
        self._faults: dict[str, str] = {}
        paths = []
        self.ignored = 0
        for path, fault in walk(root, follow_links):
            named = suffix(path) in DICOM_SUFFIXES or (bool(fault) and (root / path).is_dir())
            if not is_hidden(path) and (named or (not fault and _has_magic(root / path))):
                paths.append(path)
                self._faults[path] = fault
            else:
                self.ignored += 1
        if not paths:
            raise DataError(f"no DICOM files in {root}.")
        self._paths = paths
        self._layout = Layout(paths, faults=self._faults)
        self.ignored += len(self._layout.copies)
        self.class_names = self._layout.class_names
        self.splits = self._layout.splits

    def fingerprint(self) -> Iterator[str]:
        yield str(self.root.resolve())
        for path in self._paths:
            if fault := self._faults[path]:  # the setting follow_links changes it
                yield f"{path}\t{fault}"
                continue
            try:
                yield stamp(self.root / path, path)
            except OSError:
                yield path

    def items(self) -> Iterator[Item]:
        pydicom = _pydicom()
        for path, split, label, fault in self._layout:
            reason = fault
            frames = 1
            if not reason:
                try:
                    header = pydicom.dcmread(self.root / path, stop_before_pixels=True, force=False)
                    frames = int(header.get("NumberOfFrames") or 1)
                except Exception as error:  # pydicom raises nearly anything for a damaged file
                    reason = f"cannot be read: {str(error) or type(error).__name__}"
            for frame in range(frames):
                name = f"{path}#{frame}" if frames > 1 else path
                yield Item(name, split, label, refused(reason) if reason else partial(_frame, self.root / path, frame))


def open_source(spec: str, follow_links: bool = False) -> DicomSource:
    """Raises `DataError` for a folder without DICOM files, or if pydicom is not installed."""
    _pydicom()
    path = Path(spec).expanduser()
    if not path.is_dir():
        raise DataError(f"there is no folder {path}: dicom:PATH takes a folder of DICOM files.")
    return DicomSource(path, follow_links)


def has_only_dicom(root: Path) -> bool:
    """Whether all images below a folder are DICOM files, judged by their suffixes."""
    found = False
    for _, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in files:
            if is_image(name):
                return False
            found = found or (suffix(name) in DICOM_SUFFIXES and not is_hidden(name))
    return found


def _pydicom() -> Any:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise DataError("DICOM files need the package pydicom: pip install 'ganloom[medical]'.") from None
    return pydicom


def _has_magic(path: Path) -> bool:
    """Whether a file without a suffix is DICOM, judged by its content: many archives store them so."""
    if path.suffix and not path.suffix[1:].isdigit():  # names are often numbers with dots
        return False
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == MAGIC
    except OSError:
        return False


def _frame(path: Path, frame: int) -> Image.Image:
    pydicom = _pydicom()
    header = pydicom.dcmread(path, stop_before_pixels=True)
    pixels = pydicom.pixels.pixel_array(path, index=frame)  # colour comes as RGB
    if header.PhotometricInterpretation == "PALETTE COLOR":
        pixels = pydicom.pixels.apply_color_lut(pixels, header)
    if pixels.ndim == 3:
        bits = 16 if header.PhotometricInterpretation == "PALETTE COLOR" else int(header.BitsStored)
        return Image.fromarray(pixels if pixels.dtype == np.uint8 else (pixels >> (bits - 8)).astype(np.uint8))
    if header.PhotometricInterpretation == "MONOCHROME1":
        highest = 2 ** int(header.BitsStored) - 1 if header.PixelRepresentation == 0 else -1
        pixels = highest - pixels.astype(np.int64)
    return Image.fromarray(np.asarray(pydicom.pixels.apply_modality_lut(pixels, header), np.float32))
