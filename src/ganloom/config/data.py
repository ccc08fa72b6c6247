"""The section `data`: which images, and how they are prepared."""

from typing import Literal

from ganloom.config.section import Section
from ganloom.config.values import ClassNames, PartialShare, Pattern, Share, Size, Window

__all__ = ["Data"]


class Data(Section):
    """The images: where they come from and how they are prepared."""

    source: str
    """Where the images come from: a folder, an archive, array files, a prepared dataset, a built-in name such as
    `digits`, or `FILE.py:ARGUMENT` for a reader of your own.
    """

    size: Size | None = None
    """Height and width of the training images. null: the images' own size, which must then be the same for all."""

    channels: Literal[1, 3, 4] | None = None
    """1 for grey, 3 for colour, 4 for colour with transparency. null: 1 where every image is grey, else 3."""

    resize: Literal["crop", "fit", "stretch"] = "crop"
    """How an image with another aspect ratio is brought to `size`. `crop` keeps the middle, `fit` pads with black,
    `stretch` distorts the image.
    """

    window: Window | None = None
    """For images of more than 8 bits: the values that become black and white. null: the 0.5 % and 99.5 % percentiles
    of all values. Images of 8 bits are not windowed.
    """

    fast: bool = False
    """Let the JPEG decoder shrink large images. Faster, but the pixels differ slightly from those of a full decode."""

    holdout: PartialShare = 0.05
    """Share of the images held out as the split `val`, which is never trained on. Only used if the source has no splits
    of its own.
    """

    group_by: Pattern | None = None
    """Pattern searched for in file names: files with the same match stay on the same side of the hold-out. With
    `person(\\d+)`, for example, all X-rays of one patient do. null: each image is its own group.
    """

    classes: ClassNames | None = None
    """Classes to use; images of all others are left out. null: all classes."""

    drop_duplicates: bool = False
    """Of images with identical pixels, keep only the first."""

    max_skipped: Share = 0.05
    """Maximum share of image files that may be unusable; more is an error."""

    follow_links: bool = False
    """Follow symbolic links that lead out of the folder."""

    labels: bool = False
    """Train with class labels: G makes images of a class you ask for."""

    mirror: bool = False
    """Flip half of the training images left to right. Off by default, because in many images, such as X-rays of the
    heart, left and right differ.
    """
