"""What `ganloom train` does with images when no recipe is named: one rule per decision, each with its reason.

The measurements behind the numbers are in docs/lab-notes.md, "The default recipe".
"""

import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from ganloom.config import nested, recipe_values
from ganloom.core.device import computes_in_bf16
from ganloom.core.lengths import Length
from ganloom.core.shapes import parse_size
from ganloom.data.inspect import Sizes

__all__ = ["AS_YOU_SAY", "Case", "Defaults", "Reason", "choose_recipe", "derive", "flat"]

AS_YOU_SAY = "your setting"
SMALL = 48  # images with a shorter side below this are trained at 32 pixels, others at 64
SIDES = {"dcgan-32": 32, "dcgan-64": 64}
MIN_PER_CLASS = 500  # images, on average: with a hundred, conditional GANs collapse (Shahbazi et al. 2022)
MAX_OWN_SIZE = 64  # images that all have one size up to this are not resized
STEP = 8  # sides that are cut to the images' ratio are multiples of this
SQUARE = 1.15  # images of a ratio up to this are cropped to a square: little is lost
NARROW, WIDE = 32, 64  # channels of the layer next to the image
WIDE_FROM = 500.0  # kimg from which the wider networks have better images after the same time
KIMG_PER_MINUTE = 45.0  # of narrow networks at 32x32 on two cores that compute in bf16; half without bf16
OFTEN = 80  # epochs from which ADA was worth the time that it takes
CPU_LENGTH = Length(400, "kimg")
SMALL_BATCH = 16
SHORT_AVERAGE = Length(60, "images")
R1_AT_64, R1_EVERY = 0.1, 16  # gamma for 64x64 images; applied every 16 updates
FAST, MAX_FAST_BATCH = 5e-4, 32  # learning rate of both networks, and the largest batch it was tried with


class Reason(NamedTuple):
    """One decision: what it is about, its value as it is typed, and why."""

    what: str
    value: str
    why: str


@dataclass(frozen=True)
class Case:
    """What the rules can see."""

    sizes: Sizes
    images: int | None  # how many; None where only reading all of them would tell
    classes: int
    device: torch.device
    given: Mapping[str, Any]  # dotted settings of the user

    def decided(self, key: str) -> Any:
        """The user's value of a key, or None."""
        return self._find(key)[1]

    def leaves_open(self, key: str) -> bool:
        """Whether the user set neither a key nor a section that it is part of; null is a value too."""
        return not self._find(key)[0]

    def _find(self, key: str) -> tuple[bool, Any]:
        value: Any = nested(self.given)
        for part in key.split("."):
            if not isinstance(value, Mapping):  # `net: mlp` for `net.name: mlp`; `augment: null` for all of it
                return True, value if part == "name" else None
            if part not in value:
                return False, None
            value = value[part]
        return True, value


Rule = tuple[dict[str, Any], str, str]  # settings, their value in a word, why


@dataclass(frozen=True)
class Defaults:
    """A recipe, what to set over it, and why."""

    recipe: str
    settings: dict[str, Any]  # dotted keys
    reasons: list[Reason] = field(default_factory=list)
    said: frozenset[str] = frozenset()  # keys that the user has set, where `reasons` say so already

    def command(self, source: str) -> str:
        """The command that trains with it."""
        flags = {"data.size": "--size", "train.micro_batch": "--micro-batch", "train.batch": "--batch"}
        said = [
            f"{flags[key]} {flat(value)}" if key in flags else f"--set {quoted(f'{key}={flat(value)}')}"
            for key, value in self.settings.items()
        ]
        return " ".join(["ganloom", "train", quoted(source), "--recipe", self.recipe, *said])


def quoted(text: str) -> str:
    """Quoted for this machine's shell."""
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)


