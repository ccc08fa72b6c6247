"""Checkpoints: NIMG.safetensors with every tensor of a training, and its manifest NIMG.json with a checksum.

The manifest is written last. A checkpoint without one, or whose bytes do not match the checksum, does not count.
"""

import contextlib
import math
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from ganloom.core import tensors
from ganloom.core.errors import ModelError, RunError
from ganloom.core.files import sha256, storage_errors, write_atomically
from ganloom.core.lengths import crosses
from ganloom.training.learner import Learner
from ganloom.training.step import AdversarialStep

__all__ = [
    "Manifest",
    "go_back",
    "healthiest",
    "leave_only",
    "load_newest",
    "newest",
    "reached",
    "restore_optimizer",
    "save",
]

FORMAT = 3
WITH_HEALTH = 2  # the first format with the state of the guard
WITH_NAMES = 3  # the first format that holds scalars by name; before, a vector was read by position
# What those vectors held, in this order. It is history: names of later formats do not belong here.
PLATEAU = ("updates", "best", "waited", "factor")
VECTORS = {
    "health/signs": ("sum", "updates"),
    "health/counts": ("divergence", "collapse", "memorisation", "overfitting", "overpowering", "stalled"),
    "health/past": (
        "looks",
        "first_distance",
        "best_distance",
        "looks_without_improvement",
        "max_spread",
        "max_vendi",
    ),
    "schedule_g/memory": PLATEAU,
    "schedule_d/memory": PLATEAU,
}


class Format(BaseModel):
    """Read from NIMG.json before the rest, since a newer format may have fields that are unknown here."""

    format: int = FORMAT


class Manifest(Format):
    """NIMG.json: the checksum of the checkpoint, and what is known of it besides its tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    nimg: int
    seconds: float  # spent training so far
    sha256: str
    torch: str


def save(folder: Path, step: AdversarialStep, *, seconds: float, keep: int, every: int = 0) -> None:
    """Write a checkpoint atomically, then remove older ones.

    Kept are the newest `keep`, and the newest one that was made on schedule, `every` so many images, before the guard
    began to suspect something. `seconds` is the time spent training so far.
    """
    data = tensors.pack(dict(_state(step)))
    name = f"{step.nimg:012d}"
    write_atomically(folder / f"{name}.safetensors", data)
    manifest = Manifest(nimg=step.nimg, seconds=seconds, sha256=sha256(data), torch=torch.__version__)
    write_atomically(folder / f"{name}.json", manifest.model_dump_json().encode())
    manifests = _numbered(folder, "json")
    eligible = [path for path in manifests if _is_scheduled(int(path.stem), step, every)]
    healthy = [path for path in eligible if int(path.stem) <= step.health.well_at]
    for old in manifests[:-keep]:
        if old not in healthy[-1:]:
            _remove(old)


def leave_only(folder: Path, nimg: int) -> None:
    """Remove every other checkpoint."""
    for manifest in _numbered(folder, "json"):
        if int(manifest.stem) != nimg:
            _remove(manifest)


def go_back(folder: Path, step: AdversarialStep, every: int) -> int:
    """Remove what was saved after the newest checkpoint that is whole, known to be healthy and made on schedule.

    The schedule is `every` so many images. Returns the checkpoint's image count; 0 without one: the training then
    restarts from the beginning.

    Checkpoints that a signal caused do not count: the target of a rollback must not depend on when a signal came.
    """
    eligible = (
        manifest.nimg
        for _, manifest, _ in _whole(folder, [], int(step.health.well_at))
        if _is_scheduled(manifest.nimg, step, every)
    )
    nimg = next(eligible, 0)
    for manifest in _numbered(folder, "json"):
        if int(manifest.stem) > nimg:
            _remove(manifest)
    return nimg


def healthiest(folder: Path, step: AdversarialStep) -> Path | None:
    """The newest whole checkpoint that is known to be healthy."""
    return next((path for path, _, _ in _whole(folder, [], int(step.health.well_at))), None)


def _is_scheduled(nimg: int, step: AdversarialStep, every: int) -> bool:
    return nimg == 0 or crosses(every, nimg - step.images_per_step, nimg)


def reached(folder: Path) -> int:
    """The image count of the newest checkpoint; 0 without one."""
    return max((int(manifest.stem) for manifest in _numbered(folder, "json")), default=0)


def _numbered(folder: Path, suffix: str) -> list[Path]:
    """Files of checkpoints, oldest first. Copies that a user, or a system, has put beside them do not count."""
    return sorted(path for path in folder.glob(f"*.{suffix}") if path.stem.isdigit())


def _remove(manifest: Path) -> None:
    with storage_errors(manifest.parent):
        manifest.unlink()  # first: without it the rest does not count
        manifest.with_suffix(".safetensors").unlink(missing_ok=True)


def load_newest(folder: Path, step: AdversarialStep) -> tuple[Manifest | None, list[str]]:
    """Load the newest whole checkpoint into `step`; returns its manifest, and why newer ones were skipped.

    None without any checkpoint: the training then starts from the beginning. Raises `RunError` if all are damaged, or
    if one is of other networks or of a newer ganloom.
    """
    passed_over: list[str] = []
    for path, manifest, data in _whole(folder, passed_over):
        try:
            _restore(step, _migrated(tensors.unpack(data, path), manifest.format))
        except ModelError as error:
            passed_over.append(str(error))
            continue
        except (RuntimeError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(
                f"{path} does not match config.yaml ({reason}): set its networks and schedules back to what they were."
            ) from None
        step.nimg = manifest.nimg
        if manifest.format < WITH_HEALTH:
            step.health.well_at.fill_(manifest.nimg)  # there was no guard to find a fault
        if step.world.is_first:  # the others may still be reading, and skip what they no longer find
            _set_aside(folder, manifest.nimg)
        return manifest, passed_over
    if passed_over:
        damage = "; ".join(passed_over)
        raise RunError(f"every checkpoint is damaged ({damage}). Delete {folder}/* to start from the beginning.")
    return None, []


def newest(folder: Path) -> bytes:
    """The bytes of the newest whole checkpoint. Raises `RunError` where there is none."""
    for _, _, data in _whole(folder, []):
        return data
    raise RunError(f"there is no whole checkpoint in {folder}: resume that run until it has written one.")


def _whole(folder: Path, passed_over: list[str], max_nimg: float = math.inf) -> Iterator[tuple[Path, Manifest, bytes]]:
    """Checkpoints of at most `max_nimg` images whose checksum is right, newest first; says why others are skipped."""
    for path in reversed(_numbered(folder, "safetensors")):
        if int(path.stem) > max_nimg:
            continue
        try:
            described = path.with_suffix(".json").read_bytes()
            if Format.model_validate_json(described).format > FORMAT:
                raise RunError(f"{path} was written by a newer ganloom: resume with that version, or a later one.")
            manifest = Manifest.model_validate_json(described)
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # killed before its manifest was written
        except (OSError, ValidationError) as error:
            passed_over.append(f"{path}: {str(error).splitlines()[0]}")
            continue
        if sha256(data) != manifest.sha256:
            passed_over.append(f"{path}: its checksum is wrong")
            continue
        yield path, manifest, data


def _set_aside(folder: Path, nimg: int) -> None:
    """Rename damaged checkpoints newer than the loaded one: they would count among the newest to keep."""
    for manifest in _numbered(folder, "json"):
        if int(manifest.stem) > nimg:
            with storage_errors(folder):
                manifest.unlink()
                with contextlib.suppress(FileNotFoundError):  # its tensors may be what is missing
                    manifest.with_suffix(".safetensors").replace(manifest.with_suffix(".damaged"))


def _modules(step: AdversarialStep) -> dict[str, nn.Module]:
    return {
        "G": step.g.net,
        "D": step.d.net,
        "ema": step.ema.G,
        "schedule_g": step.g.schedule,
        "schedule_d": step.d.schedule,
        "augment": step.augment,
        "health": step.health,
        "penalties": step.last_penalties,
    }


# May be missing: a rollback may add an augmentation, and format 1 had neither of the others.
OPTIONAL = ("augment", "health", "penalties")


def _state(step: AdversarialStep) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the training; optimizer state by the name of its parameter."""
    for place, module in _modules(step).items():
        for name, tensor in module.state_dict().items():
            yield f"{place}/{name}", tensor
    for place, learner in (("optimizer_g", step.g), ("optimizer_d", step.d)):
        for name, weight in learner.net.named_parameters():
            for slot, value in learner.optimizer.state.get(weight, {}).items():
                yield f"{place}/{name}/{slot}", value


