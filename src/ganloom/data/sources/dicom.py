"""DICOM files (needs ganloom[medical]): rescaled to the scanner's units, with every frame as one image.

The file's rescale slope and intercept are applied (CT: Hounsfield units), then values are windowed like all images of
more than 8 bits. Images whose lowest value is white (MONOCHROME1) are inverted.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganloom.config import Reading
from ganloom.core.errors import DataError
from ganloom.core.files import open_regular, user_path
from ganloom.data.sources.content import HEAD, has_dicom_content
from ganloom.data.sources.contract import Item, RefusedError, Remark, refused, stamp
from ganloom.data.sources.files import how
from ganloom.data.sources.folder import short_name, walk
from ganloom.data.sources.layout import Layout
from ganloom.data.sources.naming import DICOM_SUFFIXES, is_hidden, suffix

__all__ = ["SETTINGS", "DicomSource", "is_dicom", "is_named_dicom", "open_source"]

SETTINGS = frozenset({"splits", "class_level", "follow_links"})
"""The keys of `Reading` that are followed."""

DIRECTORY = "DICOMDIR"  # the name of the list of files on a disc
PLUGINS = {  # transfer syntax -> the package with the decoder
    "1.2.840.10008.1.2.4.50": "pillow",
    "1.2.840.10008.1.2.4.51": "'pylibjpeg[libjpeg]'",
    "1.2.840.10008.1.2.4.57": "'pylibjpeg[libjpeg]'",
    "1.2.840.10008.1.2.4.70": "'pylibjpeg[libjpeg]'",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
}
OTHER_PLUGIN = "'pylibjpeg[openjpeg]'"  # JPEG 2000 and its relatives


class DicomSource:
    """The DICOM files of a folder. `Layout` determines the split and class of each, as for other images.

    Objects that are no images, such as reports, are ignored. How many they are is known after iterating.
    """

    count = None  # a file may have many frames

    def __init__(self, root: Path, reading: Reading) -> None:
        self.root = root
        self.reading = reading
        self.name = short_name(root) or "dicom"
        self._faults: dict[str, str] = {}
        paths = []
        self._ignored = 0
        self._without_pixels: set[str] = set()
        for path, fault in walk(root, reading.follow_links):
            named = suffix(path) in DICOM_SUFFIXES or (bool(fault) and (root / path).is_dir())
            found = not is_hidden(path) and (root / path).name != DIRECTORY
            if found and (named or (not fault and is_dicom(root / path))):
                paths.append(path)
                self._faults[path] = fault
            else:
                self._ignored += 1
        if not paths:
            raise DataError(f"no DICOM files in {root}: give the folder that holds them.")
        self._paths = paths
        self._layout = Layout(paths, reading, faults=self._faults)
        self._ignored += len(self._layout.copies)
        self.class_names = self._layout.class_names
        self.splits = self._layout.splits
        self.remarks: Sequence[Remark] = self._layout.remarks

    @property
    def ignored(self) -> int:
        return self._ignored + len(self._without_pixels)

    def fingerprint(self) -> Iterator[str]:
        yield str(self.root.resolve())
        yield how(self.reading)
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
        for path, split, label, fault, _ in self._layout:
            reason = fault
            frames = 1
            if not reason:
                try:
                    header = pydicom.dcmread(self.root / path, stop_before_pixels=True, force=False)
                    frames = int(header.get("NumberOfFrames") or 1)
                    if frames > (self.root / path).stat().st_size:
                        raise RefusedError(f"states {frames:,} frames, more than it has bytes")
                    if "Rows" not in header and "Image" not in header.file_meta.MediaStorageSOPClassUID.name:
                        self._without_pixels.add(path)
                        continue
                except RefusedError as error:
                    reason, frames = str(error), 1
                except Exception as error:  # pydicom raises nearly anything for a damaged file
                    reason = f"cannot be read: {str(error) or type(error).__name__}"
            for frame in range(frames):
                name = f"{path}#{frame}" if frames > 1 else path
                opener = refused(reason) if reason else partial(_frame, self.root / path, frame)
                yield Item(name, split, label, opener, path if frames > 1 else None)


def open_source(spec: str, reading: Reading) -> DicomSource:
    """Raises `DataError` for a folder without DICOM files, or if pydicom is not installed."""
    _pydicom()
    path = user_path(spec)
    if not path.is_dir():
        raise DataError(f"there is no folder {path}: dicom:PATH takes a folder of DICOM files.")
    return DicomSource(path, reading)


def is_named_dicom(path: Path) -> bool:
    """Whether a file has the suffix of DICOM."""
    return suffix(path.name) in DICOM_SUFFIXES


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, judged by its content."""
    try:
        with open_regular(path) as file:
            return has_dicom_content(file.read(HEAD))
    except OSError:
        return False


def _pydicom() -> Any:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise DataError("DICOM files need the package pydicom: pip install 'ganloom[medical]'.") from None
    return pydicom


def _frame(path: Path, frame: int) -> Image.Image:
    pydicom = _pydicom()
    header = pydicom.dcmread(path, stop_before_pixels=True)
    try:
        pixels = pydicom.pixels.pixel_array(path, index=frame)  # colour comes as RGB
    except RuntimeError as error:
        if "missing dependencies" not in str(error):
            raise
        syntax = header.file_meta.TransferSyntaxUID
        package = PLUGINS.get(syntax, OTHER_PLUGIN)
        raise RefusedError(f"is compressed with {syntax.name}: to read it, pip install {package}") from None
    if header.PhotometricInterpretation == "PALETTE COLOR":
        pixels = pydicom.pixels.apply_color_lut(pixels, header)
    if pixels.ndim == 3:
        bits = 16 if header.PhotometricInterpretation == "PALETTE COLOR" else int(header.BitsStored)
        return Image.fromarray(pixels if pixels.dtype == np.uint8 else (pixels >> (bits - 8)).astype(np.uint8))
    if header.PhotometricInterpretation == "MONOCHROME1":
        highest = 2 ** int(header.BitsStored) - 1 if header.PixelRepresentation == 0 else -1
        pixels = highest - pixels.astype(np.int64)
    return Image.fromarray(np.asarray(pydicom.pixels.apply_modality_lut(pixels, header), np.float32))
