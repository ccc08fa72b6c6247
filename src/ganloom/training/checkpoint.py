"""Checkpoints: NIMG.safetensors with every tensor of the training, and NIMG.json that vouches for it.

The JSON is written last: a checkpoint without one, or whose bytes do not have the hash it names, does not count.
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
    "Voucher",
    "go_back",
    "healthiest",
    "leave_only",
    "load_newest",
    "newest",
    "reached",
    "restore_optimizer",
    "save",
]

FORMAT = WITH_HEALTH = 2  # the first with the state of the guard


class Format(BaseModel):
    """What is read of NIMG.json before all else: a newer one may have fields that nobody knows here."""

    format: int = FORMAT


class Voucher(Format):
    """NIMG.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    nimg: int
    seconds: float  # spent training so far
    sha256: str
    torch: str


def save(folder: Path, step: AdversarialStep, *, seconds: float, keep: int, every: int = 0) -> None:
    """Write a checkpoint, whole or not at all, then remove all but the newest `keep`, and the newest from before the
    guard began to suspect something, of those that are made every so many images.
    """
    data = tensors.pack(dict(_state(step)))
    name = f"{step.nimg:012d}"
    write_atomically(folder / f"{name}.safetensors", data)
    voucher = Voucher(nimg=step.nimg, seconds=seconds, sha256=sha256(data), torch=torch.__version__)
    write_atomically(folder / f"{name}.json", voucher.model_dump_json().encode())
    vouchers = _numbered(folder, "json")
    eligible = [path for path in vouchers if _is_scheduled(int(path.stem), step, every)]
    healthy = [path for path in eligible if int(path.stem) <= step.health.well_at]
    for old in vouchers[:-keep]:
        if old not in healthy[-1:]:
            _remove(old)


def leave_only(folder: Path, nimg: int) -> None:
    """Remove every other checkpoint."""
    for voucher in _numbered(folder, "json"):
        if int(voucher.stem) != nimg:
            _remove(voucher)


def go_back(folder: Path, step: AdversarialStep, every: int) -> int:
    """Remove what was saved after the newest checkpoint that is whole, surely healthy and made on schedule, `every` so
    many images. Returns its images; 0 without one, for the training then begins at its beginning.

    One that a signal has left would make what is gone back to depend on when the signal came.
    """
    eligible = (
        voucher.nimg
        for _, voucher, _ in _whole(folder, [], int(step.health.well_at))
        if _is_scheduled(voucher.nimg, step, every)
    )
    nimg = next(eligible, 0)
    for voucher in _numbered(folder, "json"):
        if int(voucher.stem) > nimg:
            _remove(voucher)
    return nimg


def healthiest(folder: Path, step: AdversarialStep) -> Path | None:
    """The newest whole checkpoint that is surely healthy."""
    return next((path for path, _, _ in _whole(folder, [], int(step.health.well_at))), None)


def _is_scheduled(nimg: int, step: AdversarialStep, every: int) -> bool:
    return nimg == 0 or crosses(every, nimg - step.images_per_step, nimg)


def reached(folder: Path) -> int:
    """The images at which the newest checkpoint was made; 0 without one."""
    return max((int(voucher.stem) for voucher in _numbered(folder, "json")), default=0)


def _numbered(folder: Path, suffix: str) -> list[Path]:
    """Files of checkpoints, oldest first. Copies that a person, or a system, laid beside them do not count."""
    return sorted(path for path in folder.glob(f"*.{suffix}") if path.stem.isdigit())


def _remove(voucher: Path) -> None:
    with storage_errors(voucher.parent):
        voucher.unlink()  # first: without its voucher the rest does not count
        voucher.with_suffix(".safetensors").unlink(missing_ok=True)


def load_newest(folder: Path, step: AdversarialStep) -> tuple[Voucher | None, list[str]]:
    """Put the newest whole checkpoint into `step`; also says which ones were passed over, and why.

    None without any checkpoint: the training then begins at its beginning. Raises `RunError` if all are damaged.
    """
    passed_over: list[str] = []
    for path, voucher, data in _whole(folder, passed_over):
        try:
            _restore(step, tensors.unpack(data, path))
        except ModelError as error:
            passed_over.append(str(error))
            continue
        except (RuntimeError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"{path} is of other networks than config.yaml describes ({reason}): mend it.") from None
        step.nimg = voucher.nimg
        if voucher.format < WITH_HEALTH:
            step.health.well_at.fill_(voucher.nimg)  # nobody looked before
        if step.world.is_first:  # the others may still be reading, and pass over what they no longer find
            _set_aside(folder, voucher.nimg)
        return voucher, passed_over
    if passed_over:
        damage = "; ".join(passed_over)
        raise RunError(f"every checkpoint is damaged ({damage}). Delete {folder}/* to begin from the start.")
    return None, []


