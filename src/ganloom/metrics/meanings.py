"""What each metric means, for readers who do not know it, and whether higher or lower is better."""

from typing import NamedTuple

__all__ = ["MEANINGS", "Meaning", "is_better"]


class Meaning(NamedTuple):
    """Explains a metric to a reader who does not know it."""

    name: str
    better: str | None  # "higher", "lower", or None if neither is better
    sentence: str


MEANINGS = {
    "fd": Meaning(
        "Fréchet distance",
        "lower",
        "Distance between the generated and the real images in the features of the extractor: quality and variety in "
        "one number. It does not reach 0: even two halves of the real images differ a little.",
    ),
    "fid": Meaning(
        "Fréchet Inception distance",
        "lower",
        "The Fréchet distance in the features of the Inception network, as papers report it.",
    ),
    "kid": Meaning(
        "kernel distance",
        "lower",
        "Like the Fréchet distance, but unbiased for few images: about 0 if generated and real images cannot be "
        "distinguished.",
    ),
    "is": Meaning(
        "Inception Score",
        "higher",
        "High if a classifier is sure of the class of each image and finds many classes. It ignores the real images.",
    ),
    "precision": Meaning("precision", "higher", "Share of the generated images that lie among the real ones: quality."),
    "recall": Meaning("recall", "higher", "Share of the real images that lie among the generated ones: variety."),
    "density": Meaning(
        "density", "higher", "Like precision, but regions with many real images count more; it may exceed 1."
    ),
    "coverage": Meaning("coverage", "higher", "Share of the real images that have a generated image nearby: variety."),
    "ssim": Meaning(
        "structural similarity",
        None,
        "Mean over random pairs of a real and a generated image. Papers report it, but it says little about quality.",
    ),
    "ssim_nearest": Meaning(
        "structural similarity to the nearest training image",
        None,
        "Mean over the generated images. Far above the value of held-out images means copies of training images.",
    ),
    "ssim_nearest_held_out": Meaning(
        "the same for held-out images", None, "The reference for ssim_nearest: real images not used for training."
    ),
    "ms_ssim": Meaning(
        "multi-scale similarity",
        None,
        "Mean over pairs of generated images. Far above the value of real images means too little variety.",
    ),
    "ms_ssim_real": Meaning("the same for real images", None, "The reference for ms_ssim."),
    "vendi": Meaning("Vendi score", "higher", "Effective number of clearly different images: variety."),
    "vendi_real": Meaning("the same for real images", None, "The reference for vendi."),
    "ndb": Meaning(
        "different bins", "lower", "Share of the kinds of real images that are generated too rarely or too often."
    ),
    "ndb_js": Meaning(
        "divergence of the bins",
        "lower",
        "How much the shares of these kinds differ between generated and real images; 0 is equal.",
    ),
    "lpips": Meaning("LPIPS diversity", None, "How different two generated images look on average: variety."),
    "lpips_real": Meaning("the same for real images", None, "The reference for lpips."),
    "modes": Meaning("modes", "higher", "Number of classes that occur among the generated images."),
    "modes_share": Meaning("share of modes", "higher", "Share of all classes that occur among the generated images."),
    "modes_kl": Meaning(
        "divergence of the modes", "lower", "How much the shares of the classes differ from the real ones; 0 is equal."
    ),
    "modes_classifier_accuracy": Meaning(
        "accuracy of the classifier",
        None,
        "Accuracy on held-out images of the classifier that finds the modes: how far to trust them.",
    ),
    "ppl": Meaning("perceptual path length", "lower", "How abruptly images change along an interpolation of latents."),
    "cas": Meaning(
        "classification accuracy score",
        "higher",
        "Accuracy on real images of a classifier trained only on generated images.",
    ),
    "cas_real": Meaning(
        "the same for training on real images", None, "The reference for cas: a classifier trained on real images."
    ),
    "memorisation_z": Meaning(
        "memorisation",
        None,
        "Whether generated images are closer to the training images than held-out real images are. About 0 is "
        "ideal; below -3 the generator copies; far above 3 its images are unlike the real ones.",
    ),
    "memorised": Meaning(
        "memorised share",
        None,
        "Share of generated images closer to a training image than 99 % of the held-out images are: 0.01 is ideal.",
    ),
    "memorisation_ratio": Meaning(
        "distance ratio",
        None,
        "Median distance to the nearest training image, of generated images divided by that of held-out images: 1 is "
        "ideal, less means copies.",
    ),
}


def is_better(metric: str, a: float, b: float) -> bool:
    """Whether `a` is a better value of the metric than `b`."""
    return a > b if MEANINGS[metric].better == "higher" else a < b
