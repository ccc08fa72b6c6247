"""Checkpoints: write every tensor of a training, restore it, keep the right ones.

`runs/checkpoints.py` says what their files are, and reads them.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ganloom.config import Edit, differences
from ganloom.core import tensors
from ganloom.core.errors import ModelError, RunError
from ganloom.core.files import sha256, storage_errors, write_atomically
from ganloom.core.lengths import crosses
from ganloom.runs.checkpoints import Manifest, numbered, whole
from ganloom.training.state import HEALTH, WITH_HEALTH, pack_state, restore
from ganloom.training.step import AdversarialStep

__all__ = [
    "DamagedError",
    "Loaded",
    "MismatchError",
    "go_back",
    "healthiest",
    "leave_only",
    "load_newest",
    "rollback_target",
    "save",
]


class DamagedError(RunError):
    """There are checkpoints, but none is whole."""


class MismatchError(RunError):
    """A checkpoint is of other networks than config.yaml describes."""

    def __init__(self, text: str, edits: Mapping[str, Edit]) -> None:
        super().__init__(text)
        self.edits = edits  # settings that have changed since it was saved


@dataclass(frozen=True)
class Loaded:
    """What was loaded, if anything."""

    manifest: Manifest | None = None
    skipped: list[str] = field(default_factory=list)  # why newer checkpoints were
    edits: Mapping[str, Edit] = field(default_factory=dict)  # settings that have changed since it was saved
    afresh: list[str] = field(default_factory=list)  # parts whose saved state does not fit these settings, in words


def save(folder: Path, step: AdversarialStep, *, seconds: float, keep: int, every: int = 0) -> None:
    """Write a checkpoint atomically, then remove older ones.

    Kept are the newest `keep`, and the newest one that was made on schedule, `every` so many images, before the guard
    began to suspect something. `seconds` is the time spent training so far.
    """
    data = tensors.pack(dict(pack_state(step)))
    name = f"{step.nimg:012d}"
    write_atomically(folder / f"{name}.safetensors", data)
    micro = {"train.micro_batch": step.d.micro_batch, "train.micro_batch_g": step.g.micro_batch}  # halved, perhaps
    manifest = Manifest(
        nimg=step.nimg,
        seconds=seconds,
        sha256=sha256(data),
        torch=torch.__version__,
        config=step.config.with_overrides(micro).model_dump(mode="json"),
    )
    write_atomically(folder / f"{name}.json", manifest.model_dump_json().encode())
    manifests = numbered(folder, "json")
    eligible = [path for path in manifests if _is_scheduled(int(path.stem), step, every)]
    healthy = [path for path in eligible if int(path.stem) <= step.health.well_at]
    for old in manifests[:-keep]:
        if old not in healthy[-1:]:
            _remove(old)
    for orphan in numbered(folder, "safetensors"):  # of a process that was killed while it saved or removed one
        if not orphan.with_suffix(".json").exists():
            with storage_errors(folder):
                orphan.unlink()


def leave_only(folder: Path, nimg: int) -> None:
    """Remove every other checkpoint."""
    for manifest in numbered(folder, "json"):
        if int(manifest.stem) != nimg:
            _remove(manifest)


def rollback_target(folder: Path, step: AdversarialStep, every: int) -> int:
    """The image count of the newest checkpoint that is whole, known to be healthy and made on schedule.

    The schedule is `every` so many images. 0 without such a checkpoint: the training then restarts from the beginning.

    Checkpoints that a signal caused do not count: the target of a rollback must not depend on when a signal came.
    """
    eligible = (
        manifest.nimg
        for _, manifest, _ in whole(folder, [], int(step.health.well_at))
        if _is_scheduled(manifest.nimg, step, every)
    )
    return next(eligible, 0)


def go_back(folder: Path, nimg: int) -> None:
    """Remove the checkpoints of more than `nimg` images."""
    for manifest in numbered(folder, "json"):
        if int(manifest.stem) > nimg:
            _remove(manifest)


def healthiest(folder: Path, step: AdversarialStep) -> Path | None:
    """The newest whole checkpoint that is known to be healthy."""
    return next((path for path, _, _ in whole(folder, [], int(step.health.well_at))), None)


def _is_scheduled(nimg: int, step: AdversarialStep, every: int) -> bool:
    return nimg == 0 or crosses(every, nimg - step.images_per_step, nimg)


def _remove(manifest: Path) -> None:
    with storage_errors(manifest.parent):
        manifest.unlink()  # first: without it the rest does not count
        manifest.with_suffix(".safetensors").unlink(missing_ok=True)


def load_newest(folder: Path, step: AdversarialStep, before: Mapping[str, Any] | None = None) -> Loaded:
    """Load the newest whole checkpoint into `step`.

    Its manifest says with which settings it was saved; `before` are those of manifests that do not say it. Without any
    checkpoint nothing is loaded: the training then starts from the beginning. Raises `DamagedError` if all are damaged,
    `MismatchError` if one is of other networks, and `RunError` if one is of a newer ganloom.
    """
    skipped: list[str] = []
    for path, manifest, data in whole(folder, skipped):
        then = manifest.config or before
        edits = differences(then, step.config) if then else {}
        try:
            afresh = restore(step, tensors.unpack(data, path), manifest.format, edits)
        except ModelError as error:
            skipped.append(str(error))
            continue
        except (RuntimeError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise MismatchError(f"{path} does not match config.yaml ({reason})", edits) from None
        step.nimg = manifest.nimg
        if manifest.format < WITH_HEALTH or HEALTH in afresh:
            step.health.well_at.fill_(manifest.nimg)  # nothing is known against it
        if step.world.is_first:  # the others may still be reading, and skip what they no longer find
            _set_aside(folder, manifest.nimg)
        return Loaded(manifest, skipped, edits, afresh)
    if skipped:
        damage = "; ".join(skipped)
        raise DamagedError(f"every checkpoint is damaged ({damage})")
    return Loaded()


def _set_aside(folder: Path, nimg: int) -> None:
    """Rename damaged checkpoints newer than the loaded one: they would count among the newest to keep."""
    for manifest in numbered(folder, "json"):
        if int(manifest.stem) > nimg:
            with storage_errors(folder):
                manifest.unlink()
                with contextlib.suppress(FileNotFoundError):  # its tensors may be what is missing
                    manifest.with_suffix(".safetensors").replace(manifest.with_suffix(".damaged"))