def newest(folder: Path) -> bytes:
    """The newest whole checkpoint. Raises `RunError` where there is none."""
    for _, _, data in _whole(folder, []):
        return data
    raise RunError(f"there is no whole checkpoint in {folder}: go on training that run until it has written one.")


def _whole(folder: Path, passed_over: list[str], most: float = math.inf) -> Iterator[tuple[Path, Voucher, bytes]]:
    """Checkpoints of `most` images that are what was saved, newest first."""
    for path in reversed(_numbered(folder, "safetensors")):
        if int(path.stem) > most:
            continue
        try:
            vouched = path.with_suffix(".json").read_bytes()
            if Format.model_validate_json(vouched).format > FORMAT:
                raise RunError(
                    f"{path} was written by a newer ganloom: go on with that one, or with a newer one still."
                )
            voucher = Voucher.model_validate_json(vouched)
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # killed before it was vouched for
        except (OSError, ValidationError) as error:
            passed_over.append(f"{path}: {str(error).splitlines()[0]}")
            continue
        if sha256(data) != voucher.sha256:
            passed_over.append(f"{path}: its content is not what was saved")
            continue
        yield path, voucher, data


def _set_aside(folder: Path, nimg: int) -> None:
    """Rename damaged checkpoints newer than the one in use: among the newest to keep they would crowd out good ones."""
    for voucher in _numbered(folder, "json"):
        if int(voucher.stem) > nimg:
            with storage_errors(folder):
                voucher.unlink()
                with contextlib.suppress(FileNotFoundError):  # its tensors may be what is missing
                    voucher.with_suffix(".safetensors").replace(voucher.with_suffix(".damaged"))


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


MAY_BEGIN_ANEW = ("augment", "health", "penalties")  # a rollback may bring the first, an older ganloom had no others


def _state(step: AdversarialStep) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the training; optimizer state by the name of its parameter."""
    for place, module in _modules(step).items():
        for name, tensor in module.state_dict().items():
            yield f"{place}/{name}", tensor
    for place, learner in (("optimizer_g", step.g), ("optimizer_d", step.d)):
        for name, weight in learner.net.named_parameters():
            for slot, value in learner.optimizer.state.get(weight, {}).items():
                yield f"{place}/{name}/{slot}", value


def _restore(step: AdversarialStep, saved: dict[str, Tensor]) -> None:
    for place, module in _modules(step).items():
        own = {key.removeprefix(f"{place}/"): saved[key] for key in saved if key.startswith(f"{place}/")}
        if own or place not in MAY_BEGIN_ANEW:
            module.load_state_dict(own, strict=place != "penalties")  # a person may have chosen others since
    for place, learner in (("optimizer_g", step.g), ("optimizer_d", step.d)):
        restore_optimizer(learner, place, saved)


def restore_optimizer(
    learner: Learner, place: str, saved: Mapping[str, Tensor], names: Container[str] | None = None
) -> None:
    """What the optimizer kept of each weight, or of those with `names`, as it lies under `place` in a checkpoint."""
    learning = set(learner.weights)
    for name, weight in learner.net.named_parameters():
        if weight not in learning or (names is not None and name not in names):
            continue
        prefix = f"{place}/{name}/"
        slots = {key.removeprefix(prefix): saved[key] for key in saved if key.startswith(prefix)}
        if not slots:  # it has not learned anything yet
            continue
        # Moments must lie in memory as their weights do: fused kernels walk them together, and want the step
        # count on the same device.
        device = weight.device if learner.optimizer.defaults.get("fused") else None
        learner.optimizer.state[weight] = {
            slot: torch.empty_like(weight).copy_(value) if slot != "step" else value.to(device, copy=True)
            for slot, value in slots.items()
        }
