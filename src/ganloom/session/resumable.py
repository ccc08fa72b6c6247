"""Whether a run can be resumed: nothing that was trained is overwritten, and settings that changed are named."""

import contextlib
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ganloom.config import NOT_SET, Config, Edit, differences, dotted, is_within, merge, nested
from ganloom.core.errors import ModelError, RunError
from ganloom.data.dataset import Dataset
from ganloom.models import modelfile
from ganloom.runs import Facts, RunFolder, checkpoints
from ganloom.session.changes import OUT_OF_MEMORY
from ganloom.session.intervals import Intervals
from ganloom.tracking.jsonl import read_log

__all__ = ["before_manifests", "check_before", "check_images", "edits_in_words", "from_model", "networks_changed"]

AT_THE_START = {  # settings that nothing reads once a run has been trained, and what they have determined
    "seed": "the order of the images and everything random follow from it",
    "start.model": "the networks have started from it",
    "start.sha256": "the networks have started from it",
    "start.optimizers": "the optimizers have started from it",
}
NETWORKS = ("net", "data.labels")  # what the tensors of networks depend on
ELSEWHERE = ("data.source", "data.follow_links", "data.max_skipped", "data.labels", "data.mirror")  # not the content


def check_before(folder: RunFolder, config: Config, facts: Facts) -> None:
    """Raises `RunError` for what is known before the images are prepared, which may take long."""
    channels, *size = facts.shape
    given = {"data.size": (config.data.size, size), "data.channels": (config.data.channels, channels)}
    wrong = [
        f"{key} {Edit(before, now).text}"
        for key, (now, before) in given.items()
        if now is not None and (list(now) if isinstance(now, tuple) else now) != before
    ]
    if wrong:
        raise _other_images(folder, wrong)
    _refuse_lost(folder, config, facts)
    _refuse_another_start(folder, config, facts)


def _refuse_another_start(folder: RunFolder, config: Config, facts: Facts) -> None:
    """Raises `RunError` for settings that only have an effect before the first step."""
    manifest = checkpoints.newest_manifest(folder.checkpoints)
    then = (manifest and manifest.config) or before_manifests(folder, facts)
    if manifest is None or not manifest.nimg or not then:
        return
    for key, edit in differences(then, config).items():
        if key in AT_THE_START:
            new = f"--recipe {shlex.quote(str(folder.path))}/config.yaml"
            if key == "start.model" and edit.now != NOT_SET:
                new = f"{shlex.quote(config.data.source)} --from {shlex.quote(edit.value)}"
            elif edit.now != NOT_SET:
                new += f" --set {shlex.quote(f'{key}={edit.value}')}"
            raise RunError(
                f"{key} of {folder.path} {edit.text}, but {AT_THE_START[key]}: set it back, or start a new run: "
                f"ganloom train {new} --out NEW"
            )


def _refuse_lost(folder: RunFolder, config: Config, facts: Facts) -> None:
    """Raises `RunError` if the run was trained but has no checkpoint: to start again would overwrite what it learned.

    A run without checkpoints starts from the beginning only if it has never come to one, or was rolled back to 0. The
    best model may be older than the first checkpoint, where evaluations are more frequent; the model is not.
    """
    if checkpoints.is_left(folder.checkpoints):
        return
    seen = _seen(folder)
    every = Intervals.of(config, facts).checkpoint
    due = math.ceil(every / config.images_per_step) * config.images_per_step if every else math.inf
    model, best = _trained(folder)
    if max(seen, best) <= due and not model:
        return
    raise RunError(
        f"{folder.path} was trained with {max(seen, model, best):,} images, but there is no checkpoint in "
        f"{folder.checkpoints}: it cannot be resumed, and to start again would overwrite it. "
        f"Restore the checkpoints, or {from_model(folder, config)}"
    )


def from_model(folder: RunFolder, config: Config) -> str:
    """How to continue what a run has learned without its checkpoints, as a remedy."""
    if checkpoints.is_left(folder.best_checkpoint):
        copied = f"{folder.best_checkpoint}/*"
        return f"copy {copied} to {folder.checkpoints}: then it resumes from the best score."
    model = next((path for path, nimg in zip(_models(folder), _trained(folder), strict=True) if nimg), None)
    if model is None:
        return f"start a new run: ganloom train --recipe {shlex.quote(str(folder.path))}/config.yaml --out NEW"
    source = shlex.quote(config.data.source)
    return f"continue from its model in a new run: ganloom train {source} --from {shlex.quote(str(model))} --out NEW"


