"""Names of numbers and pictures where a dashboard groups what has the same prefix: `loss/d`, `guard/auc`, `scores/...`.

The log keeps the plain names, such as `loss_d`.
"""

__all__ = ["grouped", "picture_name"]

PREFIXES = ("loss", "d", "penalty", "gradient", "update", "lr", "guard", "augment")
PROGRESS = ("epoch", "seconds", "images_per_second")
PICTURES = {"samples": "images/generated", "reals": "images/real"}  # of one group, so they stand side by side


def grouped(name: str) -> str:
    """The name of a column of the log with its group.

    >>> grouped("loss_d"), grouped("d_real"), grouped("fd[loomnet-1]@2000")
    ('loss/d', 'd/real', 'scores/fd[loomnet-1]@2000')
    """
    if "@" in name:
        return f"scores/{name}"
    if name in PROGRESS:
        return f"progress/{name}"
    prefix, _, rest = name.partition("_")
    return f"{prefix}/{rest}" if rest and prefix in PREFIXES else name


def picture_name(name: str) -> str:
    """The same for a grid of pictures: `images/generated` for `samples`."""
    return PICTURES.get(name, name)
