"""Extract features of images, and cache them under a key of everything they depend on."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganloom.core import tensors
from ganloom.core.errors import DataError, ModelError, StorageError
from ganloom.core.files import cache_folder, read_regular, sha256, storage_errors, write_atomically
from ganloom.core.memory import Blocks, check_memory
from ganloom.core.words import counted
from ganloom.metrics.contract import Features, Images
from ganloom.metrics.extractors.contract import Extractor

__all__ = ["NO_PROGRESS", "Extraction", "Progress"]

BATCH = 64  # images; halved until a batch fits into memory
Progress = Callable[[int, int | None], None]  # called with images done and in all
NO_PROGRESS: Progress = lambda done, total: None  # noqa: E731


@dataclass
class Extraction:
    """Runs an extractor over sets of images. The features of an image do not depend on the rest of its batch."""

    extractor: Extractor
    device: torch.device
    progress: Progress = NO_PROGRESS
    blocks: Blocks = field(default_factory=lambda: Blocks(BATCH))

    def features(self, images: Images) -> Features:
        """Features of all images, computed now.

        Raises `DataError` if a feature is NaN or infinite, `ModelError` if batches differ in the number of features.
        """
        found: Features | None = None
        done = 0
        for features, scores in self.blocks.over(len(images), lambda rows: self._of(images, rows)):
            found = found or _room(len(images), features, scores, images.name)
            if found.pooled.shape[1] != features.shape[1]:
                raise ModelError(
                    f"{self.extractor.id} returns more features for some batches than for others: it should always "
                    "return [N, D], of one D."
                )
            rows = slice(done, done + len(features))
            found.pooled[rows] = features
            if found.logits is not None:
                found.logits[rows] = scores
            done = rows.stop
            self.progress(done, len(images))
        assert found is not None, "there are no images"
        if not np.isfinite(found.pooled).all():
            raise DataError(
                f"{self.extractor.id} returns features for {images.name} that are not finite (NaN or infinity). If "
                "the images are generated, the model has diverged: use an earlier checkpoint. If they are real, use "
                "another extractor."
            )
        return found

    def _of(self, images: Images, rows: slice) -> tuple[Tensor, Tensor | None]:
        """Features and logits of some of the images."""
        return self(torch.from_numpy(images[rows]).permute(0, 3, 1, 2))

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:  # uint8 or float [N, C, H, W] in [0, 255]
        """Features [N, D] and logits [N, K] (or None) of one batch, on the CPU."""
        # By default GPUs compute convolutions in TF32, which changes features by a thousandth.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            pooled, logits = self.extractor(images.to(self.device))
        return pooled.float().cpu(), None if logits is None else logits.float().cpu()

    def cached(self, images: Images) -> Features:
        """Features from the cache, or else computed and stored there. A damaged file is replaced.

        Features are never cached of an extractor that its hash does not identify (`is_pinned` is False), nor of images
        without an identity.
        """
        if not self.extractor.is_pinned or not images.identity:
            return self.features(images)
        path = self._path(images)
        features = _read(path)
        if features is None:
            features = self.features(images)
            _write(path, features)
        return features

    def _path(self, images: Images) -> Path:
        """The file's name is a hash of everything that the features depend on."""
        key = {
            "format": 1,
            "extractor": self.extractor.id,
            "weights": self.extractor.weights,
            "resize": self.extractor.resize,
            "images": images.identity,
            "split": images.split,
            "positions": sha256(np.ascontiguousarray(images.positions, "<i8").tobytes()),
            "device": self.device.type,
            "torch": torch.__version__,
        }
        return cache_folder() / "features" / f"{sha256(json.dumps(key, sort_keys=True).encode())[:32]}.safetensors"


def _room(count: int, features: Tensor, scores: Tensor | None, name: str) -> Features:
    """Room for the features of all images, of which a batch is known. Raises `MemoryError` if there is none."""
    widths = [each.shape[1] for each in (features, scores) if each is not None]
    check_memory(4 * count * sum(widths), f"the {widths[0]:,} features of each of {counted(count, 'image')} of {name}")
    pooled, *logits = (np.empty((count, width), np.float32) for width in widths)
    return Features(pooled, logits[0] if logits else None)


def _read(path: Path) -> Features | None:
    """None if there is no such file or its checksum is wrong: it is damaged, or of other images."""
    try:
        data = read_regular(path)
        digest, content = data[:64].decode("ascii"), data[64:]
        if _checksum(path, content) != digest:
            return None
        found = tensors.unpack(content, path)
    except (OSError, UnicodeDecodeError, ModelError):
        return None
    logits = found.get("logits")
    return Features(found["pooled"].numpy(), None if logits is None else logits.numpy())


def _write(path: Path, features: Features) -> None:
    """If the disk is full, nothing is stored: the next evaluation computes the features again."""
    values = {name: torch.from_numpy(array) for name, array in features._asdict().items() if array is not None}
    content = tensors.pack(values)
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _checksum(path, content).encode("ascii") + content)
    except StorageError:
        return


def _checksum(path: Path, content: bytes) -> str:
    """Of the features and of what they belong to, which the name of the file says."""
    return sha256(path.name.encode() + content)
