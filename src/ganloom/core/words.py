"""Numbers in words, `1 image`, `2,000 images`, `3.3 hours`, and text from anywhere, fit to be shown."""

from typing import Any

__all__ = ["as_yaml", "counted", "lasting", "printable", "printable_lines", "shortened", "speed_of"]

MAX_SHOWN = 80  # characters of a value in a message


def as_yaml(value: Any) -> str:
    """A wrong value for a message, as a configuration would have it.

    >>> as_yaml(None), as_yaml(True), as_yaml("a"), as_yaml(2)
    ('null', 'true', "'a'", '2')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return shortened(repr(value))
    except ValueError:  # Python's limit on the digits of an integer
        return "a number of too many digits"


def shortened(text: str) -> str:
    """The text, cut to `MAX_SHOWN` characters.

    >>> len(shortened(100 * "a")), shortened("a")
    (80, 'a')
    """
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def printable(text: str) -> str:
    r"""The text in one line, with what is not printable escaped: a name may hold any bytes, of which some steer a
    terminal and others change the order in which text is read.

    >>> printable("a\x1b[31mb\ngnp.\u202eexe"), printable("Zürich 猫")
    ('a\\x1b[31mb\\ngnp.\\u202eexe', 'Zürich 猫')
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same of a text of several lines, which stay."""
    return "\n".join(map(printable, text.split("\n")))


def counted(count: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "image"), counted(2000, "image"), counted(2, "class"), counted(3, "copy")
    ('1 image', '2,000 images', '2 classes', '3 copies')
    """
    if count == 1:
        return f"1 {noun}"
    if noun.endswith(("s", "ch", "sh", "x")):
        return f"{count:,} {noun}es"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeou" else f"{count:,} {noun}s"


def lasting(minutes: float) -> str:
    """A duration in one unit, with two digits, at least one second.

    >>> lasting(0.2), lasting(31.4), lasting(200), lasting(5000)
    ('12 seconds', '31 minutes', '3.3 hours', '3.5 days')
    """
    if minutes < 1:
        return counted(max(1, round(60 * minutes)), "second")
    if minutes < 100:
        return counted(round(minutes), "minute")
    amount, unit = (minutes / 60, "hours") if minutes < 36 * 60 else (minutes / (24 * 60), "days")
    return f"{amount:,.{0 if amount >= 10 else 1}f} {unit}"


def speed_of(images_per_minute: float) -> str:
    """Images per second, with two digits at least.

    >>> speed_of(60_000), speed_of(480), speed_of(12)
    ('1,000 images/s', '8.0 images/s', '0.20 images/s')
    """
    value = images_per_minute / 60
    return f"{value:,.{0 if value >= 10 else 1 if value >= 1 else 2}f} images/s"
