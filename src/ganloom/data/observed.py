"""What shows only after decoding: pages left out, several depths of bits, few coloured images. Said as remarks."""

from collections.abc import Iterator
from dataclasses import dataclass

from ganloom.data.decode import Window
from ganloom.data.sources.contract import Remark

__all__ = ["Observed"]

FEW = 0.05  # share of the images up to which coloured ones are named


@dataclass
class Observed:
    """Counts over the images of a source."""

    images: int = 0
    deep: int = 0  # images of more than 8 bits
    coloured: int = 0
    first_coloured: str = ""
    paged: int = 0  # files with several pages or frames
    pages: int = 0  # pages that were left out

    def add(self, name: str, *, deep: bool, coloured: bool, frames: int) -> None:
        """Count one image, which is the first of `frames`."""
        self.images += 1
        self.deep += deep
        self.coloured += coloured
        if coloured and not self.first_coloured:
            self.first_coloured = name
        self.paged += frames > 1
        self.pages += frames - 1

    def remarks(
        self, channels: int | None = None, given: Window | None = None, used: Window | None = None
    ) -> Iterator[Remark]:
        """What the user should know, and the setting that changes it.

        `channels` and `given` are the settings `data.channels` and `data.window`; `used` is the window applied.
        """
        if self.pages:
            files = "1 file has" if self.paged == 1 else f"{self.paged:,} files have"
            yield Remark(
                "frames",
                f"{files} several pages or frames: the first of each was taken, and {self.pages:,} were left out "
                "(data.frames=all, --frames all, takes them as one image each)",
            )
        if channels is None and 0 < self.coloured <= FEW * self.images:
            some = "1 image has" if self.coloured == 1 else f"{self.coloured:,} images have"
            yield Remark(
                "coloured",
                f"{some} colour ({self.first_coloured}{' and others' if self.coloured > 1 else ''}), "
                f"{self.images - self.coloured:,} are grey: all become colour images (grey ones with data.channels=1)",
            )
        if 0 < self.deep < self.images and not given:
            lows = f"values {used[0]:g} to {used[1]:g}" if used else "some values"
            yield Remark(
                "bits",
                f"{self.deep:,} images have more than 8 bits, {self.images - self.deep:,} have 8: {lows} of the former "
                "became black to white, the latter are unchanged. If both show the same kind of picture, map the whole "
                "range of the former: data.window=0:65535 (--window) for 16 bits",
            )
        if given and not self.deep:
            yield Remark("window", "not used, since no image has more than 8 bits: leave out data.window (--window)")
