"""Measures the health of a training, from a few hundred images, without changing it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.core import rng
from ganloom.core.pictures import to_float, to_uint8
from ganloom.data.dataset import Dataset
from ganloom.data.identity import verified_hash
from ganloom.metrics import frechet, ndb, vendi
from ganloom.metrics import tone as tone_metric
from ganloom.metrics.contract import Images
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.memorisation import neighbours
from ganloom.metrics.pairs import some
from ganloom.metrics.tone import compared, tones
from ganloom.training.buffers import snapshot
from ganloom.training.step import AdversarialStep, Stats

__all__ = ["MIN_IMAGES", "MOVES", "Probe", "Signals", "all_finite"]

MAX_BANK = 2000  # training images that features are compared with
BINS = 25  # of k-means: about ten of a look's images in each
MIN_DISTANCE = 1e-6  # between features, whose standard deviation is about 1; less counts as 0
MIN_IMAGES = 50  # of a split, to measure by it
MOVES = ("update_g", "update_d")  # among the statistics of a measured step


@dataclass(frozen=True)
class Signals:
    """NaN where a signal is unknown: D on held-out images without any, everything if the images contain NaN."""

    finite: bool  # losses, gradients, weights and images
    update_g: float  # norm of the last update, relative to that of the weights
    update_d: float
    sign: float  # mean sign of D(real) since the last look: 1 if D is sure of every training image
    auc: float  # how often D ranks a real image above a generated one; 0.5 if it cannot tell them apart
    gap: float  # drop of D's mean from training to held-out images, relative to that to generated ones
    gap_auc: float  # how often D ranks a training image above a held-out one
    spread: float  # mean distance of two generated images' features, relative to that of two real ones
    vendi: float  # Vendi score, relative to that of as many real images
    ndb: float  # share of bins whose proportion of generated images differs from that of real ones
    distance: float  # Frechet distance to the training images, relative to that of other real images
    nearest: float  # median distance to the nearest training image, relative to that of held-out images
    brightness: float  # mean, minus that of training images, of the full scale
    contrast: float  # mean deviation within an image, relative to that of training images
    saturation: float  # mean difference of the channels, likewise; NaN for grey images

    def row(self) -> dict[str, float]:
        """As columns of the log."""
        return {f"guard_{name}": float(value) for name, value in asdict(self).items() if name not in MOVES}

    @classmethod
    def unseen(cls) -> "Signals":
        """All unknown: the training contains NaN or infinity."""
        return cls(False, *[math.nan] * (len(fields(cls)) - 1))


class _Real(NamedTuple):
    """What generated images are compared with, and the results of other real images in that comparison."""

    bank: NDArray[np.float32]  # [M, D], features of training images
    centres: NDArray[np.float64]  # of the bins
    whiten: NDArray[np.float64]  # [D, D], for Vendi
    others: int  # number of other real images, on which most results depend
    spread: float
    vendi: float
    distance: float
    nearest: float


class Probe:
    """Measures a training, always with the same latents and the same real images, at most `n` of each kind."""

    def __init__(self, dataset: Dataset, extraction: Extraction, n: int, seed: int) -> None:
        self.dataset, self.extraction, self.n, self.seed = dataset, extraction, n, seed
        self.rows = some(dataset.count(), n, rng.key(seed, "guard"))
        self.held_out = next((split for split in ("val", "test") if dataset.count(split) >= MIN_IMAGES), None)
        self.rows_held_out = some(dataset.count(self.held_out or ""), n, rng.key(seed, "guard"))
        self.tone = tones(dataset.images(self.rows))
        self.real = self._calibrated()

    @torch.no_grad()
    def measure(self, step: AdversarialStep, stats: Stats, sign: float) -> Signals:
        """`stats` are those of the measured step just before; `sign` is the mean sign of D(real)."""
        numbers = [*stats.values(), *(weight for learner in (step.g, step.d) for weight in learner.weights)]
        if not all_finite(numbers):
            return Signals.unseen()
        restore = snapshot(step.buffers)
        fakes, finite, on_fake = self._fakes(step)
        on_real = self._judged(step, "train", self.rows)
        on_held_out = self._judged(step, self.held_out, self.rows_held_out) if self.held_out else None
        restore()
        if not (finite and all_finite([on_fake, on_real])):
            return Signals.unseen()
        lead = float(on_real.mean() - on_fake.mean())
        pictures = fakes.permute(0, 2, 3, 1).numpy()
        tone = dict.fromkeys(tone_metric.NUMBERS, math.nan)
        tone |= {name: number.value for name, number in compared(tones(pictures), self.tone).items()}
        return Signals(
            finite=True,
            **{name: float(stats[name]) for name in MOVES},
            sign=sign,
            auc=area(on_real, on_fake),
            gap=math.nan if on_held_out is None or lead <= 0 else float(on_real.mean() - on_held_out.mean()) / lead,
            gap_auc=math.nan if on_held_out is None else area(on_real, on_held_out),
            **self._compared(self._features(Images.generated(pictures))),
            **tone,
        )

    def _fakes(self, step: AdversarialStep) -> tuple[Tensor, bool, Tensor]:
        """uint8 [n, C, H, W], whether they were finite, and D's logits [n]; one micro-batch at a time on the device."""
        made, finite, logits = [], True, []
        size = step.g.micro_batch
        for first in range(0, self.n, size):
            y = step.stream.labels(first, size)
            rng.seed(self.seed, first, "guard")
            z = torch.randn(size, step.config.net.latent).to(step.device)
            images = step.g.net(z, None if y is None else y.to(step.device))
            finite = finite and all_finite([images])
            made.append(to_uint8(images.float()).cpu())
            logits.append(self._logits(step, images, y, first))
        return torch.cat(made)[: self.n], finite, torch.cat(logits)[: self.n]

    def _judged(self, step: AdversarialStep, split: str, rows: NDArray[np.int64]) -> Tensor:  # logits [n]
        logits, size = [], step.d.micro_batch
        # Whole micro-batches, as in training: D's logits may depend on the batch.
        for first in range(0, len(rows), size):
            part = rows.take(range(first, first + size), mode="wrap")
            images = to_float(torch.from_numpy(self.dataset.images(part, split)).permute(0, 3, 1, 2).to(step.device))
            y = torch.from_numpy(self.dataset.labels(part, split)) if step.stream.with_labels else None
            logits.append(self._logits(step, images if step.growth is None else step.growth.faded(images), y, first))
        return torch.cat(logits)[: len(rows)]

    def _logits(self, step: AdversarialStep, images: Tensor, y: Tensor | None, first: int) -> Tensor:
        rng.seed(self.seed, first, "guard")  # the same augmentation for all kinds of images
        return step.judge(images, None if y is None else y.to(step.device)).logits.float().cpu()

    def _features(self, images: Images) -> NDArray[np.float32]:  # [N, D]
        return self.extraction.features(images).pooled

    def _compared(self, features: NDArray[np.float32]) -> dict[str, float]:
        real, few = self.real, features[: self.real.others]
        bins = ndb.sort_into_bins(real.bank, few, real.centres)
        return {
            "spread": ratio(spread(few), real.spread),
            "vendi": kinds(few, real.whiten) / real.vendi,
            "ndb": float(ndb.different(bins).mean()),
            "distance": ratio(frechet.from_features(real.bank, few), real.distance),
            "nearest": ratio(float(np.median(neighbours(features, real.bank).distance)), real.nearest),
        }

    def _calibrated(self) -> _Real:
        """Real images against real ones: the held-out ones or, if there are too few, half of the training images."""
        rows = some(self.dataset.count(), MAX_BANK, rng.key(self.seed, "real"))
        bank = rest = self._kept(rows, "train")
        if self.held_out:
            others = self._kept(self.rows_held_out, self.held_out)
            near = neighbours(others, bank).distance
        else:
            order = np.random.default_rng(self.seed).permutation(len(bank))
            half = min(self.n, len(bank) // 2)
            others, rest = bank[order[:half]], bank[order[half:]]
            near = nearest_distances(bank)
        _, whiten = vendi.whitening(rest)
        return _Real(
            bank,
            ndb.centres_of(rest, BINS, self.seed),
            whiten,
            len(others),
            spread(others),
            kinds(others, whiten),
            frechet.from_features(rest, others),
            float(np.median(near)),
        )

    def _kept(self, rows: NDArray[np.int64], split: str) -> NDArray[np.float32]:  # [N, D], cached
        content, name = verified_hash(self.dataset), self.dataset.name
        images = Images(lambda rows: self.dataset.images(rows, split), rows, None, name, content, split)
        return self.extraction.cached(images).pooled


def area(
    higher: Tensor,  # [N]
    lower: Tensor,  # [M]
) -> float:
    """The area under the ROC curve: how often a value of `higher` is above one of `lower`, a tie counting half."""
    differences = higher[:, None] - lower[None]
    return float((differences > 0).double().mean() + (differences == 0).double().mean() / 2)


def ratio(value: float, of: float) -> float:
    """NaN where real images do not differ, for example copies of one image."""
    return value / of if of > MIN_DISTANCE else math.nan


def spread(
    features: NDArray[np.float32],  # [N, D]
) -> float:
    """The mean distance between two of them."""
    return float(torch.pdist(torch.from_numpy(features).double()).mean())


def nearest_distances(
    features: NDArray[np.float32],  # [N, D]
) -> NDArray[np.float64]:  # [N]
    """The distance of each to the nearest other one."""
    rows = torch.from_numpy(features).double()
    distances: NDArray[np.float64] = torch.cdist(rows, rows).fill_diagonal_(math.inf).amin(1).numpy()
    return distances


def kinds(
    features: NDArray[np.float32],  # [N, D]
    whiten: NDArray[np.float64],  # [D, D]
) -> float:
    """The Vendi score around their own mean: relative to the real images' mean, those of an untrained G all lie on one
    side.
    """
    return vendi.vendi((features - features.mean(axis=0, dtype=np.float64)) @ whiten).value


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether none of them contains NaN or infinity."""
    return all(bool(torch.isfinite(each).all()) for each in tensors)
