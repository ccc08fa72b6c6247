"""What the first bytes of a file say: whether it is an image."""

import re

__all__ = ["HEAD", "OTHER_SUFFIXES", "has_dicom_content", "has_image_content"]

HEAD = 132  # bytes that are looked at
OTHER_SUFFIXES = {
    ".7z", ".arw", ".avi", ".bz2", ".cr2", ".cr3", ".csv", ".db", ".dng", ".doc", ".docx", ".gz", ".h5", ".hdf5",
    ".htm", ".html", ".ini", ".json", ".jsonl", ".log", ".mat", ".md", ".mkv", ".mov", ".mp4", ".nef", ".npy", ".npz",
    ".orf", ".parquet", ".pdf", ".pickle", ".pkl", ".psd", ".pt", ".pth", ".py", ".raf", ".rar", ".rw2", ".svg", ".tar",
    ".tfrecord", ".toml", ".tsv", ".txt", ".webm", ".xls", ".xlsx", ".xml", ".xz", ".yaml", ".yml", ".zip",
}  # fmt: skip
"""Suffixes of files that are no images, or none that are decoded: their contents need not be looked at."""

IMAGE_STARTS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM....\0\0\0\0|RIFF....WEBP|II\*\0|MM\0\*|....ftypavi[fs]"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|P[1-6][ \n\r\t#]+[\d#]",
    re.DOTALL,
)
"""JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, JPEG 2000 (file and codestream), PNM."""


def has_image_content(head: bytes) -> bool:
    """Whether the first `HEAD` bytes of a file are those of an image in a format that is decoded.

    >>> has_image_content(b"GIF89a..."), has_image_content(b"Dear diary")
    (True, False)
    """
    return IMAGE_STARTS.match(head) is not None


def has_dicom_content(head: bytes) -> bool:
    """Whether the first `HEAD` bytes of a file are those of a DICOM file: a preamble of 128 bytes, and a mark."""
    return head[128:132] == b"DICM"
