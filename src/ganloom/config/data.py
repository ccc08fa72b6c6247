"""The section `data`: which images, how their files are read, and how they are prepared."""

from typing import Literal

from ganloom.config.section import Section
from ganloom.config.values import ClassNames, NonNegativeInt, PartialShare, Pattern, Share, Size, SplitFolders, Window

__all__ = ["NO_FILE", "Data", "Reading"]

NO_FILE = "none"  # as `label_file`


class Reading(Section):
    """Where the images come from, and how their files are read where there is more than one way."""

    source: str
    """Where the images come from: a folder, an archive, array files, a prepared dataset, a built-in name such as
    `digits`, or `FILE.py:ARGUMENT` for a reader of your own.
    """

    splits: SplitFolders | None = None
    """Which top-level folders hold which split: `Training=train,Testing=test`. `none`: they are no splits, but classes.
    null: recognised by their names.
    """

    class_level: NonNegativeInt | None = None
    """Level of the folders that are the classes: 1 for the highest below the splits, 2 for those in them, and so on. 0:
    folders are not classes. null: recognised.
    """

    keep_masks: bool = False
    """Take segmentation masks that lie beside the images as images, too. By default they are left out."""

    label_file: str | None = None
    """A CSV or JSON Lines file with one row per image: file name, and label, split or group. `none`: no such file is
    looked for. null: one that lies with the images is used if folders give no classes.
    """

    label_column: str | None = None
    """The column of the label file that holds the labels. null: recognised by its name, such as `label`."""

    group_column: str | None = None
    """The column of the label file that says which images belong together, such as those of one patient: they stay on
    the same side of the hold-out. null: recognised by its name, such as `patient_id`.
    """

    any_suffix: bool = False
    """Also take files that are images by their content but have no suffix of an image."""

    frames: Literal["first", "all"] = "first"
    """Of a file with several pages or frames, such as a TIFF stack or an animation: the first, or all as one image
    each.
    """

    follow_links: bool = False
    """Follow symbolic links that lead out of the folder."""


class Data(Reading):
    """The images: where they come from, how they are read and how they are prepared."""

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
    """Share of the images held out as the validation set, the split `val`, which is never trained on. Only used if the
    source has no splits of its own.
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

    verify: bool = True
    """Read the prepared images as a whole and compare their hash, if a file has changed since that was done last. It
    takes one to three seconds per gigabyte. false, for very large sets: changed or damaged images are not noticed,
    scores carry the hash that dataset.json states and say so, and features of the images are not cached.
    """

    labels: bool = False
    """Train with class labels (a conditional GAN): G makes images of a class you ask for."""

    mirror: bool = False
    """Flip half of the training images left to right (random horizontal flips). Off by default, because in many images,
    such as X-rays of the heart, left and right differ.
    """
