"""Evaluate: measure generated images, and store each score with its provenance."""

import datetime
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ganloom import metrics
from ganloom.core import rng
from ganloom.core.device import choose_device, device_name
from ganloom.core.errors import ConfigError, DataError
from ganloom.core.files import user_path
from ganloom.core.memory import memory_errors
from ganloom.core.names import in_its_case
from ganloom.core.phases import phase
from ganloom.core.public import public
from ganloom.core.terminal import log, shown
from ganloom.core.version import __version__
from ganloom.core.words import counted
from ganloom.data.identity import verified_hash
from ganloom.evaluation.inputs import GENERATED, Subject, chosen, generated, open_subject, whole_split
from ganloom.evaluation.overlap import report_overlap
from ganloom.evaluation.presenting import lines
from ganloom.evaluation.storage import check_storage, store, writable
from ganloom.evaluation.targets import size_of
from ganloom.metrics import DEFINED_BY_INCEPTION, extractors
from ganloom.metrics.contract import NEEDED, Features, Images, ImageSet, Inputs
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors.contract import Extractor
from ganloom.metrics.extractors.perceptual import load_lpips
from ganloom.metrics.noise import AFFECTED, SUSPICIOUS, reaction_to_noise
from ganloom.metrics.scores import Score, Scores, label
from ganloom.synthesis.best import advice

__all__ = ["evaluate"]

DEFAULT_METRICS = ("fd", "kid", "prdc", "vendi", "ndb", "ms-ssim", "memorisation", "tone", "texture")
DEFAULT_EXTRACTOR = "loomnet-1"
MAX_IMAGES = 10_000  # generated images by default
OF_FEATURES = {"features", "logits"}
FEWER = "Use fewer images (--n, --n-real), or an extractor with fewer features (--extractor), or close other programs."


