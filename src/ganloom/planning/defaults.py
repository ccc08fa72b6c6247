"""What `ganloom train` does with images when no recipe is named: one rule a decision, each with what it rests on.

The measurements behind the numbers are in docs/lab-notes.md, "The default recipe".
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ganloom.config import nested
from ganloom.core.device import computes_in_bf16
from ganloom.core.lengths import Length
from ganloom.data.inspect import Sizes

__all__ = ["Case", "Plan", "choose_recipe", "derive", "flat"]

SMALL = 48  # images with a shorter side below this are trained at 32 pixels, others at 64
LARGEST_OWN_SIZE = 64  # images all of one size up to this are not resized at all
STEP = 8  # sides that are cut to the images' ratio are multiples of this
SQUARE = 1.15  # a ratio up to this is squared: little is lost
NARROW, WIDE = 32, 64  # channels next to the image
WIDE_FROM = 500.0  # kimg from which on the wider networks have better pictures after the same time
KIMG_A_MINUTE = 45.0  # of the narrow ones, at 32x32 on two cores
CPU_LENGTH = Length(400, "kimg")
SMALL_BATCH = 16
FAST, LARGEST_FAST_BATCH = 5e-4, 32  # the rate of both networks, and up to where it has been tried


@dataclass(frozen=True)
class Case:
    """What the rules may ask about."""

    sizes: Sizes
    images: int | None  # all that there are; None where only going through them tells
    classes: int
    device: torch.device
    given: Mapping[str, Any]  # dotted settings that a person has decided

    def decided(self, key: str) -> Any:
        """What the person said of a key, or None."""
        value: Any = nested(self.given)
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value


Rule = tuple[dict[str, Any], str, str]  # settings, what they are in a word, why


@dataclass(frozen=True)
class Plan:
    """A recipe, what to set over it, and why."""

    recipe: str
    settings: dict[str, Any]  # dotted keys
    reasons: list[tuple[str, str, str]] = field(default_factory=list)  # what, value, why

    def command(self, source: str) -> str:
        """What to type."""
        flags = {"data.size": "--size", "train.micro_batch": "--micro-batch", "train.batch": "--batch"}
        said = [
            f"{flags[key]} {flat(value)}" if key in flags else f"--set {shlex.quote(f'{key}={flat(value)}')}"
            for key, value in self.settings.items()
        ]
        return " ".join(["ganloom", "train", shlex.quote(source), "--recipe", self.recipe, *said])


def derive(case: Case) -> Plan:
    """The recipe for images, with its settings. What a person has decided is left alone, and the rules heed it."""
    recipe, size = choose_recipe(case.sizes)
    rules = {"size": _size(case, recipe, size), "recipe": _recipe(recipe)}
    if case.decided("net.name") is not None or isinstance(case.decided("net"), str):
        rules["recipe"] = {}, recipe, "for images of this size; with a network of your choice its settings stand"
    else:
        rules |= {"labels": _labels(case), "precision": _precision(case)}
        if case.device.type == "cpu":
            rules |= {"length": _length(case), "width": _width(case, recipe, size), "batch": _batch(case)}
            rules |= {"rates": _rates(case)}
    reasons: list[tuple[str, str, str]] = []
    settings: dict[str, Any] = {}
    for what, (made, word, why) in rules.items():
        left = {key: value for key, value in made.items() if case.decided(key) is None}
        settings |= left
        reasons.append(
            (what, word, why) if left or not made else (what, flat(case.decided(next(iter(made)))), "as you say")
        )
    return Plan(recipe, settings, reasons)


def choose_recipe(sizes: Sizes) -> tuple[str, tuple[int, int] | None]:
    """A recipe for images of these sizes and, where the recipe's own size would only lose something, a size."""
    recipe = "dcgan-32" if min(sizes.common) < SMALL else "dcgan-64"
    if sizes.uniform and max(sizes.common) <= LARGEST_OWN_SIZE:
        return recipe, sizes.common
    if sizes.ratio is not None and not _is_square(sizes.ratio) and 0.25 <= sizes.ratio <= 4:
        side = _side(recipe)
        short = max(STEP, round(side * min(sizes.ratio, 1 / sizes.ratio) / STEP) * STEP)
        return recipe, (short, side) if sizes.ratio < 1 else (side, short)
    return recipe, None


