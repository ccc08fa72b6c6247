"""Evaluate: from what a person asked for to scores with their provenance."""

import datetime
import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganloom import __version__, metrics
from ganloom.core.device import choose_device, device_name
from ganloom.core.errors import ConfigError, DataError, StorageError
from ganloom.core.files import storage_errors
from ganloom.core.pictures import save_png
from ganloom.core.terminal import log, progress_bar
from ganloom.evaluation.inputs import GENERATED, Subject, chosen, generated, open_subject, whole_split
from ganloom.metrics import DEFINED_BY_INCEPTION, extractors
from ganloom.metrics.contract import NEEDED, Features, Images, ImageSet, Inputs
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors.contract import Extractor
from ganloom.metrics.extractors.perceptual import load_lpips
from ganloom.metrics.scores import Score, differences, label, read_scores, write_scores

__all__ = ["evaluate"]

DEFAULT_METRICS = ("fd", "kid", "prdc", "vendi", "ndb", "ms-ssim", "memorisation")
DEFAULT_EXTRACTOR = "loomnet-1"
MAX_IMAGES = 10_000  # generated images, when nobody says how many
OF_FEATURES = {"features", "logits"}


def evaluate(
    target: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    metrics: str | Sequence[str] | None = None,
    n: int | None = None,
    n_real: int | None = None,
    split: str = "train",
    extractor: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    lpips_weights: str | os.PathLike[str] | None = None,
    per_class: bool = False,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    trust_code: bool = False,
) -> list[Score]:
    """Measure a run, a model file or a folder of generated images against real images.

    Without `metrics` those that fit; without `extractor` inception where `fid` or `is` is asked for, else the built-in
    loomnet-1. `n` generated images (as many as there are real ones, at most 10,000) are held against `n_real` of the
    split (all, at most n). Scores go to `out`, or into the run. `trust_code` runs the code that a model or a run brings
    along. Raises `GanloomError`, and then there is no number.
    """
    if not 0 <= seed < 2**32:
        raise ConfigError(f"a seed is a number from 0 to {2**32 - 1:,}, not {seed}.")
    asked = _asked(metrics)
    where = choose_device(device)
    network = _network(asked, extractor, weights).to(where)
    perceptual = None if lpips_weights is None else load_lpips(Path(lpips_weights))
    home = None if out is None else _writable(Path(out))
    real = None if data is None else os.fspath(data)
    subject = open_subject(Path(target).expanduser(), real, where, trust_code=trust_code)
    if subject.run:
        read_scores(subject.run.scores)  # a damaged file is better known before than after
    if subject.run and home is None:
        _writable(subject.run.scores)
    candidates, training = whole_split(subject.reals, split), whole_split(subject.reals, "train")
    there = None if subject.folder is None else subject.folder.count()  # a model makes as many as one likes
    count = min(MAX_IMAGES, there or len(candidates)) if n is None else _of("--n", n, there)
    wanted = min(count, len(candidates)) if n_real is None else _of("--n-real", n_real, len(candidates))
    reals = chosen(candidates, wanted, seed)
    log.info(f"generated {count:,} of {subject.name}, {subject.reals.shape}")
    log.info(f"real      {len(reals):,} of {len(candidates):,} in '{split}' of {reals.name}")
    log.info(f"extractor {network.id}, resize {network.resize}, weights {network.weights[:12]}, seed {seed}")
    extraction = Extraction(network, where)

    def features(images: Images) -> Features:
        with progress_bar("features of", images.name) as progress:
            extraction.progress = progress
            if images.split == GENERATED:
                return extraction.features(images)
            return _telling(extraction.cached(images), network)

    held_out = _held_out(subject)
    with generated(subject, count, seed, training) as fakes:
        real_side = ImageSet(reals, features)
        comparison = Inputs(
            real=real_side,
            fake=ImageSet(fakes.images, features),
            training=real_side if len(reals) == len(training) and split == "train" else ImageSet(training, features),
            held_out=None if held_out is None else ImageSet(held_out, features),
            generator=fakes.generator,
            extract=lambda images: extraction(images)[0],
            class_names=subject.reals.class_names,
            seed=seed,
            lpips=perceptual,
        )
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        measuring = _Measuring(subject, network, comparison, device_name(where), seed, now)
        scores = list(measuring.run(asked, per_class))
    _keep(subject, scores, comparison.pictures, home)
    return scores