@public
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
    size: int | str | tuple[int, int] | None = None,
    per_class: bool = False,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    trust_code: bool = False,
    verbose: bool = False,
) -> Scores:
    """Measure how good generated images are, by comparing them with real ones.

    Generated images are first rounded to uint8 [N, H, W, C], as in a PNG file. Most metrics compare images in the
    features [N, D] of a frozen network, the extractor. Scores have a 95 % confidence interval where one is defined, and
    all that is needed to measure them again: extractor, hashes, counts, split, seed and versions.

    Scores of a run are stored in its folder once all are measured, in place of older ones with the same name, seed and
    conditions.

    Args:
        target: the generated images: a run folder or its folder `best`, a model.safetensors, or a folder of images of
            one size.
        data: the real images: anything that `ganloom.prepare` takes, prepared to the size and channels of the generated
            ones. By default those that the run was trained on; a model file or a folder of images needs `data`.
        metrics: names such as "fd,kid" or ["fd", "kid"]; docs/evaluation.md lists all. By default those of fd, kid,
            prdc, vendi, ndb, ms-ssim, memorisation, tone and texture that can be measured. If a named metric cannot,
            none is measured.
        n: number of generated images. By default as many as there are real ones, or all images of a folder; at most
            10,000.
        n_real: number of real images, chosen by the seed. By default as many as generated ones, if there are as many.
        split: split of the real images: train, val or test.
        extractor: loomnet-1, inception, inception-clean, dinov2, a .pt or .onnx file, or `module:callable`. By default
            inception for `fid` and `is`, else loomnet-1.
        weights: file with the weights of inception, inception-clean or dinov2. Without it, those of inception are
            taken from `GANLOOM_WEIGHTS` or the cache, or downloaded.
        lpips_weights: folder with the weights of AlexNet and LPIPS, for `lpips`.
        size: compare two folders of images at this size, 64, "48x64" or (height, width); by default at that of the real
            ones. A model is always compared at the size that it was trained for.
        per_class: measure each class too, with every metric that only needs features.
        seed: seed of the generated images and of every random choice, 0 to 2**32 - 1. On one machine, the same seed
            gives the same scores.
        out: a JSON file to write the scores to. Pictures, such as that of `memorisation`, go beside it.
        device: auto, cpu, cuda, cuda:N or mps.
        trust_code: run the code in the model or run, if it has a custom network or source of images.
        verbose: show progress and scores on the terminal. Otherwise nothing is printed: lines go to the logger
            `ganloom`.

    Returns:
        The scores in the order of the metrics. `scores["fd"]` is the value of a metric. No value has a unit; shares and
            accuracies go from 0 to 1, not to 100.

    Raises:
        ConfigError: for an unknown metric, extractor or seed, or options that do not fit together.
        DataError: for images that are missing or too few, and for a named metric that cannot be measured.
        ModelError: for a model or weights that cannot be used, and for a model that generates NaN or infinite values.
        RunError: for a run that is damaged, or whose images have changed.
        DeviceError: for a device that this machine does not have.
        StorageError: if the scores cannot be written.

    >>> import ganloom
    >>> scores = ganloom.evaluate("runs/photos", metrics="fd,kid", n=100, device="cpu")
    >>> [score.label for score in scores]
    ['fd[loomnet-1]@100', 'kid[loomnet-1]@100']
    >>> scores["fd"] > 0
    True

    """
    where = choose_device(device)
    with shown(verbose), rng.preserved(), memory_errors(f"evaluating {target}", FEWER):
        if not 0 <= seed < 2**32:
            raise ConfigError(f"the seed must be between 0 and {2**32 - 1:,}, not {seed}.")
        names = _metric_names(metrics)
        with phase("loading the extractor"):
            network = _extractor(names, extractor, weights).to(where)
            perceptual = None if lpips_weights is None else load_lpips(Path(lpips_weights))
        destination = None if out is None else writable(user_path(out))
        real = None if data is None else os.fspath(data)
        with phase(f"opening {target}"):
            subject = open_subject(user_path(target), real, where, size=size_of(size), trust_code=trust_code)
        check_storage(subject, destination)
        candidates, training = whole_split(subject.reals, split), whole_split(subject.reals, "train")
        available = None if subject.folder is None else subject.folder.count()  # a model can make any number
        count = min(MAX_IMAGES, available or len(candidates)) if n is None else _checked("--n", n, available)
        wanted = min(count, len(candidates)) if n_real is None else _checked("--n-real", n_real, len(candidates))
        reals = chosen(candidates, wanted, seed)
        log.info(f"generated {count:,} of {subject.name}, {subject.reals.shape}")
        log.info(f"real      {len(reals):,} of {len(candidates):,} in '{split}' of {reals.name}")
        log.info(f"extractor {network.id}, resize {network.resize}, weights {network.weights[:12]}, seed {seed}")
        if not network.is_pinned:
            log.info(
                f"note: {network.id} is your own code. Its hash covers the file and the weights of the network that it "
                "returns: if other code or files that it uses change, scores before and after look comparable"
            )
        features = _Features(Extraction(network, where))
        held_out = _held_out(subject)
        with generated(subject, count, seed, training) as fakes:
            if subject.folder is not None:
                with phase("looking for images on both sides"):
                    report_overlap(fakes.images, [whole_split(subject.reals, name) for name in subject.reals.splits])
            compared = ImageSet(reals, features)
            same = split == "train" and len(reals) == len(training)
            inputs = Inputs(
                real=compared,
                fake=ImageSet(fakes.images, features),
                training=compared if same else ImageSet(training, features),
                held_out=None if held_out is None else ImageSet(held_out, features),
                generator=fakes.generator,
                extract=lambda images: features.extraction(images)[0],
                class_names=subject.reals.class_names,
                seed=seed,
                lpips=perceptual,
            )
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            measured = list(_Evaluation(subject, network, inputs, device_name(where), now).run(names, per_class))
            with phase("judging precision"):
                scores = Scores(_explained(measured, inputs, features))
        for line in lines(scores):
            log.info(line)
        if better := advice(user_path(target)):
            log.info(f"note: {better}")
        store(subject, scores, inputs.pictures, destination)
        return scores


def _metric_names(names: str | Sequence[str] | None) -> list[str] | None:
    """The names as a list, each metric once; None for the default metrics. Raises `ConfigError` for an unknown one."""
    if names is None:
        return None
    listed = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
    listed = [in_its_case(name, metrics.names()) for name in listed]
    if not any(listed):
        raise ConfigError("name at least one metric, or omit --metrics for the default ones.")
    first = {id(metrics.find(name)): name for name in reversed(listed)}  # fd and fid are the same metric
    return [name for name in dict.fromkeys(listed) if name in first.values()]


