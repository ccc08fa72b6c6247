"""What to do about a fault, by the settings of the training: a remedy that it has already, or that would make it worse,
is never advised.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ganloom.config import Config
from ganloom.guard.remedies import augmented, evened, huge, is_blind_to_contrast, outpaced, saturated, slower, stronger
from ganloom.guard.signals import Signals
from ganloom.guard.verdicts import MIN_UPDATE_RATIO

__all__ = ["advice"]

NETWORKS = {"g": "the generator", "d": "the discriminator"}
USUAL = "recipes use 0.00005 to 0.0025"  # the learning rates of the networks that come with ganloom


def advice(suspicion: str, config: Config, now: Signals) -> str:
    """Sentences that name settings to type. `suspicion` is a key of `RULES`."""
    match suspicion:
        case "divergence":
            parts = [*_rates(config, "Usually the learning rates are too high"), _penalty(config)]
        case "collapse":
            others = "" if config.loss.name == "relativistic" else ", or try another loss (--recipe r3gan-32)"
            parts = [*_rates(config, "Lower learning rates help"), _penalty(config, others)]
        case "overpowering":
            parts = [*_overpowering(config)]
        case "stalled":
            parts = [*_stalled(config, now)]
        case "tone":
            parts = [*_tone(config)]
        case "memorisation":
            parts = [_more_images(config), "An earlier model may be better: best/model.safetensors."]
        case _:
            parts = [_more_images(config), "A shorter run helps too."]
    return " ".join(parts)


def _rates(config: Config, why: str) -> Iterator[str]:
    """Lower learning rates: all the way for rates that no GAN is trained with, else a quarter of the present ones."""
    if rates := huge(config):
        yield f"{_now(config, rates)}: {USUAL}. Lower {_it(rates)}: {_flags(rates)}."
    elif rates := slower(config, "g") | slower(config, "d"):
        yield f"{why} ({_now(config, rates)}): {_flags(rates)}."


def _tone(config: Config) -> Iterator[str]:
    """D must see what is wrong. Then G follows, unless it is too fast for D."""
    if is_blind_to_contrast(config):
        yield "This discriminator cannot see contrast, so nothing corrects it. In a new run: --set net.d.bias=true."
    else:
        yield from _rates(config, "The tone swings less at lower learning rates")


def _overpowering(config: Config) -> Iterator[str]:
    if huge(config):
        yield from _rates(config, "")
    elif outpaced(config, "g"):
        rate = config.optimizer.d.lr
        yield f"The generator learns at a far lower rate than the discriminator: --set optimizer.g.lr={rate:g}."
        return
    else:
        yield f"Lower its learning rate ({_now(config, ['optimizer.d.lr'])}): {_flags(slower(config, 'd'))}."
    yield _penalty(config)


def _stalled(config: Config, now: Signals) -> Iterator[str]:
    rates = evened(config, now)
    still = min(NETWORKS, key=lambda place: getattr(now, f"update_{place}"))
    if huge(config):
        yield from _rates(config, "")
    elif saturated(config, now):
        yield (
            "The discriminator recognises every generated image: its loss is near 0, and so are the gradients, at any "
            f"learning rate. A higher one would not help; lower the discriminator's: {_flags(slower(config, 'd'))}."
        )
        yield _penalty(config)
    elif rates:
        yield f"{NETWORKS[still].capitalize()} hardly changes: raise its learning rate: {_flags(rates)}."
    elif min(now.update_g, now.update_d) < MIN_UPDATE_RATIO * max(now.update_g, now.update_d):
        yield (
            f"{NETWORKS[still].capitalize()} hardly changes, though its learning rate is no lower than the other's: "
            "check its schedule, clip and frozen stages, and its loss."
        )
    else:
        yield (
            "Both networks change, so neither rate is too low by far: try lower ones "
            f"({_flags(slower(config, 'g') | slower(config, 'd'))}), or another recipe (ganloom recipes)."
        )


def _penalty(config: Config, others: str = "") -> str:
    """A stronger penalty on D's slope, or a first one; `others` are alternatives."""
    if weights := stronger(config):
        return f"Or increase the penalty: {_flags(weights)}{others}."
    return f"Or add the penalty R1: --set penalties.r1.weight=null{others}."


def _more_images(config: Config) -> str:
    changes = augmented(config)
    kind = "stronger" if config.augment is not None and config.augment.name == "ada" else "adaptive"
    return f"More images help, or {kind} augmentation: {_flags(changes)}." if changes else "More images help."


def _now(config: Config, keys: Mapping[str, Any] | list[str]) -> str:
    """`optimizer.g.lr is 0.2, optimizer.d.lr is 0.2`."""
    return ", ".join(f"{key} is {getattr(config.optimizer, key.split('.')[1]).lr:g}" for key in keys)


def _it(rates: Mapping[str, Any]) -> str:
    return "it" if len(rates) == 1 else "them"


def _flags(changes: Mapping[str, Any]) -> str:
    """Settings as they are typed: `--set optimizer.g.lr=5e-05`; of a section its name first, then its options."""
    pairs: list[tuple[str, Any]] = []
    for key, value in changes.items():
        options = dict(value) if isinstance(value, Mapping) else {}
        pairs.append((key, options.pop("name") if options else value))
        pairs += [(f"{key}.{name}", option) for name, option in options.items()]
    return " ".join(f"--set {key}={_typed(value)}" for key, value in pairs)


def _typed(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