def _asked(names: str | Sequence[str] | None) -> list[str] | None:
    """Names of known metrics, each metric once."""
    if names is None:
        return None
    listed = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
    if not any(listed):
        raise ConfigError("name at least one metric, or leave --metrics out for those that fit.")
    first = {id(metrics.find(name)): name for name in reversed(listed)}  # fd and fid are one
    return [name for name in dict.fromkeys(listed) if name in first.values()]


def _network(asked: Sequence[str] | None, extractor: str | None, weights: str | os.PathLike[str] | None) -> Extractor:
    """The extractor that was named, or that the metrics are defined by, or the built-in one."""
    defined = [name for name in asked or () if name in DEFINED_BY_INCEPTION]
    name = extractor or ("inception" if defined else DEFAULT_EXTRACTOR)
    if defined and name != "inception":
        known_as = "In other features the distance is called fd. " if "fid" in defined else ""
        raise ConfigError(f"'{defined[0]}' is defined by the inception network. {known_as}Leave out --extractor.")
    return extractors.find(name, None if weights is None else Path(weights))


def _of(flag: str, asked: int, there: int | None) -> int:
    if there is not None and asked > there:
        raise DataError(f"{flag} {asked} is more than the {there:,} images there are.")
    return asked


def _telling(features: Features, network: Extractor) -> Features:
    """Raises `DataError` for features that say the same of every image: all distances would be 0, and look perfect."""
    if len(features.pooled) > 1 and not np.ptp(features.pooled, axis=0).any():
        raise DataError(f"{network.id} sees no difference between any two of the real images: nothing can be measured.")
    return features


def _held_out(subject: Subject) -> Images | None:
    """Real images that were not trained on: `val` where it is enough for every metric, or else the larger of `val` and
    `test` (of Kaggle's chest X-rays `val` has 16). None where what was trained on is not known.
    """
    if not subject.knows_training:
        return None
    enough = max(metrics.find(name).MIN_IMAGES for name in metrics.names() if "held out" in metrics.find(name).NEEDS)
    val, test = (subject.reals.count(name) for name in ("val", "test"))
    split = "val" if val >= min(enough, test) else "test"
    return whole_split(subject.reals, split) if val or test else None


def _writable(out: Path) -> Path:
    """Before anything is measured: raises `StorageError` where no file can be written."""
    with storage_errors(out, "Name another file with --out."):
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(out))
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            return out


def _lacks(name: str, comparison: Inputs, network: Extractor) -> str:
    """Why a metric cannot be measured here, or nothing."""
    metric = metrics.find(name)
    there = {
        "features": True,
        "logits": network.is_classifier,
        "labels": _is_labelled(comparison.real),
        "fake labels": _is_labelled(comparison.fake),
        "held out": comparison.held_out is not None
        and ("labels" not in metric.NEEDS or _is_labelled(comparison.held_out)),
        "generator": comparison.generator is not None,
        "lpips": comparison.lpips is not None,
    }
    for need in sorted(metric.NEEDS):
        if not there[need]:
            return f"it needs {NEEDED[need]}"
    sides = {"generated": comparison.fake, "real": comparison.real}
    if "held out" in metric.NEEDS and comparison.held_out is not None:
        sides["held-out"] = comparison.held_out
    for which, side in sides.items():
        if len(side) < metric.MIN_IMAGES:
            more = {"held-out": " (data.holdout of a training holds out more)", "generated": " (--n)"}.get(which, "")
            return f"it needs {metric.MIN_IMAGES} {which} images, and there are {len(side)}{more}"
    return ""


def _is_labelled(side: ImageSet) -> bool:
    return side.labels is not None and side.labels.ndim == 1 and bool((side.labels >= 0).any())