def derive(case: Case) -> Defaults:
    """The recipe for images, with its settings. Settings of the user stay, and the rules take them into account."""
    recipe, own = choose_recipe(case.sizes, _given_size(case))
    side = SIDES[recipe]
    rules = {"size": _size(case.sizes, own, side), "recipe": _recipe(recipe)}
    if case.decided("net.name") is not None:
        rules["recipe"] = {}, recipe, "for images of this size; its settings apply, with a network of your choice"
    else:
        shape = _given_size(case) or own or (side, side)
        kimg = _planned_kimg(case, shape, recipe)
        rules |= {"labels": _labels(case), "augment": _augment(case, kimg), "precision": _precision(case)}
        if case.device.type == "cpu":
            rules |= {
                "length": _length(case),
                "width": _width(kimg or 0.0),
                "batch": _batch(case),
                "rates": _rates(case),
                "penalty": _penalty(case, shape),
                "average": _average(case, shape),
            }
    reasons: list[Reason] = []
    settings: dict[str, Any] = {}
    said: set[str] = set()
    for what, (made, word, why) in rules.items():
        left = {key: value for key, value in made.items() if case.leaves_open(key)}
        settings |= left
        if made and not left:
            word, why = flat(case.decided(next(iter(made)))), AS_YOU_SAY
            said |= {key for key in made if flat(case.decided(key)) == word}
        reasons.append(Reason(what, word, why))
    return Defaults(recipe, settings, reasons, frozenset(said))


def choose_recipe(sizes: Sizes, wanted: tuple[int, int] | None = None) -> tuple[str, tuple[int, int] | None]:
    """A recipe for images of these sizes and, where the recipe's own size would lose detail, a better size.

    The recipe is that for the size that the user `wanted`, if any.
    """
    recipe = "dcgan-32" if min(wanted or sizes.common) < SMALL else "dcgan-64"
    if sizes.uniform and max(sizes.common) <= MAX_OWN_SIZE:
        return recipe, sizes.common
    if sizes.ratio is not None and not _is_square(sizes.ratio) and 0.25 <= sizes.ratio <= 4:
        side = SIDES[recipe]
        short = max(STEP, round(side * min(sizes.ratio, 1 / sizes.ratio) / STEP) * STEP)
        return recipe, (short, side) if sizes.ratio < 1 else (side, short)
    return recipe, None


def _is_square(ratio: float) -> bool:
    return 1 / SQUARE <= ratio <= SQUARE


def _size(sizes: Sizes, own: tuple[int, int] | None, side: int) -> Rule:
    if own is not None:
        why = "their own size, nothing is lost" if own == sizes.common else "keeps their aspect ratio"
    elif sizes.ratio is not None and _is_square(sizes.ratio):
        why = "the recipe's size: the images are square, or nearly"
    else:
        fault = "their aspect ratios differ" if sizes.ratio is None else "they are very long"
        why = f"{fault}, so the middle is cropped to a square; --set data.resize=fit keeps the whole image"
    size = own or (side, side)
    return {"data.size": size}, flat(size), why


def _recipe(recipe: str) -> Rule:
    kind = "small images" if recipe == "dcgan-32" else f"images of {SMALL} pixels or more"
    return {}, recipe, f"DCGAN for {kind}: the network that these rules were measured with"


def _labels(case: Case) -> Rule:
    if case.classes < 2:
        return {"data.labels": False}, "off", "there are no classes"
    if case.images is not None and case.images < MIN_PER_CLASS * case.classes:
        why = f"fewer than {MIN_PER_CLASS} images for each of {case.classes} classes: with labels, G may collapse"
        return {"data.labels": False}, "off", f"{why} to one image per class; --set data.labels=true tries it"
    return (
        {"data.labels": True},
        "on",
        f"there are {case.classes} classes: labels gave better images where measured, and you can ask for a class",
    )


def _augment(case: Case, kimg: float | None) -> Rule:
    ada = {"augment.name": "ada"}
    if not case.leaves_open("augment.name"):
        return ada, "ada", AS_YOU_SAY
    if case.decided("loss") is not None:
        return {}, "none", "you chose the loss; with few images, try --set augment=ada"
    if kimg is None or case.images is None or case.decided("data.classes") is not None:
        return {}, "none", "it is unknown how often each image will be seen; with few images, try --set augment=ada"
    epochs = kimg * 1000 / max(1, case.images)
    if epochs < OFTEN:
        return {}, "none", f"each image is seen fewer than {OFTEN} times, where ADA costs time and hardly helps"
    return ada, "ada", f"each image is seen about {epochs:,.0f} times: without ADA, D would memorise them"


def _precision(case: Case) -> Rule:
    if case.device.type != "cpu":
        return {"train.precision": "auto"}, "auto", "bf16 if the GPU supports it"
    if computes_in_bf16(case.device):
        return {"train.precision": "bf16"}, "bf16", "this CPU supports it: 1.4 times as many images per second"
    return {"train.precision": "fp32"}, "fp32", "this CPU does not support bf16"


