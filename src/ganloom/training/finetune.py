"""Fine-tuning: networks that begin with the weights of a trained model, as far as these fit.

Weights are matched by name. Those of another form are fitted where that has a meaning: rows of classes by the classes'
names, kernels over the whole map by resampling, image channels by spreading or adding up. The rest begins anew.
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
from ganloom.core.files import sha256
from ganloom.core.tensors import unpack
from ganloom.models import modelfile
from ganloom.nets.contract import Growing
from ganloom.nets.layers import spectral
from ganloom.nets.layers.equalized import EqualizedConv2d, EqualizedLinear
from ganloom.nets.layers.labels import LabelEmbedding, LabelHead
from ganloom.runs import RunFolder
from ganloom.training import checkpoint
from ganloom.training.step import AdversarialStep

__all__ = ["Trained", "begin_with", "open_trained"]

LEAST = 0.1  # of G's weights that must come from the trained model


@dataclass(frozen=True)
class Trained:
    """What a training begins with: G alone from a model file, all of it from a run."""

    path: Path
    header: modelfile.Header
    config: Config | None  # of a run
    tensors: Mapping[str, Tensor]  # G/..., ema/... and, of a run, D/..., optimizer_g/... as a checkpoint has them
    sha256: str  # of the file that they lie in

    def of(self, place: str) -> dict[str, Tensor]:
        """The tensors of one network, by their names in it."""
        prefix = f"{place}/"
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def open_trained(path: Path) -> Trained:
    """A run folder, from its newest checkpoint, or a model file. Raises `ModelError` and `RunError`."""
    path = path.expanduser().resolve()
    if (path / "config.yaml").is_file():
        run = RunFolder(path)
        header = modelfile.read_header(modelfile.locate(path))
        run.custom_code(run.config, run.facts)  # refuses a network whose file has changed since
        data = checkpoint.newest(run.checkpoints)
        return Trained(path, header, run.config, unpack(data, run.checkpoints), sha256(data))
    if path.is_dir():
        raise ModelError(f"{path} is no run folder: give one, or a model.safetensors.")
    header, data = modelfile.read_header(path), path.read_bytes()
    weights = unpack(data, path)
    both = {f"{place}/{name}": value for place in ("G", "ema") for name, value in weights.items()}
    return Trained(path, header, None, both, sha256(data))


@dataclass
class Fit:
    """What became of a network's weights, by name."""

    reused: list[str] = field(default_factory=list)
    fitted: dict[str, str] = field(default_factory=dict)  # and how
    fresh: dict[str, str] = field(default_factory=dict)  # and why
    weights: int = 0  # that come from the trained model
    total: int = 0


def begin_with(trained: Trained, step: AdversarialStep) -> list[str]:
    """Put the trained weights into the networks; returns lines for people: what was reused, fitted and fresh.

    With `start.optimizers` these go on where their weights are reused. Raises `ConfigError` if too little fits.
    """
    header, config = trained.header, step.config
    assert config.start is not None, "the configuration says what to begin with"
    if config.start.sha256 not in (None, trained.sha256):
        raise ConfigError(
            f"{trained.path} is no longer what this training began with (sha256 {config.start.sha256}): put it back, "
            f"or begin with what it is now, with start.sha256=null."
        )
    if header.net != (Path(config.net.name).name if is_file(config.net.name) else config.net.name):
        raise ConfigError(
            f"{trained.path} is a {header.net}, and this training is one of {config.net.name}: leave --recipe and "
            f"net out, or name a recipe with net={header.net}."
        )
    refuse_half_grown(trained)
    old = header.class_names if header.labels else []
    new = list(step.stream.dataset.class_names) if config.data.labels else []
    channels = header.image_shape.channels, step.stream.dataset.shape.channels
    fits: dict[str, Fit] = {}
    for place, network in (("G", step.g.net), ("ema", step.ema.G), ("D", step.d.net)):
        if saved := trained.of(place):
            latent = 0 if place == "D" else header.latent
            fits[place] = fit(network, saved, _Forms(old, new, channels, latent, adds_up=place == "D"))
    share = fits["G"].weights / fits["G"].total
    if share < LEAST:
        reasons = "; ".join(f"{name} {why}" for name, why in list(fits["G"].fresh.items())[:3])
        raise ConfigError(
            f"{trained.path} does not fit: only {share:.0%} of G's weights could be taken over ({reasons}). Give the "
            f"same net, width and --latent, and a --size near {header.shape[1]}x{header.shape[2]}."
        )
    lines = [f"from      {trained.path}, trained with {header.training.get('nimg', 0):,} images"]
    for place, learner in (("G", step.g), ("D", step.d)):
        if place in fits:
            lines += told(place, fits[place])
            goes_on = trained.config and _optimizer(trained.config, place) == learner.settings.name
            if config.start.optimizers and goes_on:
                reused = set(fits[place].reused)
                checkpoint.restore_optimizer(learner, f"optimizer_{place.lower()}", trained.tensors, reused)
    if "D" not in fits:
        lines.append("D         begins anew: a model file holds G alone; give the run's folder to take D too")
    return lines


