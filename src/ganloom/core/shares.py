"""Read fractions such as `5%` and windows of values such as `-1350:150`."""

import math

__all__ = ["check_window", "parse_share", "parse_window"]


def parse_share(text: str) -> float:
    """Read `5%` or `0.05` as 0.05. Raises ValueError with the remedy."""
    number = text.strip().removesuffix("%")
    try:
        return float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        raise ValueError(f"'{text}' is not a fraction; write '5%' or 0.05") from None


def parse_window(text: str) -> tuple[float, float]:
    """Read `-1350:150` as (-1350, 150). Raises ValueError with the remedy."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ValueError(f"'{text}' is not a window; write LOW:HIGH, such as -1350:150") from None


def check_window(window: tuple[float, float]) -> None:
    """Raise ValueError for a window that is empty or infinite."""
    if not (window[0] < window[1] and math.isfinite(window[1] - window[0])):
        raise ValueError("a window is LOW:HIGH, two finite values with LOW below HIGH, such as -1350:150")