def _extractor(names: Sequence[str] | None, extractor: str | None, weights: str | os.PathLike[str] | None) -> Extractor:
    """The extractor that is named, else the one that defines the metrics, else the built-in one."""
    defined = [name for name in names or () if name in DEFINED_BY_INCEPTION]
    extractor = extractor and in_its_case(extractor, extractors.BUILT_IN)
    chosen_name = extractor or ("inception" if defined else DEFAULT_EXTRACTOR)
    if defined and chosen_name != "inception":
        known_as = "With other extractors the distance is called fd. " if "fid" in defined else ""
        raise ConfigError(f"'{defined[0]}' is defined by the inception network. {known_as}Omit --extractor.")
    return extractors.find(chosen_name, None if weights is None else Path(weights))


def _checked(flag: str, count: int, available: int | None) -> int:
    if available is not None and count > available:
        raise DataError(
            f"{flag} {count} is more than the {counted(available, 'image')} there are: give at most {available}."
        )
    return count


@dataclass(frozen=True)
class _Features:
    """Extracts features with a progress bar; those of real images are cached."""

    extraction: Extraction

    def __call__(self, images: Images) -> Features:
        """Raises `DataError` if all real images have the same features: then all distances are 0, and look perfect."""
        with phase(f"features of {images.name}") as progress:
            self.extraction.progress = progress
            if images.split == GENERATED:
                return self.extraction.features(images)
            features = self.extraction.cached(images)
        if len(features.pooled) > 1 and not np.ptp(features.pooled, axis=0).any():
            raise DataError(
                f"{self.extraction.extractor.id} gives all real images the same features, so nothing can be measured: "
                "use another extractor, or other images."
            )
        return features


def _held_out(subject: Subject) -> Images | None:
    """Real images that were not trained on; None if there are none, or if it is unknown what was trained on.

    They are the split `val` if it has enough images for every metric, else the larger of `val` and `test`: `val` of
    Kaggle's chest X-rays has 16 images.
    """
    if not subject.knows_training:
        return None
    enough = max(metrics.find(name).MIN_IMAGES for name in metrics.names() if "held out" in metrics.find(name).NEEDS)
    val, test = (subject.reals.count(name) for name in ("val", "test"))
    split = "val" if val >= min(enough, test) else "test"
    return whole_split(subject.reals, split) if val or test else None


def _why_not(name: str, inputs: Inputs, network: Extractor) -> str:
    """The reason why a metric cannot be measured, or an empty string."""
    metric = metrics.find(name)
    present = {
        "features": True,
        "logits": network.is_classifier,
        "labels": _is_labelled(inputs.real),
        "fake labels": _is_labelled(inputs.fake),
        "held out": inputs.held_out is not None and ("labels" not in metric.NEEDS or _is_labelled(inputs.held_out)),
        "generator": inputs.generator is not None,
        "lpips": inputs.lpips is not None,
    }
    for need in sorted(metric.NEEDS):
        if not present[need]:
            return f"it needs {NEEDED[need]}"
    sets = {"generated": inputs.fake, "real": inputs.real}
    if "held out" in metric.NEEDS and inputs.held_out is not None:
        sets["held-out"] = inputs.held_out
    remedies = {"generated": " (see --n)", "held-out": " (a training with a larger data.holdout has more)"}
    for which, images in sets.items():
        if len(images) < metric.MIN_IMAGES:
            needed = f"at least {metric.MIN_IMAGES} {which} images"
            return f"it needs {needed}, and there are {len(images)}{remedies.get(which, '')}"
    return ""


def _is_labelled(images: ImageSet) -> bool:
    """Whether it has single labels, and not only -1."""
    return images.labels is not None and images.labels.ndim == 1 and bool((images.labels >= 0).any())


