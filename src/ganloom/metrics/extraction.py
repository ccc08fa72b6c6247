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
from ganloom.core.files import cache_folder, sha256, storage_errors, write_atomically
from ganloom.core.memory import is_out_of_memory
from ganloom.metrics.contract import Features, Images
from ganloom.metrics.extractors.contract import Extractor

__all__ = ["Extraction"]

BATCH = 64  # images; halved until a batch fits into memory
NO_PROGRESS: Callable[[int, int | None], None] = lambda done, total: None  # noqa: E731


@dataclass
class Extraction:
    """Runs an extractor over sets of images. The features of an image do not depend on the rest of its batch."""

    extractor: Extractor
    device: torch.device
    progress: Callable[[int, int | None], None] = NO_PROGRESS  # called with images done and in all
    batch: int = field(default=BATCH)

    def features(self, images: Images) -> Features:
        """Features of all images, computed now.

        Raises `DataError` if a feature is NaN or infinite, `ModelError` if batches differ in the number of features.
        """
        pooled: list[Tensor] = []
        logits: list[Tensor] = []
        done = 0
        while done < len(images):
            chunk = torch.from_numpy(images[slice(done, done + self.batch)]).permute(0, 3, 1, 2)
            try:
                features, scores = self(chunk)
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.batch == 1:
                    raise
                self.batch //= 2
                continue
            pooled.append(features)
            logits += [] if scores is None else [scores]
            done += len(chunk)
            self.progress(done, len(images))
        if len({features.shape[1] for features in pooled}) != 1:
            raise ModelError(f"{self.extractor.id} returns more features for some batches than for others.")
        found = Features(torch.cat(pooled).numpy(), torch.cat(logits).numpy() if logits else None)
        if not np.isfinite(found.pooled).all():
            raise DataError(
                f"{self.extractor.id} returns features for {images.name} that are not finite (NaN or infinity). If "
                "the images are generated, the model has diverged: use an earlier checkpoint. If they are real, use "
                "another extractor."
            )
        return found

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:  # uint8 or float [N, C, H, W] in [0, 255]
        """Features [N, D] and logits [N, K] (or None) of one batch, on the CPU."""
        # By default GPUs compute convolutions in TF32, which changes features by a thousandth.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            pooled, logits = self.extractor(images.to(self.device))
        return pooled.float().cpu(), None if logits is None else logits.float().cpu()

    def cached(self, images: Images) -> Features:
        """Features from the cache, or else computed and stored there. A damaged file is replaced.

        Features of an extractor that its hash does not identify (`is_pinned` is False) are never cached.
        """
        if not self.extractor.is_pinned:
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


def _read(path: Path) -> Features | None:
    """None if there is no such file or its checksum is wrong."""
    try:
        data = path.read_bytes()
        digest, content = data[:64].decode("ascii"), data[64:]
        if sha256(content) != digest:
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
        write_atomically(path, sha256(content).encode("ascii") + content)
    except StorageError:
        return
