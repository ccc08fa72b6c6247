"""MNIST (LeCun, Cortes, Burges 1998): 70,000 handwritten digits, grey, 28x28."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import Item, Remark
from ganloom.data.sources.fetch import Remote, fetch
from ganloom.data.sources.idx import read_header, read_idx

__all__ = ["IdxSource", "four_files", "open_source"]

FILES = {  # split -> images, labels
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
MD5 = (
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
MIRRORS = ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/")


def four_files(
    folder: str,
    md5: Sequence[str],  # in the order of FILES
    mirrors: Sequence[str],
) -> dict[str, tuple[Remote, Remote]]:
    """Images and labels of each split. `folder` separates MNIST and Fashion-MNIST, whose files have the same names."""
    names = [name for pair in FILES.values() for name in pair]
    remotes = [
        Remote(f"{folder}/{name}", digest, tuple(mirror + name for mirror in mirrors))
        for name, digest in zip(names, md5, strict=True)
    ]
    return dict(zip(FILES, zip(remotes[::2], remotes[1::2], strict=True), strict=True))


class IdxSource:
    """The grey images of IDX files, in order."""

    ignored = 0
    remarks: Sequence[Remark] = ()

    def __init__(self, name: str, class_names: Sequence[str], files: Mapping[str, tuple[Remote, Remote]]) -> None:
        self.name = name
        self.class_names = class_names
        self.splits = tuple(files)
        self._files = files
        self._paths = {split: (fetch(images), fetch(labels)) for split, (images, labels) in files.items()}
        counts = []
        for images, labels in self._paths.values():
            counts.append(read_header(images, 3)[0])
            if (label_count := read_header(labels, 1)[0]) != counts[-1]:
                raise DataError(
                    f"{labels} has {label_count} labels for the {counts[-1]} images of {images.name}: download both "
                    "again."
                )
        self.count = sum(counts)

    def fingerprint(self) -> Iterator[str]:
        for pair in self._files.values():
            for remote in pair:
                yield f"{remote.name}\t{remote.md5}"

    def items(self) -> Iterator[Item]:
        for split, (image_path, label_path) in self._paths.items():
            images, labels = read_idx(image_path, 3), read_idx(label_path, 1)
            if (highest := labels.max(initial=0)) >= len(self.class_names):
                raise DataError(
                    f"{label_path} has label {highest} for {len(self.class_names)} classes: download it again."
                )
            for index, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield Item(f"{split}/{index}", split, int(label), partial(Image.fromarray, image))


def open_source(spec: str) -> IdxSource:
    """Open MNIST; downloads it unless there are local copies. Raises `DataError` with the remedy."""
    return IdxSource("mnist", tuple("0123456789"), four_files("mnist", MD5, MIRRORS))
