"""The shape of an image, and image sizes as the user writes them."""

import re
from dataclasses import dataclass

__all__ = ["MAX_SIDE", "ImageShape", "parse_size"]

MAX_SIDE = 1024  # pixels: no network makes larger images


@dataclass(frozen=True)
class ImageShape:
    """Channels, height and width of what G makes and D reads."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        colour = {1: "grey", 3: "RGB", 4: "RGBA"}.get(self.channels, f"{self.channels} channels")
        return f"{self.height}x{self.width} {colour}"


def parse_size(text: str | int) -> tuple[int, int]:
    """Read `64` or `48x64` (height x width) as (height, width). Raises ValueError with the remedy."""
    match = re.fullmatch(r"\s*(\d+)(?:\s*[xX]\s*(\d+))?\s*", str(text))
    if match is None:
        raise ValueError(f"'{text}' is not a size; write '64' or 'HEIGHTxWIDTH', such as '48x64'")
    height = int(match.group(1))
    width = int(match.group(2) or height)
    if not (height and width):
        raise ValueError(f"'{text}' is not a size: each side needs at least 1 pixel")
    return height, width
