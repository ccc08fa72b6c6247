"""What a look at a training sees: a few numbers of its health, from a few hundred images. A look leaves no trace."""

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
from ganloom.metrics import frechet, ndb, vendi
from ganloom.metrics.contract import Images
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.memorisation import neighbours
from ganloom.metrics.pairs import some
from ganloom.training.buffers import snapshot
from ganloom.training.step import AdversarialStep, Stats

__all__ = ["MOVES", "Eye", "Signals", "all_finite"]

BANK = 2000  # training images, at most, that features are compared with
BINS = 25  # of k-means: ten images of a look in each
NOTHING = 1e-6  # of distances between features, each of a deviation of about 1
LEAST = 50  # held-out images: fewer say nothing
MOVES = ("update_g", "update_d")  # what a measured step says of its two updates


@dataclass(frozen=True)
class Signals:
    """NaN is what cannot be known: of D on held-out images where none are held out, of images that are no numbers."""

    finite: bool  # losses, gradients, weights and images
    update_g: float  # norm of the last update over that of the weights
    update_d: float
    sign: float  # mean sign of D(real) since the last look: 1 where D is sure of every training image
    auc: float  # how often D takes a real image for more real than a generated one; 0.5 where it cannot tell
    gap: float  # how far D's mean falls from training to held-out images, of how far it falls to generated ones
    gap_auc: float  # how often D takes a training image for more real than a held-out one
    spread: float  # mean distance of two generated images' features, over that of two real ones
    vendi: float  # Vendi score over that of as many real images
    ndb: float  # share of bins that generated images fill otherwise than real ones
    distance: float  # Frechet distance to the training images, over that of other real images
    nearest: float  # median distance to the nearest training image, over that of held-out images

    def row(self) -> dict[str, float]:
        """As columns of the log."""
        return {f"guard_{name}": float(value) for name, value in asdict(self).items() if name not in MOVES}

    @classmethod
    def unseen(cls) -> "Signals":
        """Of a training whose numbers are none any more."""
        return cls(False, *[math.nan] * (len(fields(cls)) - 1))


class _Real(NamedTuple):
    """What generated images are compared with, and what other real images say in that comparison."""

    bank: NDArray[np.float32]  # [M, D], features of training images
    centres: NDArray[np.float64]  # of the bins
    whiten: NDArray[np.float64]  # [D, D], for Vendi
    others: int  # real images: most numbers change with how many
    spread: float
    vendi: float
    distance: float
    nearest: float


class Eye:
    """Looks at a training, always with the same latents and the same real images, at most `n` of each kind."""

    def __init__(self, dataset: Dataset, extraction: Extraction, n: int, seed: int) -> None:
        self.dataset, self.extraction, self.n, self.seed = dataset, extraction, n, seed
        self.rows = some(dataset.count(), n, rng.key(seed, "guard"))
        self.held_out = next((split for split in ("val", "test") if dataset.count(split) >= LEAST), None)
        self.rows_held_out = some(dataset.count(self.held_out or ""), n, rng.key(seed, "guard"))
        self.real = self._calibrated()

    @torch.no_grad()
    def look(self, step: AdversarialStep, stats: Stats, sign: float) -> Signals:
        """`stats` are those of a measured step that has just been taken."""
        numbers = [*stats.values(), *(weight for learner in (step.g, step.d) for weight in learner.weights)]
        if not all_finite(numbers):
            return Signals.unseen()
        restore = snapshot(step.buffers)
        fakes, finite, on_fake = self._fakes(step)
        on_real = self._judged(step, "train", self.rows)
        unseen = self._judged(step, self.held_out, self.rows_held_out) if self.held_out else None
        restore()
        if not (finite and all_finite([on_fake, on_real])):
            return Signals.unseen()
        lead = float(on_real.mean() - on_fake.mean())
        features = self._features(Images.generated(fakes.permute(0, 2, 3, 1).numpy()))
        return Signals(
            finite=True,
            **{name: float(stats[name]) for name in MOVES},
            sign=sign,
            auc=area(on_real, on_fake),
            gap=math.nan if unseen is None or lead <= 0 else float(on_real.mean() - unseen.mean()) / lead,
            gap_auc=math.nan if unseen is None else area(on_real, unseen),
            **self._compared(features),
        )

    def _fakes(self, step: AdversarialStep) -> tuple[Tensor, bool, Tensor]:
        """uint8 [n, C, H, W], whether they were numbers, and D's logits [n]; never many on the device."""
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
        # Whole micro-batches, as in training: what D says of an image depends on how many it comes with.
        for first in range(0, len(rows), size):
            part = rows.take(range(first, first + size), mode="wrap")
            images = to_float(torch.from_numpy(self.dataset.images(part, split)).permute(0, 3, 1, 2).to(step.device))
            y = torch.from_numpy(self.dataset.labels(part, split)) if step.stream.with_labels else None
            logits.append(self._logits(step, images if step.growth is None else step.growth.faded(images), y, first))
        return torch.cat(logits)[: len(rows)]

    def _logits(self, step: AdversarialStep, images: Tensor, y: Tensor | None, first: int) -> Tensor:
        rng.seed(self.seed, first, "guard")  # one augmentation for all kinds of images
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
        """Real images against real ones: the held-out ones or, where there are few, one half of the training images."""
        rows = some(self.dataset.count(), BANK, rng.key(self.seed, "real"))
        bank = rest = self._kept(rows, "train")
        if self.held_out:
            others = self._kept(self.rows_held_out, self.held_out)
            near = neighbours(others, bank).distance
        else:
            order = np.random.default_rng(self.seed).permutation(len(bank))
            half = min(self.n, len(bank) // 2)
            others, rest = bank[order[:half]], bank[order[half:]]
            near = apart(bank)
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

    def _kept(self, rows: NDArray[np.int64], split: str) -> NDArray[np.float32]:  # [N, D], from the cache or now
        content, name = self.dataset.content_hash, self.dataset.name
        images = Images(lambda rows: self.dataset.images(rows, split), rows, None, name, content, split)
        return self.extraction.cached(images).pooled


def area(
    higher: Tensor,  # [N]
    lower: Tensor,  # [M]
) -> float:
    """The area under the ROC curve: how often one of the first is above one of the second, a tie counting half."""
    differences = higher[:, None] - lower[None]
    return float((differences > 0).double().mean() + (differences == 0).double().mean() / 2)


def ratio(value: float, of: float) -> float:
    """NaN where real images do not differ, as copies of each other do not."""
    return value / of if of > NOTHING else math.nan


def spread(
    features: NDArray[np.float32],  # [N, D]
) -> float:
    """The mean distance of two of them."""
    return float(torch.pdist(torch.from_numpy(features).double()).mean())


def apart(
    features: NDArray[np.float32],  # [N, D]
) -> NDArray[np.float64]:  # [N]
    """How far each is from the nearest other one."""
    rows = torch.from_numpy(features).double()
    distances: NDArray[np.float64] = torch.cdist(rows, rows).fill_diagonal_(math.inf).amin(1).numpy()
    return distances


def kinds(
    features: NDArray[np.float32],  # [N, D]
    whiten: NDArray[np.float64],  # [D, D]
) -> float:
    """The Vendi score around their own mean: seen from the real images', those of a young G all lie on one side."""
    return vendi.vendi((features - features.mean(axis=0, dtype=np.float64)) @ whiten).value


def all_finite(tensors: Sequence[Tensor]) -> bool:
    return all(bool(torch.isfinite(each).all()) for each in tensors)
