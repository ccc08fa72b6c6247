"""The usual names of the columns of a table, and which image a cell names."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from ganloom.data.sources.naming import DICOM_SUFFIXES, IMAGE_SUFFIXES, stem, suffix

__all__ = ["GROUPS", "IMAGES", "LABELS", "SPLITS", "WEAK_LABELS", "ImageIndex", "named", "plain"]

# By `plain`, in order of preference.
IMAGES = (
    "filename", "file", "filepath", "path", "imagefilename", "imagefile", "imagepath", "imagename", "imageindex",
    "imageid", "image", "images", "imgname", "imgpath", "imgid", "img", "picture", "photo", "idcode", "isicid", "name",
    "id", "uid", "sopinstanceuid", "dicomid", "",
)  # fmt: skip
LABELS = (
    "label", "labels", "labelname", "class", "classes", "classname", "classlabel", "classid", "category", "categories",
    "categoryname", "categoryid", "dx", "diagnosis", "findinglabels", "findinglabel", "findings", "finding", "target",
    "benignmalignant", "imagelabel", "groundtruth", "y",
)  # fmt: skip
WEAK_LABELS = (  # only if there is none of the others
    "species", "breed", "emotion", "expression", "grade", "level", "severity", "tags", "tag", "attributeids", "style",
    "genre", "artist", "type", "subtype", "pathology", "disease", "condition", "outcome",
)  # fmt: skip
SPLITS = ("split", "splits", "partition", "dataset", "subset", "set", "usage", "phase", "fold", "imagesplit", "mode")
GROUPS = (  # from the widest to the narrowest
    "patientid", "patient", "patientnumber", "patientcode", "patientname", "pid", "subjectid", "subject", "subjectcode",
    "participantid", "participant", "personid", "person", "identity", "identityid", "caseid", "case", "volumeid",
    "volume", "slideid", "slide", "videoid", "video", "clipid", "sequenceid", "sequence", "studyid", "study",
    "studyinstanceuid", "seriesid", "seriesinstanceuid", "series", "lesionid", "lesion", "groupid", "group",
)  # fmt: skip


def plain(column: str) -> str:
    """The name of a column without regard to case, spaces and punctuation: `imageindex` of `Image Index`."""
    return re.sub(r"[^a-z0-9]", "", column.casefold())


def named(columns: Iterable[str], names: Sequence[str]) -> list[str]:
    """The columns with one of the names, in the order of the names."""
    found = [column for column in columns if plain(column) in names]
    return sorted(found, key=lambda column: names.index(plain(column)))


class ImageIndex:
    """Finds the image that a cell names: by path or file name, with or without suffix, folders and leading zeros."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_name: dict[str, str | None] = {}  # of a unique file name: what most tables have, looked up first
        for path in paths:
            name = path.rpartition("/")[2]
            self._by_name[name] = None if name in self._by_name else path
            self._by_stem[_key(stem(path))].append(path)

    @property
    def example(self) -> str:
        """One of the images."""
        return next(iter(self._by_stem.values()))[0]

    def find(self, cell: str, folder: str = "", *, exactly: bool = True) -> str | None:
        """The path of the image, None if there is none or more than one.

        `folder`: that of the table, with its slash, from which paths may start. `exactly`: folders and suffix, where
        the cell has them, must be those of the image; otherwise the bare file name is enough.
        """
        if path := self._by_name.get(cell):
            return path
        value = cell.strip().replace("\\", "/").removeprefix("./").lstrip("/")
        name = value.rpartition("/")[2]
        ending = suffix(name) if suffix(name) in IMAGE_SUFFIXES | DICOM_SUFFIXES else ""
        found = self._by_stem.get(_key(name[: len(name) - len(ending)]), ())
        if exactly:
            found = [path for path in found if _agree(value, path, bool(ending))]
        if len(found) < 2:
            return found[0] if found else None
        ranks = [_rank(value, path, folder) for path in found]
        best = max(ranks)
        return found[ranks.index(best)] if ranks.count(best) == 1 else None


def _key(name: str) -> str:
    name = name.casefold()
    return name.lstrip("0") or "0" if name.isdecimal() else name


def _agree(value: str, path: str, has_suffix: bool) -> bool:
    """Whether the folders and the suffix of a cell are not other ones than those of the image."""
    if has_suffix and suffix(value) != suffix(path):
        return False
    ours, theirs = path.split("/")[:-1], value.split("/")[:-1]
    return not ours or not theirs or ours[-1] == theirs[-1]


def _rank(value: str, path: str, folder: str) -> tuple[bool, int, bool, bool]:
    """How well a cell fits an image, compared with others of the same bare name."""
    bare = path.removesuffix(suffix(path))
    is_here = value in (path.removeprefix(folder), bare.removeprefix(folder)) and path.startswith(folder)
    ours, theirs = path.split("/"), value.split("/")
    shared = 0
    for mine, other in zip(reversed(ours[:-1]), reversed(theirs[:-1]), strict=False):
        if mine != other:
            break
        shared += 1
    return is_here, shared, theirs[-1] in (ours[-1], bare.rpartition("/")[2]), path.startswith(folder)
