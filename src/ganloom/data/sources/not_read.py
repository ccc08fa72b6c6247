"""Kinds of files that hold images, or might, and are not read: what each is, and what to do with it."""

from collections import Counter
from collections.abc import Iterable

from ganloom.data.sources.naming import DICOM_SUFFIXES, IMAGE_SUFFIXES, suffix

__all__ = ["next_step", "said_of"]

READER = "or write a reader of your own, ./reader.py (an example is in CONTRIBUTING.md)"
ARRAYS = "np.savez('images.npz', images=..., labels=...)"
PICTURES = "convert them to PNG"

PARQUET = "datasets.load_from_disk(...).to_parquet('train.parquet')"

KINDS: dict[str, tuple[str, str]] = {
    ".h5 .hdf5 .hdf": (
        "an HDF5 file",
        f"save its images with h5py: np.savez('images.npz', images=file['KEY'][:]), {READER}",
    ),
    ".mat": (
        "a MATLAB file",
        f"save its images with scipy.io.loadmat or h5py, as [N, H, W, C]: {ARRAYS}, {READER}",
    ),
    ".nii .nii.gz .mha .mhd .nrrd .mgz .img": (
        "a medical volume",
        f"save its slices as [N, H, W], with nibabel or SimpleITK: np.save('slices.npy', ...), {READER}",
    ),
    ".pt .pth .ckpt": (
        "a PyTorch file, which is a pickle",
        f"save the tensor as an array: np.save('images.npy', tensor.numpy()), {READER}",
    ),
    ".safetensors": ("a file of weights", "name the images; save a tensor of images with np.save('images.npy', ...)"),
    ".pkl .pickle .joblib .dill": (
        "a pickle, which could run any code when it is loaded",
        f"save its arrays: {ARRAYS}, {READER}",
    ),
    ".tfrecord .tfrecords": ("a file of TensorFlow records", f"write its images to files or arrays, {READER}"),
    ".arrow .feather": ("an Arrow file", f"save it as parquet: {PARQUET}, {READER}"),
    ".mdb .lmdb .beton .rec .bin .dat .raw .sqlite .db": (
        "a container without a known format",
        f"write its images to files or arrays, {READER}",
    ),
    ".rar": ("a RAR archive", "unpack it (unrar x, or 7z x) and give the folder"),
    ".7z": ("a 7-Zip archive", "unpack it (7z x) and give the folder"),
    ".zip .tar .tgz .tar.gz .tar.bz2 .tar.xz": (
        "an archive",
        "give the path of that archive; one inside another has to be unpacked first",
    ),
    ".gz .bz2 .xz .zst .lz4": ("a compressed file", "decompress it"),
    ".mp4 .avi .mov .webm .mkv .m4v .mpg .mpeg .wmv .flv": (
        "a video",
        "extract its frames: mkdir frames; ffmpeg -i {name} frames/%06d.png",
    ),
    ".pdf": ("a PDF document", "extract its images: pdfimages -png {name} page"),
    ".svg .ai .eps .ps": ("a vector drawing", f"render such drawings at the size you want and {PICTURES}"),
    ".psd .psb .xcf .kra .clip": ("a file of a drawing program", f"export such files, {PICTURES}"),
    ".cr2 .cr3 .nef .arw .dng .orf .rw2 .raf .pef .srw": (
        "a camera's raw file",
        f"develop such files, for example with darktable-cli, and {PICTURES}",
    ),
    ".heic .heif": ("a HEIC photograph", "convert them to JPEG: heif-convert, or sips on a Mac"),
    ".exr .hdr .jxl .ico .dds .ktx .pcx .sgi .xpm": ("an image in a format that is not decoded", PICTURES),
    ".xlsx .xls .ods .tsv": ("a table", f"save it as CSV if it holds pixels or labels, {READER}"),
    ".csv": (
        "a table without pixels",
        "ganloom reads tables such as label,pixel0,pixel1,... If this one lists labels of image files, give the folder "
        "of the images, and --labels FILE",
    ),
    ".jsonl .json": ("a list", "give the folder of the images; --labels FILE reads labels from a JSON Lines file"),
    ".yaml .yml": ("a configuration", "give the images; a configuration of a training is --recipe FILE"),
    ".ipynb": ("a notebook", "give the images"),
    " ".join(sorted(DICOM_SUFFIXES)): (
        "a DICOM file",
        "give the folder of such files, or dicom:FOLDER; an archive of them has to be unpacked first",
    ),
    " ".join(sorted(IMAGE_SUFFIXES - {".heic", ".heif"})): ("a single image", "give its folder"),
}  # fmt: skip
"""Suffixes, what such a file is, and the next step."""

SUFFIXES = {end: kind for ends, kind in KINDS.items() for end in ends.split()}
BESIDE = {".csv", ".jsonl", ".json", ".yaml", ".yml", ".txt", ".md", ".xml", ".ipynb", ".tsv"}
"""Suffixes of files that often lie beside the images."""


def next_step(path: str) -> str:
    """What a file is and what to do, as a sentence after its path; "" for an unknown kind."""
    kind = SUFFIXES.get(_end(path))
    return f"is {kind[0]}: {kind[1].format(name=path.rpartition('/')[2])}." if kind else ""


def said_of(paths: Iterable[str]) -> str:
    """What the files of a folder or archive without images are and what to do, as a sentence; "" for unknown kinds."""
    ends = Counter(_end(path) for path in paths)
    known = [end for end, _ in ends.most_common() if end in SUFFIXES]
    main = next((end for end in known if end not in BESIDE), known[0] if known else None)
    if main is None or ends[main] < 0.5 * sum(count for end, count in ends.items() if end not in BESIDE):
        return ""
    what, step = SUFFIXES[main]
    return f"It holds {ends[main]:,} {main} ({what}): {step.format(name='FILE' + main)}."


def _end(path: str) -> str:
    """The suffix, of two parts where that is a kind of its own, such as `.nii.gz`. Shards end in `.tfrecord-00000`."""
    name = path.rpartition("/")[2].lower()
    if ".tfrecord" in name:
        return ".tfrecord"
    double = next((end for end in SUFFIXES if end.count(".") > 1 and name.endswith(end)), None)
    return double or suffix(name)
