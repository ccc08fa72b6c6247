"""What the name of a file says: whether it is an image, hidden, or in the folder of a run."""

import re
from collections.abc import Iterable, Iterator

__all__ = [
    "DICOM_SUFFIXES",
    "IMAGE_SUFFIXES",
    "RUN",
    "is_hidden",
    "is_image",
    "parents",
    "runs_among",
    "stem",
    "suffix",
    "text",
    "words",
]

IMAGE_SUFFIXES = {
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx",
    ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
DICOM_SUFFIXES = {".dcm", ".dicom"}
RUN = ("run.json", "config.yaml")  # a folder with both is a ganloom run: its pictures are generated


def runs_among(paths: Iterable[str]) -> tuple[str, ...]:
    """The folders of ganloom runs, with their slash. The pictures in them are generated."""
    known = set(paths)
    first, *others = RUN
    folders = (path.removesuffix(first) for path in known if path.endswith(f"/{first}"))
    return tuple(folder for folder in folders if all(f"{folder}{name}" in known for name in others))


def parents(path: str) -> Iterator[str]:
    """The folders above a path: `a/b` and `a` of `a/b/1.png`."""
    while path := path.rpartition("/")[0]:
        yield path


def suffix(path: str) -> str:
    """The suffix in lower case: `.png` of `cats/1.PNG`. Empty if there is none."""
    _, dot, end = path.rpartition("/")[2].rpartition(".")
    return dot + end.lower() if dot else ""


def stem(path: str) -> str:
    """The file name without its suffix: `1` of `cats/1.PNG`."""
    name = path.rpartition("/")[2]
    return name[: len(name) - len(suffix(path))] or name


def words(name: str) -> list[str]:
    """The words and numbers of a name: `["left", "Img", "8", "bit"]` of `left_Img8bit`."""
    return re.findall(r"\d+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+", name)


def text(name: str) -> str:
    """A file name, which may be any bytes, as valid Unicode text."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_image(path: str) -> bool:
    """Whether a path has the suffix of an image and is not hidden."""
    return suffix(path) in IMAGE_SUFFIXES and not is_hidden(path)


def is_hidden(path: str) -> bool:
    """Whether a path is, or is in, something that operating systems leave: `.DS_Store`, `._photo.jpg`, `__MACOSX`."""
    return path.startswith((".", "__MACOSX")) or "/." in path or "/__MACOSX" in path