def _length(case: Case) -> Rule:
    why = "longer training gives better images: use --length, or resume later"
    return {"train.length": str(CPU_LENGTH)}, str(CPU_LENGTH), why


def _width(kimg: float) -> Rule:
    if kimg < WIDE_FROM:
        width, why = (
            NARROW,
            f"for less than {WIDE_FROM:g} kimg: wider networks see half as many images in the time, and do worse",
        )
    else:
        width, why = WIDE, f"for {WIDE_FROM:g} kimg or more: narrower networks hardly improve from there on"
    return {"net.g.width": width, "net.d.width": width}, str(width), why


def _planned_kimg(case: Case, shape: tuple[int, int], recipe: str) -> float | None:
    """About how many thousand images the training will see; None for a length in time on a GPU."""
    usual = CPU_LENGTH if case.device.type == "cpu" else recipe_values(recipe)["train"]["length"]
    try:
        length = Length.parse(case.decided("train.length") or usual)
    except ValueError:  # the configuration will say what is wrong with it
        return None
    if length.is_time:
        if case.device.type != "cpu":
            return None
        pace = KIMG_PER_MINUTE if computes_in_bf16(case.device) else KIMG_PER_MINUTE / 2
        narrow = length.minutes * pace * 32 * 32 / (shape[0] * shape[1])
        return narrow if narrow < WIDE_FROM else max(WIDE_FROM, narrow / 2)  # wider ones are half as fast
    return length.images(epoch=case.images or 0, step=_given_batch(case)) / 1000


def _given_size(case: Case) -> tuple[int, int] | None:
    size = case.decided("data.size")
    if size is None and not case.leaves_open("data.size"):  # their own
        return case.sizes.common
    try:
        return parse_size(size) if isinstance(size, int | str) else size
    except ValueError:  # as above
        return None


def _given_batch(case: Case) -> int:
    batch = case.decided("train.batch")
    return batch if isinstance(batch, int) else SMALL_BATCH


def _batch(case: Case) -> Rule:
    return {"train.batch": SMALL_BATCH}, str(SMALL_BATCH), "small batches learn most per minute"


def _rates(case: Case) -> Rule:
    if _given_batch(case) <= MAX_FAST_BATCH:
        rate, beta1 = FAST, 0.0
        why = "learns faster than 2e-4 in the first minutes; beta1 0 was as good as 0.5 on photographs"
    else:
        rate, beta1, why = 2e-4, 0.5, f"as published: {FAST:g} was tried with batches of up to {MAX_FAST_BATCH}"
    both = {"lr": rate, "beta1": beta1}
    return {f"optimizer.{place}.{key}": value for place in "gd" for key, value in both.items()}, f"{rate:g}", why


def _penalty(case: Case, shape: tuple[int, int]) -> Rule:
    if not case.leaves_open("penalties") and "r1" not in (case.decided("penalties") or ()):
        return {}, "none", "only the penalties that you set"
    weight: Any = float(f"{R1_AT_64 * shape[0] * shape[1] / 64**2:.2g}")
    settings = {"penalties.r1.weight": weight, "penalties.r1.interval": R1_EVERY}
    if not case.leaves_open("penalties.r1.weight"):
        weight = case.decided("penalties.r1.weight")
    elif case.decided("loss.name") not in (None, "bce") or case.decided("net.d.norm") not in (None, "batch"):
        why = f"R1 helped only with bce and BatchNorm in D; to try it, --set penalties.r1.weight={weight}"
        return {}, "none", why
    if weight == 0:
        return {}, "none", AS_YOU_SAY
    every = case.decided("penalties.r1.interval") or R1_EVERY
    why = f"every {every} updates; at 96 kimg it halved the distance on Fashion-MNIST, and quartered it on X-rays"
    return settings, "r1, by StyleGAN2's rule" if weight is None else f"r1, {flat(weight)}", why


def _average(case: Case, shape: tuple[int, int]) -> Rule:
    if shape[0] * shape[1] >= SMALL * SMALL and case.leaves_open("ema.ramp_up"):
        why = "EMA half-life: one that grows with the images seen loses fine texture at 64 pixels"
        return {"ema.half_life": str(SHORT_AVERAGE)}, str(SHORT_AVERAGE), why
    return {"ema.ramp_up": 0.05}, "5.0%", "EMA half-life, of the images seen: a long one was best at 32 pixels"


def flat(value: Any) -> str:
    """A value as it is typed."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
