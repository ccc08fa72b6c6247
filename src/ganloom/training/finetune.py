"""Fine-tuning: loads the weights of a pretrained model into new networks, as far as they fit.

Weights are matched by name. Those of another shape are adapted where that is meaningful: rows of classes by class name,
kernels over the whole feature map by resampling, image channels by repeating or summing. The others stay as
initialised.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.config import Config
from ganloom.core.code import is_file
from ganloom.core.errors import ConfigError, ModelError
from ganloom.core.files import read_regular, sha256, user_path
from ganloom.core.tensors import unpack
from ganloom.models import modelfile
from ganloom.models.places import locate
from ganloom.nets.contract import Growing
from ganloom.nets.layers import spectral
from ganloom.nets.layers.equalized import EqualizedConv2d, EqualizedLinear
from ganloom.nets.layers.labels import LabelEmbedding, LabelHead
from ganloom.runs import RunFolder, checkpoints
from ganloom.training.state import restore_optimizer
from ganloom.training.step import AdversarialStep

__all__ = ["Pretrained", "load_pretrained", "open_pretrained"]

MIN_SHARE = 0.1  # of G's weights that must come from the pretrained model


@dataclass(frozen=True)
class Pretrained:
    """What a training starts from: a model file has G only, a run has everything."""

    path: Path
    header: modelfile.Header
    config: Config | None  # of a run
    tensors: Mapping[str, Tensor]  # G/..., ema/... and, of a run, D/..., optimizer_g/... as a checkpoint has them
    sha256: str  # of the file that holds them

    def of(self, place: str) -> dict[str, Tensor]:
        """The tensors of one network, by their names in it."""
        prefix = f"{place}/"
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def open_pretrained(path: Path) -> Pretrained:
    """A run folder, from its newest checkpoint, or a model file. Raises `ModelError` and `RunError`."""
    path = user_path(path).resolve()
    if (path / "config.yaml").is_file():
        run = RunFolder(path)
        header = modelfile.read_header(locate(path))
        run.custom_code(run.config, run.facts)  # refuses a network whose file has changed since
        data = checkpoints.newest(run.checkpoints)
        return Pretrained(path, header, run.config, unpack(data, run.checkpoints), sha256(data))
    if path.is_dir():
        raise ModelError(f"{path} is not a run folder: give one, or a model.safetensors.")
    header, data = modelfile.read_header(path), read_regular(path)
    weights = unpack(data, path)
    both = {f"{place}/{name}": value for place in ("G", "ema") for name, value in weights.items()}
    return Pretrained(path, header, None, both, sha256(data))


@dataclass
class Transfer:
    """Which tensors of a network were taken over, by name."""

    reused: list[str] = field(default_factory=list)  # unchanged
    adapted: dict[str, str] = field(default_factory=dict)  # and how
    fresh: dict[str, str] = field(default_factory=dict)  # left as initialised, and why
    weights: int = 0  # that come from the pretrained model
    total: int = 0


def load_pretrained(pretrained: Pretrained, step: AdversarialStep) -> list[str]:
    """Load the pretrained weights into the networks of `step`; returns lines of a summary for the user.

    With `start.optimizers`, optimizers keep their state for weights that are reused. Raises `ConfigError` for another
    network, and if less than a tenth of G's weights can be taken over.
    """
    header, config = pretrained.header, step.config
    assert config.start is not None, "the configuration names the pretrained model"
    if config.start.sha256 not in (None, pretrained.sha256):
        raise ConfigError(
            f"{pretrained.path} has changed since this training started from it (sha256 {config.start.sha256}): "
            f"restore it, or start from the new one with start.sha256=null."
        )
    if header.net != (Path(config.net.name).name if is_file(config.net.name) else config.net.name):
        raise ConfigError(
            f"{pretrained.path} is a {header.net}, but this training is configured for {config.net.name}: leave out "
            f"--recipe and net, or name a recipe with net={header.net}."
        )
    refuse_half_grown(pretrained)
    old = header.class_names if header.labels else []
    new = list(step.stream.dataset.class_names) if config.data.labels else []
    channels = header.image_shape.channels, step.stream.dataset.shape.channels
    transfers: dict[str, Transfer] = {}
    for place, network in (("G", step.g.net), ("ema", step.ema.G), ("D", step.d.net)):
        if saved := pretrained.of(place):
            latent = 0 if place == "D" else header.latent
            shapes = _Shapes(old, new, channels, latent, sums=place == "D")
            transfers[place] = transfer(network, saved, shapes)
    share = transfers["G"].weights / transfers["G"].total
    if share < MIN_SHARE:
        reasons = "; ".join(f"{name} {why}" for name, why in list(transfers["G"].fresh.items())[:3])
        raise ConfigError(
            f"{pretrained.path} does not fit: only {share:.0%} of G's weights could be taken over ({reasons}). Use the "
            f"same net, width and --latent, and a --size near {header.shape[1]}x{header.shape[2]}."
        )
    lines = [f"from      {pretrained.path}, trained with {header.training.get('nimg', 0):,} images"]
    for place, learner in (("G", step.g), ("D", step.d)):
        if place in transfers:
            lines += summary(place, transfers[place])
            if config.start.optimizers:
                reused, saved_at = set(transfers[place].reused), f"optimizer_{place.lower()}"
                if not restore_optimizer(learner, saved_at, pretrained.tensors, reused):
                    lines.append(f"          its optimizer starts afresh: {learner.settings.name} keeps other values")
                elif not learner.optimizer.state:
                    lines.append("          its optimizer starts afresh: none was saved for these weights")
    if "D" not in transfers:
        lines.append("D         is new: a model file holds only G; give the run's folder to take over D too")
    return lines


def refuse_half_grown(pretrained: Pretrained) -> None:
    """Raise `ConfigError` for a network that is still growing: its untrained layers would be used at full size."""
    level = pretrained.tensors.get("ema/level")
    if level is None or pretrained.header.code is not None:
        return
    G = pretrained.header.build()
    if isinstance(G, Growing) and float(level) < G.levels:
        raise ConfigError(
            f"{pretrained.path} is still growing, at level {float(level):.2g} of {G.levels}: continue its training "
            "until it makes images at full resolution."
        )


def summary(place: str, transfer: Transfer) -> Iterator[str]:
    """Lines for the user."""
    yield (
        f"{place}         {transfer.weights:,} of {transfer.total:,} weights taken over; "
        f"{len(transfer.reused)} tensors unchanged, {len(transfer.adapted)} adapted, {len(transfer.fresh)} new"
    )
    for what, reasons in (("adapted", transfer.adapted), ("new", transfer.fresh)):
        for name, why in reasons.items():
            yield f"          {what} {name}: {why}"


@dataclass(frozen=True)
class _Shapes:
    """What may differ between the pretrained network and the new one, and how to adapt tensors to it."""

    old_classes: Sequence[str]
    new_classes: Sequence[str]
    channels: tuple[int, int]  # of the images, before and now
    latent: int  # inputs of G without those of labels; 0 for D
    sums: bool  # whether the network sums over image channels and pixels (D), or makes each by itself (G)

    def adapted(self, old: Tensor, fresh: Tensor) -> tuple[Tensor, str] | None:
        """`old` in the shape of `fresh`, and how it was done; None where that is not meaningful."""
        if old.ndim != fresh.ndim:
            return None
        differing = [axis for axis in range(old.ndim) if old.shape[axis] != fresh.shape[axis]]
        if len(differing) == 1 and self.channels == (old.shape[differing[0]], fresh.shape[differing[0]]):
            return self._channels(old, fresh, differing[0])
        if len(differing) == 1 and self.latent == min(old.shape[differing[0]], fresh.shape[differing[0]]):
            return self._inputs(old, fresh, differing[0])
        if old.ndim == 4 and min(differing) >= 2:
            resized = F.interpolate(old, fresh.shape[2:], mode="bilinear", antialias=True)
            scale = old[0, 0].numel() / resized[0, 0].numel() if self.sums else 1.0
            return resized * scale, f"kernel {[*old.shape[2:]]} resampled to {[*fresh.shape[2:]]}"
        return None

    def classes(self, old: Tensor) -> Tensor:  # [old classes, ...] -> [new classes, ...]
        """Rows by class name; a new class gets the mean of all rows."""
        known = dict(zip(self.old_classes, old, strict=True))
        return torch.stack([known.get(name, old.mean(0)) for name in self.new_classes])

    def _channels(self, old: Tensor, fresh: Tensor, axis: int) -> tuple[Tensor, str]:
        """Colours stay, are repeated or averaged; alpha stays as initialised where there was none."""
        before, now = (min(channels, 3) for channels in self.channels)
        colours = old.narrow(axis, 0, before)
        if before != now:
            repeats = [now if each == axis else 1 for each in range(old.ndim)]
            colours = colours.mean(axis, keepdim=True).repeat(repeats) * (before / now if self.sums else 1.0)
        if self.channels[1] == 4:
            alpha = fresh.narrow(axis, 3, 1).to(old) if self.channels[0] != 4 else old.narrow(axis, 3, 1)
            colours = torch.cat([colours, alpha], axis)
        return colours, f"{self.channels[0]} image channels to {self.channels[1]}"

    def _inputs(self, old: Tensor, fresh: Tensor, axis: int) -> tuple[Tensor, str]:
        """Inputs of z stay; those of labels stay as initialised, or are dropped."""
        z, labels = old.narrow(axis, 0, self.latent), fresh.narrow(axis, self.latent, fresh.shape[axis] - self.latent)
        return torch.cat([z, labels.to(old)], axis), "the inputs of z"


@torch.no_grad()
def transfer(network: nn.Module, saved: Mapping[str, Tensor], shapes: _Shapes) -> Transfer:
    """Copy the saved tensors that fit, or can be adapted, into the network, in place."""
    result, weights, modules = Transfer(), dict(network.named_parameters()), dict(network.named_modules())
    result.total = sum(weight.numel() for weight in weights.values())
    of_classes = set(_of_classes(network)) if list(shapes.old_classes) != list(shapes.new_classes) else set()
    for name, fresh in network.state_dict().items():
        old = saved.get(name)
        if name.rpartition(".")[2] == "level":  # the new training has a growth of its own
            continue
        if old is None:
            made, why = None, "the pretrained model has none"
        elif name in of_classes and old.shape[1:] == fresh.shape[1:]:
            made, why = shapes.classes(old), "rows by class name, new classes with the mean of all rows"
        elif old.shape == fresh.shape:
            made, why = old, ""
        else:
            old = old * _rescaled(modules[name.rpartition(".")[0]], old, fresh)
            made, why = shapes.adapted(old, fresh) or (None, f"it was {[*old.shape]} and is {[*fresh.shape]}")
        if made is not None:
            fresh.copy_(made)
        if name not in weights:
            continue
        if made is None:
            result.fresh[name] = why
            continue
        result.weights += fresh.numel()
        if why:
            result.adapted[name] = why
        else:
            result.reused.append(name)
    spectral.settle(network)
    return result


def _rescaled(layer: nn.Module, old: Tensor, fresh: Tensor) -> float:
    """The factor for old weights of an equalized layer, which divides by the root of its number of inputs."""
    if not isinstance(layer, EqualizedConv2d | EqualizedLinear) or min(old.ndim, fresh.ndim) < 2:
        return 1.0
    return math.sqrt(fresh[0].numel() / old[0].numel())


def _of_classes(network: nn.Module) -> Iterator[str]:
    """Names of the weights with a row for each class."""
    for name, module in network.named_modules():
        if isinstance(module, LabelEmbedding):
            yield from (f"{name}.weight", f"{name}.parametrizations.weight.original")
        elif isinstance(module, LabelHead):
            yield from (f"{name}.classify.weight", f"{name}.classify.bias")