def _is_square(ratio: float) -> bool:
    return 1 / SQUARE <= ratio <= SQUARE


def _side(recipe: str) -> int:
    return 32 if recipe == "dcgan-32" else 64


def _size(case: Case, recipe: str, size: tuple[int, int] | None) -> Rule:
    sizes, (height, width) = case.sizes, size or (_side(recipe), _side(recipe))
    if size is None and sizes.ratio is not None and _is_square(sizes.ratio):
        why = "the recipe's: the images are square, or nearly"
    elif size is None:
        fault = "their sides' ratio differs" if sizes.ratio is None else "they are very long"
        why = f"{fault}, so the middle is cut to a square; --set data.resize=fit keeps all of it"
    else:
        why = "their own size, nothing is lost" if size == sizes.common else "the sides' ratio is kept"
    return ({} if size is None else {"data.size": size}), f"{height}x{width}", why


def _recipe(recipe: str) -> Rule:
    kind = "small images" if recipe == "dcgan-32" else f"images with sides from {SMALL} pixels up"
    return {}, recipe, f"DCGAN for {kind}: in the first hour on a CPU nothing tried was ahead of it"


def _labels(case: Case) -> Rule:
    if case.classes < 2:
        return {}, "off", "there are no classes"
    why = f"there are {case.classes} classes: with --set data.labels=true one can be asked for; pictures were no better"
    return {}, "off", f"{why}, or worse"


def _precision(case: Case) -> Rule:
    if case.device.type != "cpu":
        return {}, "auto", "bf16 where the GPU computes in it"
    if computes_in_bf16(case.device):
        return {"train.precision": "bf16"}, "bf16", "this CPU computes in it: 1.4 times as many images a second"
    return {}, "fp32", "this CPU does not compute in bf16"


def _length(case: Case) -> Rule:
    why = "pictures get better for as long as one cares to wait; --length and resume make it longer"
    return {"train.length": str(CPU_LENGTH)}, str(CPU_LENGTH), why


def _width(case: Case, recipe: str, size: tuple[int, int] | None) -> Rule:
    planned = _planned_kimg(case, recipe, size)
    width = NARROW if planned < WIDE_FROM else WIDE
    than = "fewer" if width == NARROW else "as many or more"
    why = f"{than} than {WIDE_FROM:g} kimg: " + (
        "half as wide sees twice as many images in the time, and is ahead"
        if width == NARROW
        else "time for more detail"
    )
    return {"net.g.width": width, "net.d.width": width}, str(width), why


def _planned_kimg(case: Case, recipe: str, size: tuple[int, int] | None) -> float:
    """About how many thousand images the training will see, with narrow networks."""
    try:
        length = Length.parse(case.decided("train.length") or CPU_LENGTH)
    except ValueError:  # the configuration will say what is wrong with it
        return 0.0
    if length.is_time:
        height, width = size or (_side(recipe), _side(recipe))
        return length.amount * KIMG_A_MINUTE * 32 * 32 / (height * width)
    return length.images(epoch=case.images or 0, step=_given_batch(case)) / 1000


def _given_batch(case: Case) -> int:
    batch = case.decided("train.batch")
    return batch if isinstance(batch, int) else SMALL_BATCH


def _batch(case: Case) -> Rule:
    return {"train.batch": SMALL_BATCH}, str(SMALL_BATCH), "small batches learn most per minute"


def _rates(case: Case) -> Rule:
    if _given_batch(case) > LARGEST_FAST_BATCH:
        return {}, "2e-4", f"the recipe's: faster ones have been tried with batches of up to {LARGEST_FAST_BATCH}"
    settings = {f"optimizer.{place}.{key}": value for place in "gd" for key, value in (("lr", FAST), ("beta1", 0.0))}
    return settings, f"{FAST:g}", "learns faster than 2e-4, no worse after 400 kimg; beta1 0"


def flat(value: Any) -> str:
    """A setting as it is typed."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()