@dataclass(frozen=True)
class _Measuring:
    """One evaluation: metrics of one comparison, each number with its provenance."""

    subject: Subject
    network: Extractor
    comparison: Inputs
    device: str
    seed: int
    created: str

    def run(self, asked: Sequence[str] | None, per_class: bool) -> Iterator[Score]:
        """Scores in the order of the metrics. What was asked for and cannot be measured is refused before anything
        is; of a default metric that does not fit it is said why. Raises `DataError`.
        """
        lacks = {name: _lacks(name, self.comparison, self.network) for name in asked or DEFAULT_METRICS}
        missing = [f"{name} cannot be measured here: {reason}." for name, reason in lacks.items() if reason]
        if missing and (asked or len(missing) == len(lacks)):
            raise DataError("\n".join(missing))
        if per_class:
            self.check_classes()
        for name, reason in lacks.items():
            if reason:
                log.info(f"left out  {name}: {reason}")
                continue
            try:
                scores = list(self.measure(name, self.comparison, None))
            except DataError as error:
                if asked:
                    raise
                log.info(f"left out  {name}: {error}")
                continue
            for score in scores:
                log.info(f"{score.name:<34} {score.text}")
                yield score
            if per_class and frozenset() < metrics.find(name).NEEDS <= OF_FEATURES:
                yield from self.of_classes(name)

    def check_classes(self) -> None:
        for need, side in (("labels", self.comparison.real), ("fake labels", self.comparison.fake)):
            if not _is_labelled(side):
                raise DataError(f"--per-class cannot be measured here: it needs {NEEDED[need]}.")

    def of_classes(self, name: str) -> Iterator[Score]:
        """The same metric class by class."""
        real, fake = self.comparison.real, self.comparison.fake
        for number, class_name in enumerate(self.comparison.class_names):
            sides = [side.only(np.flatnonzero(np.asarray(side.labels) == number)) for side in (real, fake)]
            part = replace(self.comparison, real=sides[0], fake=sides[1], training=sides[0], held_out=None)
            if lacks := _lacks(name, part, self.network):
                log.info(f"left out  {name} of {class_name}: {lacks}")
                continue
            for score in self.measure(name, part, class_name):
                log.info(f"{score.name:<34} {score.text}")
                yield score

    def measure(self, name: str, comparison: Inputs, class_name: str | None) -> Iterator[Score]:
        metric = metrics.find(name)
        in_features = metric.NEEDS & OF_FEATURES
        eye = self.network if in_features else comparison.lpips if "lpips" in metric.NEEDS else None
        held_out = comparison.held_out if "held out" in metric.NEEDS else None
        n, subject = len(comparison.fake), self.subject
        for key, estimate in metric.measure(comparison).items():
            yield Score(
                metric=key,
                label=label(key, self.network.id if in_features else None, n),
                value=_finite(key, estimate.value),
                low=estimate.low,
                high=estimate.high,
                class_name=class_name,
                extractor=eye and eye.id,
                weights=eye and eye.weights,
                resize=eye and eye.resize,
                shape=str(subject.reals.shape),
                n_real=len(comparison.real),
                n_generated=n,
                split=comparison.real.images.split,
                held_out=None if held_out is None else held_out.images.split,
                seed=self.seed,
                model=subject.hash,
                nimg=subject.nimg,
                generated=subject.name,
                dataset=subject.reals.name,
                content_hash=subject.reals.content_hash,
                ganloom=__version__,
                torch=torch.__version__,
                device=self.device,
                created=self.created,
            )


def _finite(key: str, value: float) -> float:
    if not np.isfinite(value):
        raise DataError(f"{key} of these images is not a finite number: they are too few, or all alike.")
    return value


def _keep(
    subject: Subject,
    scores: Sequence[Score],
    pictures: Mapping[str, Tensor],
    out: Path | None,
) -> None:
    """Scores into the run's folder, in place of older ones of the same name and protocol, and into `out`."""

    def keep(path: Path, kept: Sequence[Score], place: Callable[[str], Path]) -> None:
        write_scores(path, kept)
        log.info(f"scores    {path}")
        for name, picture in pictures.items():
            file = place(name)
            with storage_errors(file):
                file.parent.mkdir(parents=True, exist_ok=True)
            save_png(file, picture)
            log.info(f"picture   {file}")

    if out is not None:
        keep(out, scores, lambda name: out.with_name(f"{out.stem}-{name}.png"))
    if (run := subject.run) is not None:
        try:
            before = read_scores(run.scores)  # now: another evaluation may have come between
            others = [old for old in before if not any(_replaces(new, old) for new in scores)]
            keep(run.scores, [*others, *scores], run.picture)
        except StorageError as error:
            if out is None:
                raise
            log.info(f"note: not kept in the run: {error}")
    elif out is None:
        log.info("not kept: --out FILE writes the scores")


def _replaces(new: Score, old: Score) -> bool:
    return new.name == old.name and new.seed == old.seed and not differences(new, old)