def refuse_half_grown(trained: Trained) -> None:
    """A network that is still growing has layers that have learned nothing; at full size it would use them."""
    level = trained.tensors.get("ema/level")
    if level is None or trained.header.code is not None:
        return
    G = trained.header.build()
    if isinstance(G, Growing) and float(level) < G.levels:
        raise ConfigError(
            f"{trained.path} is still growing, at level {float(level):.2g} of {G.levels}: go on training it until its "
            "images are whole."
        )


def _optimizer(config: Config, place: str) -> str:
    return (config.optimizer.g if place == "G" else config.optimizer.d).name


def told(place: str, fit: Fit) -> Iterator[str]:
    """Lines for people."""
    yield (
        f"{place}         {fit.weights:,} of {fit.total:,} weights taken over; "
        f"{len(fit.reused)} tensors as they are, {len(fit.fitted)} fitted, {len(fit.fresh)} fresh"
    )
    for what, reasons in (("fitted", fit.fitted), ("fresh", fit.fresh)):
        for name, why in reasons.items():
            yield f"          {what} {name}: {why}"


@dataclass(frozen=True)
class _Forms:
    """What may differ between the trained network and the new one."""

    old_classes: Sequence[str]
    new_classes: Sequence[str]
    channels: tuple[int, int]  # of the images, before and now
    latent: int  # inputs of G, to which labels add some; 0 of D
    adds_up: bool  # whether image channels and pixels are added up (D), or each stands for itself (G)

    def fitted(self, old: Tensor, fresh: Tensor) -> tuple[Tensor, str] | None:
        """`old` in the form of `fresh`, and how it was done; None where that has no meaning."""
        if old.ndim != fresh.ndim:
            return None
        differing = [axis for axis in range(old.ndim) if old.shape[axis] != fresh.shape[axis]]
        if len(differing) == 1 and self.channels == (old.shape[differing[0]], fresh.shape[differing[0]]):
            return self._channels(old, fresh, differing[0])
        if len(differing) == 1 and self.latent == min(old.shape[differing[0]], fresh.shape[differing[0]]):
            return self._inputs(old, fresh, differing[0])
        if old.ndim == 4 and min(differing) >= 2:
            resized = F.interpolate(old, fresh.shape[2:], mode="bilinear", antialias=True)
            scale = old[0, 0].numel() / resized[0, 0].numel() if self.adds_up else 1.0
            return resized * scale, f"kernel {[*old.shape[2:]]} resampled to {[*fresh.shape[2:]]}"
        return None

    def classes(self, old: Tensor) -> Tensor:  # [old classes, ...] -> [new classes, ...]
        known = dict(zip(self.old_classes, old, strict=True))
        return torch.stack([known.get(name, old.mean(0)) for name in self.new_classes])

    def _channels(self, old: Tensor, fresh: Tensor, axis: int) -> tuple[Tensor, str]:
        """Colours to colours, or spread, or their mean; transparency begins anew where there was none."""
        before, now = (min(channels, 3) for channels in self.channels)
        colours = old.narrow(axis, 0, before)
        if before != now:
            repeats = [now if each == axis else 1 for each in range(old.ndim)]
            colours = colours.mean(axis, keepdim=True).repeat(repeats) * (before / now if self.adds_up else 1.0)
        if self.channels[1] == 4:
            alpha = fresh.narrow(axis, 3, 1).to(old) if self.channels[0] != 4 else old.narrow(axis, 3, 1)
            colours = torch.cat([colours, alpha], axis)
        return colours, f"{self.channels[0]} image channels to {self.channels[1]}"

    def _inputs(self, old: Tensor, fresh: Tensor, axis: int) -> tuple[Tensor, str]:
        """Inputs of z as they were; those of labels begin anew, or are left out."""
        z, labels = old.narrow(axis, 0, self.latent), fresh.narrow(axis, self.latent, fresh.shape[axis] - self.latent)
        return torch.cat([z, labels.to(old)], axis), "the inputs of z"


@torch.no_grad()
def fit(network: nn.Module, saved: Mapping[str, Tensor], forms: _Forms) -> Fit:
    """Take over what can be taken, in place."""
    result, weights, modules = Fit(), dict(network.named_parameters()), dict(network.named_modules())
    result.total = sum(weight.numel() for weight in weights.values())
    of_classes = set(_of_classes(network)) if list(forms.old_classes) != list(forms.new_classes) else set()
    for name, fresh in network.state_dict().items():
        old = saved.get(name)
        if name.rpartition(".")[2] == "level":  # where a network that grows is now is its own affair
            continue
        if old is None:
            made, why = None, "the trained model has none"
        elif name in of_classes and old.shape[1:] == fresh.shape[1:]:
            made, why = forms.classes(old), "rows by the names of the classes, those of new ones the mean of all"
        elif old.shape == fresh.shape:
            made, why = old, ""
        else:
            old = old * _rescaled(modules[name.rpartition(".")[0]], old, fresh)
            made, why = forms.fitted(old, fresh) or (None, f"it was {[*old.shape]} and is {[*fresh.shape]}")
        if made is not None:
            fresh.copy_(made)
        if name not in weights:
            continue
        if made is None:
            result.fresh[name] = why
            continue
        result.weights += fresh.numel()
        if why:
            result.fitted[name] = why
        else:
            result.reused.append(name)
    spectral.settle(network)
    return result


def _rescaled(layer: nn.Module, old: Tensor, fresh: Tensor) -> float:
    """An equalized layer divides by the root of its inputs: the more there are, the larger old weights have to be."""
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
