"""Shares and windows of values as a person writes them."""

import math

__all__ = ["check_window", "parse_share", "parse_window"]


def parse_share(text: str) -> float:
    """`5%` or `0.05` as 0.05. Raises ValueError with the remedy."""
    number = text.strip().removesuffix("%")
    try:
        return float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        raise ValueError(f"'{text}' is not a share; write '5%' or 0.05") from None


def parse_window(text: str) -> tuple[float, float]:
    """`-1350:150` as (-1350, 150). Raises ValueError with the remedy."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ValueError(f"'{text}' is not a window; write LOW:HIGH, such as -1350:150") from None


def check_window(window: tuple[float, float]) -> None:
    """Raises ValueError for a window of nothing, or of everything."""
    if not (window[0] < window[1] and math.isfinite(window[1] - window[0])):
        raise ValueError("a window begins lower than it ends, such as -1350:150")