@dataclass(frozen=True)
class _Evaluation:
    """One evaluation: what is compared, and what every score records about it."""

    subject: Subject
    network: Extractor
    inputs: Inputs
    device: str
    created: str

    def run(self, names: Sequence[str] | None, per_class: bool) -> Iterator[Score]:
        """Scores in the order of the metrics.

        Raises `DataError` before anything is measured if a named metric, or every default metric, is impossible. The
        log says why other default metrics are left out.
        """
        reasons = {name: _why_not(name, self.inputs, self.network) for name in names or DEFAULT_METRICS}
        impossible = [f"{name} cannot be measured here: {reason}." for name, reason in reasons.items() if reason]
        if impossible and (names or len(impossible) == len(reasons)):
            raise DataError("\n".join(impossible))
        if per_class:
            self.check_classes()
        for name, reason in reasons.items():
            if reason:
                log.info(f"left out  {name}: {reason}")
                continue
            try:
                with phase(f"measuring {name}"):
                    scores = list(self.measure(name, self.inputs, None))
            except DataError as error:
                if names:
                    raise
                log.info(f"left out  {name}: {error}")
                continue
            yield from scores
            if per_class and frozenset() < metrics.find(name).NEEDS <= OF_FEATURES:
                yield from self.of_classes(name)

    def check_classes(self) -> None:
        """Raise `DataError` unless both the real and the generated images have class labels."""
        for need, images in (("labels", self.inputs.real), ("fake labels", self.inputs.fake)):
            if not _is_labelled(images):
                raise DataError(f"--per-class cannot be measured here: it needs {NEEDED[need]}.")

    def of_classes(self, name: str) -> Iterator[Score]:
        """Scores of a metric for each class that has enough images."""
        both = (self.inputs.real, self.inputs.fake)
        for number, class_name in enumerate(self.inputs.class_names):
            real, fake = (images.only(np.flatnonzero(np.asarray(images.labels) == number)) for images in both)
            part = replace(self.inputs, real=real, fake=fake, training=real, held_out=None)
            if reason := _why_not(name, part, self.network):
                log.info(f"left out  {name} of {class_name}: {reason}")
                continue
            with phase(f"measuring {name} of {class_name}"):
                scores = list(self.measure(name, part, class_name))
            yield from scores

    def measure(self, name: str, inputs: Inputs, class_name: str | None) -> Iterator[Score]:
        """The numbers of one metric. Raises `DataError` if one is not finite."""
        metric = metrics.find(name)
        in_features = metric.NEEDS & OF_FEATURES
        network = self.network if in_features else inputs.lpips if "lpips" in metric.NEEDS else None
        held_out = inputs.held_out if "held out" in metric.NEEDS else None
        n, subject = len(inputs.fake), self.subject
        with memory_errors(f"measuring {name}", FEWER):
            estimates = metric.measure(inputs)
        for key, estimate in estimates.items():
            yield Score(
                metric=key,
                label=label(key, self.network.id if in_features else None, n),
                value=_finite(key, estimate.value),
                low=estimate.low,
                high=estimate.high,
                class_name=class_name,
                extractor=network and network.id,
                weights=network and network.weights,
                resize=network and network.resize,
                shape=str(subject.reals.shape),
                converted=subject.converted,
                n_real=len(inputs.real),
                n_generated=n,
                split=inputs.real.images.split,
                held_out=None if held_out is None else held_out.images.split,
                seed=inputs.seed,
                model=subject.hash,
                nimg=subject.nimg,
                generated=subject.name,
                dataset=subject.reals.name,
                content_hash=subject.reals.content_hash,
                verified=bool(verified_hash(subject.reals)),
                ganloom=__version__,
                torch=torch.__version__,
                device=self.device,
                created=self.created,
            )


def _explained(scores: Sequence[Score], inputs: Inputs, features: _Features) -> Iterator[Score]:
    """The scores, with a note where precision is near 0 only because the extractor sees noise that people do not."""
    reaction = None
    if any(score.metric == "precision" and score.value < SUSPICIOUS for score in scores):
        reaction = reaction_to_noise(inputs.real, lambda images: features.extraction.features(images).pooled)
    for score in scores:
        blinded = reaction is not None and reaction.is_blinded and score.metric in AFFECTED
        yield score.model_copy(update={"note": reaction.text}) if reaction and blinded else score


def _finite(key: str, value: float) -> float:
    if not np.isfinite(value):
        raise DataError(
            f"{key} is not a finite number here: there are too few images, or they are all alike. Give more, or leave "
            "its metric out of --metrics."
        )
    return value
