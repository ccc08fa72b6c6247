"""Evaluate: from what a person asked for to scores with their provenance."""

import datetime
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console as Terminal
from torch import Tensor

from ganloom import __version__, metrics
from ganloom.core.device import choose_device, device_name
from ganloom.core.errors import ConfigError, DataError
from ganloom.core.files import storage_errors
from ganloom.core.pictures import save_png
from ganloom.core.terminal import make_terminal, progress_bar, say
from ganloom.evaluation.sides import Subject, generated, open_subject, some, whole_split
from ganloom.metrics import extractors
from ganloom.metrics.contract import NEEDED, Comparison, Features, Images, Side
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors.contract import Extractor
from ganloom.metrics.scores import Score, differences, label, read_scores, write_scores

__all__ = ["evaluate"]

DEFAULT_METRICS = ("fd", "kid", "prdc", "vendi", "ndb", "ms-ssim", "memorisation")
BUILT_IN = "loomnet-1"
DEFINED_BY_INCEPTION = ("fid", "is")  # metrics that are what they are with that network alone
MOST = 10_000  # generated images, when nobody says how many
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
) -> list[Score]:
    """Measure a run, a model file or a folder of generated images against real images.

    Without `metrics` those that fit; without `extractor` inception where `fid` or `is` is asked for, else the built-in
    loomnet-1. `n` generated images (as many as there are real ones, at most 10,000) are held against `n_real` of the
    split (all, at most n). Scores go to `out`, or into the run. Raises `GanloomError`, and then there is no number.
    """
    terminal = make_terminal()
    asked = _asked(metrics)
    name = extractor or (BUILT_IN if not set(asked or ()) & set(DEFINED_BY_INCEPTION) else "inception")
    for wanted in set(asked or ()) & set(DEFINED_BY_INCEPTION):
        if name != "inception":
            known_as = "In other features the distance is called fd. " if wanted == "fid" else ""
            raise ConfigError(f"{wanted} is defined by the inception network alone. {known_as}Leave out --extractor.")
    chosen = choose_device(device)
    network = extractors.find(name, None if weights is None else Path(weights)).to(chosen)
    perceptual = None
    if lpips_weights is not None:
        from ganloom.metrics.extractors.perceptual import load_lpips

        perceptual = load_lpips(Path(lpips_weights))
    subject = open_subject(Path(target).expanduser(), None if data is None else os.fspath(data), chosen, terminal)
    training = whole_split(subject.reals, split)
    count = n or min(MOST, len(training if subject.folder is None else whole_split(subject.folder, "train")))
    reals = some(training, n_real or count, seed)
    extraction = Extraction(network, chosen)
    say(terminal, f"generated {count:,} of {subject.name}")
    say(terminal, f"real      {len(reals):,} of {len(training):,} in '{split}' of {training.name}")
    say(terminal, f"extractor {network.id}, resize {network.resize}, weights {network.weights[:12]}, seed {seed}")

    def features(images: Images) -> Features:
        with progress_bar(terminal, "features of", images.name) as progress:
            extraction.progress = progress
            return extraction.features(images) if images.split == "generated" else extraction.kept(images)

    def extract(images: Tensor) -> Tensor:
        return extraction(images)[0]

    held_out = _held_out(subject, split)
    with generated(subject, count, seed, training, terminal) as fakes:
        real_side = Side(reals, features)
        comparison = Comparison(
            real=real_side,
            fake=Side(fakes.images, features),
            training=real_side if reals is training else Side(training, features),
            held_out=None if held_out is None else Side(held_out, features),
            generator=fakes.generator,
            extract=extract,
            class_names=subject.reals.class_names,
            seed=seed,
            lpips=perceptual,
        )
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        measuring = _Measuring(subject, network, comparison, device_name(chosen), seed, now)
        scores = list(measuring.run(asked, per_class, terminal))
    _keep(subject, scores, comparison.pictures, None if out is None else Path(out), terminal)
    return scores


def _asked(names: str | Sequence[str] | None) -> list[str] | None:
    if names is None:
        return None
    listed = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
    for name in listed:
        metrics.find(name)
    return list(dict.fromkeys(listed))


def _held_out(subject: Subject, split: str) -> Images | None:
    """Real images that were not trained on: `val`, or else `test`. None where what was trained on is not known."""
    if not subject.knows_training or split != "train":
        return None
    reals = subject.reals
    candidates = [name for name in ("val", "test") if reals.count(name)]
    return whole_split(reals, candidates[0]) if candidates else None