def _migrated(saved: dict[str, Tensor], format: int) -> dict[str, Tensor]:
    """The tensors of a checkpoint of that format, as the present one names them."""
    if format >= WITH_NAMES:
        return saved
    kept = {name: tensor for name, tensor in saved.items() if name not in VECTORS}
    for vector in VECTORS.keys() & saved.keys():
        for name, value in zip(VECTORS[vector], saved[vector], strict=True):
            kept[f"{vector}.{name}"] = value
    return kept


def _restore(step: AdversarialStep, saved: dict[str, Tensor]) -> None:
    for place, module in _modules(step).items():
        own = {key.removeprefix(f"{place}/"): saved[key] for key in saved if key.startswith(f"{place}/")}
        if own or place not in OPTIONAL:
            module.load_state_dict(own)
    for place, learner in (("optimizer_g", step.g), ("optimizer_d", step.d)):
        restore_optimizer(learner, place, saved)


def restore_optimizer(
    learner: Learner, place: str, saved: Mapping[str, Tensor], names: Container[str] | None = None
) -> None:
    """Load the optimizer's state of each weight, or of those in `names`, from `place` in a checkpoint's tensors."""
    learning = set(learner.weights)
    for name, weight in learner.net.named_parameters():
        if weight not in learning or (names is not None and name not in names):
            continue
        prefix = f"{place}/{name}/"
        slots = {key.removeprefix(prefix): saved[key] for key in saved if key.startswith(prefix)}
        if not slots:  # no update has reached it yet
            continue
        # Moments must have the memory order of their weights: fused kernels read them in parallel, and need the
        # step count on the same device.
        device = weight.device if learner.optimizer.defaults.get("fused") else None
        learner.optimizer.state[weight] = {
            slot: torch.empty_like(weight).copy_(value) if slot != "step" else value.to(device, copy=True)
            for slot, value in slots.items()
        }