def _models(folder: RunFolder) -> tuple[Path, Path]:
    return folder.model, folder.best


def _trained(folder: RunFolder) -> list[int]:
    """Training images that the model and the best model have seen; 0 where there is none, or nothing is trained.

    After a rollback to the start they are of the training that was rejected.
    """
    found = []
    for path in _models(folder):
        nimg = 0
        with contextlib.suppress(ModelError):
            nimg = modelfile.read_header(path).training.get("nimg", 0)
        found.append(0 if _restarted(folder) else int(nimg))
    return found


def _restarted(folder: RunFolder) -> bool:
    """Whether the last rollback went back to the start."""
    rollbacks = [change for change in folder.changes if change.reason != OUT_OF_MEMORY]
    return bool(rollbacks) and rollbacks[-1].to == 0


def _seen(folder: RunFolder) -> int:
    """Training images that the run has seen, by its log, status and grids.

    A rollback to the start is a row of the log once the training has started again: before, the rows are those of the
    training that was rejected.
    """
    rows = read_log(folder.log)
    if _restarted(folder):
        again = [row for row in rows if row.get("event") == "rollback" and row["nimg"] == 0]
        rejected = sum(change.to == 0 and change.reason != OUT_OF_MEMORY for change in folder.changes)
        return max((row["nimg"] for row in rows), default=0) if len(again) == rejected else 0
    logged = max((row["nimg"] for row in rows), default=0)
    return max(logged, folder.status.nimg, *folder.grids(), 0)


def check_images(folder: RunFolder, config: Config, facts: Facts, dataset: Dataset) -> None:
    """Raises `RunError` if the images are not those that the run started with, and names the settings that changed."""
    if dataset.content_hash == facts.content_hash:
        return
    changed = [
        f"{key} {edit.text}"
        for key, edit in differences(facts.config, config).items()
        if facts.config and is_within(key, ("data",)) and key not in ELSEWHERE
    ]
    if changed:
        raise _other_images(folder, changed)
    raise RunError(
        f"the images of {config.data.source} (data.source) are not those that {folder.path} started with: restore "
        "them, name their new location with --data, or start a new run."
    )


def _other_images(folder: RunFolder, changed: Sequence[str]) -> RunError:
    return RunError(
        f"settings in {folder.path}/config.yaml have changed since the run started: {', '.join(changed)}. With them, "
        "the images are not those that it learns from: set them back, or start a new run."
    )


def networks_changed(edits: Mapping[str, Edit]) -> str:
    """The remedy for checkpoints of other networks than the configuration's: the settings that changed."""
    changed = [f"{key} {edit.text}" for key, edit in edits.items() if is_within(key, NETWORKS)]
    if changed:
        return f"since it was saved, {', '.join(changed)}. Set them back."
    return "set net and data.labels back to what they were."


def before_manifests(folder: RunFolder, facts: Facts) -> dict[str, Any]:
    """The settings of a run whose checkpoints do not say them: those it started with, and how they were changed.

    {} in runs of older versions, which do not say that either.
    """
    values = facts.config
    for change in folder.changes if values else []:
        values = merge(values, nested(change.after))
    return values


def edits_in_words(folder: RunFolder, config: Config, edits: Mapping[str, Edit], nimg: int) -> Iterator[str]:
    """What the user should know about settings that were changed after `nimg` images.

    Those of a rollback, or for lack of memory, are in changes.json and are reported elsewhere.
    """
    by_ganloom: dict[str, Any] = {}
    for change in folder.changes:
        if change.to >= nimg:
            by_ganloom |= dict(dotted(change.after))
    by_user = {key: edit for key, edit in edits.items() if key not in by_ganloom or by_ganloom[key] != edit.now}
    if by_user:
        yield "changed: " + ", ".join(f"{key} {edit.arrow}" for key, edit in by_user.items())
    for name in ("g", "d"):
        edit = by_user.get(f"optimizer.{name}.name")
        if edit and {edit.before, edit.now} == {"adam", "adamw"}:
            yield f"the optimizer of {name.upper()} keeps its saved state: adam and adamw store the same moments"
    for section in ("evaluate", "guard"):
        every = getattr(config, section).every
        if f"{section}.budget" in by_user and f"{section}.every" not in by_user:
            yield (
                f"{section}.budget has no effect, as {section}.every is {every} since the run started: to time it "
                f"again, set {section}.every to null in {folder.path}/config.yaml"
            )
