"""Lengths of a training as the user writes them: `30 epochs`, `200 kimg`, `5000 images`, `5000 steps`, `2 hours`."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

__all__ = ["Interval", "Length", "crosses"]

MINUTES = {"seconds": 1 / 60, "minutes": 1, "hours": 60}
MAX_AMOUNT = 1e12  # of any unit
UNITS = ("epochs", "kimg", "images", "steps", *MINUTES)


@dataclass(frozen=True)
class Length:
    """A duration of training. Every unit except seconds, minutes and hours converts to a number of training images."""

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: "str | Length") -> "Length":
        """Read text such as `30 epochs` or `1 epoch`. Raises ValueError with the remedy."""
        if isinstance(text, Length):
            return text
        match = re.fullmatch(
            r"\s*((?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9][0-9_]*)\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]+)\s*",
            str(text),
        )
        unit = match.group(2).lower() if match else ""
        unit = unit if unit in UNITS else unit + "s"
        if match is None or unit not in UNITS:
            raise ValueError(
                f"'{text}' is not a length; write a number and a unit, such as '30 epochs', '200 kimg', '5000 images', "
                "'5000 steps', '40 seconds', '10 minutes' or '2 hours'"
            )
        amount = float(match.group(1).replace("_", "").replace(",", ""))
        if amount > MAX_AMOUNT:
            raise ValueError(f"'{text}' exceeds the maximum length of {MAX_AMOUNT:,.0f} {unit}")
        return cls(amount, unit)

    def __str__(self) -> str:
        return f"{str(self.amount).removesuffix('.0')} {self.unit.removesuffix('s') if self.amount == 1 else self.unit}"

    @property
    def is_time(self) -> bool:
        """Whether the unit is seconds, minutes or hours."""
        return self.unit in MINUTES

    @property
    def minutes(self) -> float:
        """The duration in minutes, of a length that `is_time`."""
        return self.amount * MINUTES[self.unit]

    def images(self, *, epoch: int, step: int) -> int:
        """This length in images, given how many images an epoch and a step have. Not for a length that `is_time`."""
        assert not self.is_time, "minutes only stop a run; they never convert to images"
        scale = {"epochs": epoch, "kimg": 1000, "images": 1, "steps": step}[self.unit]
        return round(self.amount * scale)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())


def _not_time(length: Length) -> Length:
    if length.is_time:
        raise ValueError("minutes and hours may only end a run (train.length): write epochs, kimg, images or steps")
    return length


Interval = Annotated[Length, AfterValidator(_not_time)]
"""A length in images, epochs or steps: so that a training is reproducible, nothing in it depends on the clock."""


def crosses(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]; 0 means never."""
    return every > 0 and after // every > before // every
