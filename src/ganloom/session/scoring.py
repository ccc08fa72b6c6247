"""Cheap scores while training: the EMA generator against training images, in the features of the built-in encoder.

Scores change nothing about the training, unless a `plateau` schedule with `score` or early stopping is asked for.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from ganloom import metrics
from ganloom.config import Evaluate
from ganloom.config.sections import Plateau
from ganloom.core import rng
from ganloom.core.errors import ConfigError, ModelError
from ganloom.core.names import nearest
from ganloom.core.phases import phase
from ganloom.core.pictures import to_uint8
from ganloom.data.dataset import Dataset
from ganloom.data.identity import verified_hash
from ganloom.metrics.contract import Images, ImageSet, Inputs
from ganloom.metrics.extraction import NO_PROGRESS, Extraction, Progress
from ganloom.metrics.extractors import loomnet
from ganloom.metrics.meanings import MEANINGS, is_better
from ganloom.metrics.noise import AFFECTED, SUSPICIOUS, Reaction, reaction_to_noise
from ganloom.metrics.pairs import some
from ganloom.metrics.scores import label
from ganloom.models import modelfile
from ganloom.models.generate import generate_floats
from ganloom.runs import RunFolder
from ganloom.session.intervals import NEVER
from ganloom.tracking.jsonl import read_log

__all__ = ["Scorer", "check", "drop_infeasible"]

FEATURES = {"features"}


def check(settings: Evaluate, schedules: Sequence[object]) -> None:
    """Raises `ConfigError` for metrics that need more than features, for a `best` that they do not produce, and for
    schedules that follow scores where there are none.
    """
    if settings.every == NEVER and any(isinstance(each, Plateau) and each.score for each in schedules):
        raise ConfigError("a plateau schedule with score=true needs scores: set evaluate.every=null, or an interval.")
    for name in settings.metrics:
        if not _is_cheap(name):
            cheap = ", ".join(filter(_is_cheap, metrics.names()))
            by = ", by the inception network," if name in metrics.DEFINED_BY_INCEPTION else ""
            raise ConfigError(f"evaluate.metrics: {name}{by} is too costly while training. Choose from {cheap}.")
    given = [key for name in settings.metrics for key in metrics.find(name).NUMBERS if MEANINGS[key].better]
    if settings.best not in given:
        raise ConfigError(
            f"evaluate.best: {settings.best} is not a score of evaluate.metrics of which lower or higher "
            f"is better. {nearest(settings.best, given)}"
        )


def _is_cheap(name: str) -> bool:
    """While training the network is the built-in one, whose distance is called fd."""
    return metrics.find(name).NEEDS <= FEATURES and name not in metrics.DEFINED_BY_INCEPTION


def drop_infeasible(settings: Evaluate, images: int) -> tuple[Evaluate, str]:
    """Without the metrics that need more images than there are, and why. Without `best`, nothing is scored at all."""
    lacking = [name for name in settings.metrics if min(images, settings.n) < metrics.find(name).MIN_IMAGES]
    if not lacking:
        return settings, ""
    kept = [name for name in settings.metrics if name not in lacking]
    least = max(metrics.find(name).MIN_IMAGES for name in lacking)
    why = f"{', '.join(lacking)} left out while training: {least} images are needed, and there are {images}"
    if not any(settings.best in metrics.find(name).NUMBERS for name in kept):
        return settings.model_copy(update={"every": NEVER}), f"{why}, so there are no scores"
    return settings.model_copy(update={"metrics": tuple(kept)}), why


class Scorer:
    """Measures a generator against some of the training images, always the same ones."""

    def __init__(self, settings: Evaluate, dataset: Dataset, latent: int, seed: int, device: torch.device) -> None:
        self.settings, self.latent, self.seed = settings, latent, seed
        self.extraction = Extraction(loomnet.load().to(device), device)
        self.class_names = dataset.class_names
        rows = some(dataset.count(), settings.n, rng.key(seed, "real"))
        reals = Images(dataset.images, rows, None, dataset.name, verified_hash(dataset), "train")
        self.real = ImageSet(reals, self.extraction.cached)

    def prepare(self) -> None:
        """Compute the features of the real images now rather than at the first measurement."""
        self.real.features  # noqa: B018

    def measure(
        self,
        G: nn.Module,
        y: torch.Tensor | None,  # int64 [n] or float [n, K]
    ) -> dict[str, float]:
        """Scores by label, such as fd[loomnet-1]@2000; all NaN where G's images are not finite."""
        with phase("scoring") as progress:
            fake, finite = self.extract_generated(G, y, self.settings.n, progress)
            scores = self.compare(fake)
        return {self.label(key): value if finite else math.nan for key, value in scores.items()}

    def extract_generated(
        self, G: nn.Module, y: torch.Tensor | None, n: int, progress: Progress = NO_PROGRESS
    ) -> tuple[ImageSet, bool]:
        """`n` images of G with their features, and whether all were finite. `progress` counts both halves."""
        finite, made = True, []
        for part in generate_floats(G, self.latent, n, self.seed, y):
            finite = finite and bool(torch.isfinite(part).all())
            made.append(to_uint8(part).cpu())
            progress(sum(map(len, made)) // 2, n)
        pictures = torch.cat(made).permute(0, 2, 3, 1).numpy()
        self.extraction.progress = lambda done, total: progress((n + done) // 2, n)
        fake = ImageSet(Images.generated(pictures), self.extraction.features)
        fake.features  # noqa: B018
        return fake, finite

    def compare(self, fake: ImageSet) -> dict[str, float]:
        """The numbers of the metrics, by name."""
        comparison = Inputs(
            real=self.real,
            fake=fake,
            training=self.real,
            held_out=None,
            generator=None,
            extract=lambda images: self.extraction(images)[0],
            class_names=self.class_names,
            seed=self.seed,
        )
        found = [metrics.find(name).measure(comparison) for name in self.settings.metrics]
        return {key: estimate.value for each in found for key, estimate in each.items()}

    def no_guide(self, scores: Mapping[str, float]) -> str:
        """Which of the scores say nothing about this generator, and why; empty if they do.

        Only looked for where precision is near 0: then somebody would wonder.
        """
        if not scores.get(self.label("precision"), 1.0) < SUSPICIOUS or not (found := self._reaction):
            return ""
        names = [name for name in AFFECTED if self.label(name) in scores]
        return f"{', '.join(names)}: {found.text}" if found.is_blinded else ""

    @cached_property
    def _reaction(self) -> Reaction | None:
        return reaction_to_noise(self.real, lambda images: self.extraction.features(images).pooled)

    def cost(self, scores: Mapping[str, float]) -> float:
        """The number that says what is best, as one of which lower is better; NaN where it is missing."""
        value = scores.get(self.label(self.settings.best), math.nan)
        return value if MEANINGS[self.settings.best].better == "lower" else -value

    def since_best(self, run: RunFolder) -> int:
        """Evaluations in the log since the one of the model kept as the best."""
        name = self.label(self.settings.best)
        try:
            best = modelfile.read_header(run.best).training.get("nimg", 0)
        except ModelError:
            best = 0
        return sum(name in row and row["nimg"] > best for row in read_log(run.log))

    def evaluated_at(self, run: RunFolder) -> int:
        """The images of the last scores in the log; 0 where there are none."""
        name = self.label(self.settings.best)
        return max((row["nimg"] for row in read_log(run.log) if name in row), default=0)

    def label(self, key: str) -> str:
        return label(key, self.extraction.extractor.id, self.settings.n)

    def is_best(self, scores: dict[str, float], best: Path) -> bool:
        """Whether the chosen score is better than that of the model kept as the best, if there is one."""
        name = self.label(self.settings.best)
        if not math.isfinite(scores.get(name, math.nan)):
            return False
        try:
            kept = modelfile.read_header(best).training
        except ModelError:  # none yet, or one that is damaged
            return True
        before = kept.get("best", {}).get(name)
        return before is None or is_better(self.settings.best, scores[name], before)
