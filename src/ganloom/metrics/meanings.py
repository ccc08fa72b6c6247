"""What each number means, for somebody who has not met it, and which way is better."""

from typing import NamedTuple

__all__ = ["MEANINGS", "Meaning", "is_better"]


class Meaning(NamedTuple):
    """A metric for somebody who has not met it."""

    name: str
    better: str | None  # "higher" or "lower"; None where neither is
    sentence: str


MEANINGS = {
    "fd": Meaning(
        "Fréchet distance",
        "lower",
        "How far the generated images lie from the real ones, as the extractor sees them: quality and variety in one "
        "number. 0 is not reached: even two halves of the real images are some way apart.",
    ),
    "fid": Meaning(
        "Fréchet Inception distance",
        "lower",
        "The Fréchet distance as papers quote it, seen by the Inception network.",
    ),
    "kid": Meaning(
        "kernel distance",
        "lower",
        "Like the Fréchet distance, but fair to small numbers of images: about 0 where generated and real images "
        "cannot be told apart.",
    ),
    "is": Meaning(
        "Inception Score",
        "higher",
        "How surely a classifier names each picture, and how many kinds it sees. It never looks at the real images.",
    ),
    "precision": Meaning("precision", "higher", "Share of the generated images that lie among the real ones: quality."),
    "recall": Meaning("recall", "higher", "Share of the real images that lie among the generated ones: variety."),
    "density": Meaning("density", "higher", "As precision, with dense places counting more; it may pass 1."),
    "coverage": Meaning("coverage", "higher", "Share of the real images with a generated one near: variety."),
    "ssim": Meaning(
        "structural similarity",
        None,
        "Of random pairs of a real and a generated image. Papers report it; it says little about quality.",
    ),
    "ssim_nearest": Meaning(
        "structural similarity to the nearest",
        None,
        "Of each generated image to its nearest training image: far above the held-out images' own means copies.",
    ),
    "ssim_nearest_held_out": Meaning(
        "the same of held-out images", None, "What ssim_nearest is for real images that were not trained on."
    ),
    "ms_ssim": Meaning(
        "multi-scale similarity",
        None,
        "Of pairs of generated images: far above that of pairs of real images means too little variety.",
    ),
    "ms_ssim_real": Meaning("the same of real images", None, "What ms_ssim is to be compared with."),
    "vendi": Meaning("Vendi score", "higher", "How many clearly different images there are, in effect: variety."),
    "vendi_real": Meaning("the same of real images", None, "What vendi is to be compared with."),
    "ndb": Meaning("bins apart", "lower", "Share of the kinds of real images that are made too rarely or too often."),
    "ndb_js": Meaning("bins' divergence", "lower", "How unlike the shares of these kinds are; 0 is equal."),
    "lpips": Meaning("LPIPS diversity", None, "How unlike pairs of generated images look: variety."),
    "lpips_real": Meaning("the same of real images", None, "What lpips is to be compared with."),
    "modes": Meaning("modes", "higher", "Classes that occur among the generated images."),
    "modes_share": Meaning("share of modes", "higher", "The same as a share of all classes."),
    "modes_kl": Meaning(
        "modes' divergence", "lower", "How unlike the classes' shares are to the real ones; 0 is equal."
    ),
    "modes_classifier_accuracy": Meaning(
        "accuracy of the classifier", None, "Of the classifier that tells the modes, on held-out images: trust in them."
    ),
    "ppl": Meaning("perceptual path length", "lower", "How abruptly pictures change on the way from one to another."),
    "cas": Meaning(
        "classification accuracy score",
        "higher",
        "Accuracy on real images of a classifier that learned from generated ones alone.",
    ),
    "cas_real": Meaning("the same from real images", None, "What cas is to be compared with."),
    "memorisation_z": Meaning(
        "memorisation",
        None,
        "Whether generated images lie nearer to the training images than held-out real ones do: about 0 is as it "
        "should be, below -3 the generator copies, far above 3 it does not come near the real images.",
    ),
    "memorised": Meaning(
        "memorised share",
        None,
        "Share of generated images nearer to a training image than 99 % of the held-out ones: 0.01 is as it should be.",
    ),
    "memorisation_ratio": Meaning(
        "distance ratio",
        None,
        "Median distance to the nearest training image, of generated over that of held-out images: 1 is as it should "
        "be, less means copies.",
    ),
}


def is_better(metric: str, a: float, b: float) -> bool:
    """Whether `a` is a better value of the metric than `b`."""
    return a > b if MEANINGS[metric].better == "higher" else a < b