def _lacks(name: str, comparison: Comparison, network: Extractor) -> str:
    """Why a metric cannot be measured here, or nothing."""
    metric = metrics.find(name)
    there = {
        "features": True,
        "logits": network.is_classifier,
        "labels": _is_labelled(comparison.real),
        "fake labels": _is_labelled(comparison.fake),
        "held out": comparison.held_out is not None,
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
        if len(side) < metric.LEAST:
            return f"it needs {metric.LEAST} {which} images, and there are {len(side)}"
    return ""


def _is_labelled(side: Side) -> bool:
    return side.labels is not None and side.labels.ndim == 1


@dataclass(frozen=True)
class _Measuring:
    """One evaluation: metrics of one comparison, each number with its provenance."""

    subject: Subject
    network: Extractor
    comparison: Comparison
    device: str
    seed: int
    created: str

    def run(self, asked: Sequence[str] | None, per_class: bool, terminal: Terminal) -> Iterator[Score]:
        """Scores in the order of the metrics; says of each default metric that does not fit why it does not."""
        for name in asked or DEFAULT_METRICS:
            if lacks := _lacks(name, self.comparison, self.network):
                if asked:
                    raise DataError(f"{name} cannot be measured here: {lacks}.")
                say(terminal, f"left out  {name}: {lacks}")
                continue
            for score in self.measure(name, self.comparison, None):
                say(terminal, f"{score.name:<34} {score.text}")
                yield score
            if per_class and metrics.find(name).NEEDS <= OF_FEATURES:
                yield from self.of_classes(name, terminal)

    def of_classes(self, name: str, terminal: Terminal) -> Iterator[Score]:
        """The same metric class by class."""
        real, fake = self.comparison.real, self.comparison.fake
        if not _is_labelled(real) or not _is_labelled(fake):
            missing = NEEDED["labels"] if not _is_labelled(real) else NEEDED["fake labels"]
            raise DataError(f"--per-class cannot be measured here: it needs {missing}.")
        for number, class_name in enumerate(self.comparison.class_names):
            sides = [side.only(np.flatnonzero(np.asarray(side.labels) == number)) for side in (real, fake)]
            part = replace(self.comparison, real=sides[0], fake=sides[1], training=sides[0], held_out=None)
            if lacks := _lacks(name, part, self.network):
                say(terminal, f"left out  {name} of {class_name}: {lacks}")
                continue
            for score in self.measure(name, part, class_name):
                say(terminal, f"{score.name:<34} {score.text}")
                yield score

    def measure(self, name: str, comparison: Comparison, class_name: str | None) -> Iterator[Score]:
        metric = metrics.find(name)
        uses_features = bool(metric.NEEDS & OF_FEATURES)
        held_out = comparison.held_out if "held out" in metric.NEEDS else None
        n, subject = len(comparison.fake), self.subject
        for key, estimate in metric.measure(comparison).items():
            yield Score(
                metric=key,
                label=label(key, self.network.id if uses_features else None, n),
                value=_finite(key, estimate.value),
                low=estimate.low,
                high=estimate.high,
                class_name=class_name,
                extractor=self.network.id if uses_features else None,
                weights=self.network.weights if uses_features else None,
                resize=self.network.resize if uses_features else None,
                n_real=len(comparison.real),
                n_generated=n,
                split=comparison.real.images.split,
                held_out=None if held_out is None else held_out.images.split,
                seed=self.seed,
                model=subject.hash,
                nimg=subject.nimg,
                generated=subject.name,
                dataset=subject.reals.description.name,
                content_hash=subject.reals.description.content_hash,
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
    subject: Subject, scores: list[Score], pictures: Mapping[str, Tensor], out: Path | None, terminal: Terminal
) -> None:
    """Scores into `out` and, of a run, into its folder, in place of older ones of the same name and protocol."""
    homes: list[tuple[Path, Callable[[str], Path]]] = []
    if out is not None:
        with storage_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        write_scores(out, scores)
        homes.append((out, lambda name: out.with_name(f"{out.stem}-{name}.png")))
    if (run := subject.run) is not None:
        path = run.scores
        older = [old for old in read_scores(path) if not any(_replaces(new, old) for new in scores)]
        write_scores(path, [*older, *scores])
        homes.append((path, run.picture))
    for path, place in homes:
        say(terminal, f"scores    {path}")
        for name, picture in pictures.items():
            file = place(name)
            with storage_errors(file):
                file.parent.mkdir(parents=True, exist_ok=True)
            save_png(file, picture)
            say(terminal, f"picture   {file}")


def _replaces(new: Score, old: Score) -> bool:
    return new.name == old.name and new.seed == old.seed and not differences(new, old)
