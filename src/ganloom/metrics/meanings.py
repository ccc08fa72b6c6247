"""What each metric means, for readers who do not know it, and whether higher or lower is better."""

from typing import NamedTuple

__all__ = ["MEANINGS", "Meaning", "explained", "is_better"]


class Meaning(NamedTuple):
    """Explains a metric to a reader who does not know it."""

    name: str
    better: str | None  # "higher", "lower", or None if neither is better
    sentence: str
    short: str  # a few words, to stand beside the number
    goal: str = ""  # where neither is better: the value to aim for, or what this number is a reference for

    @property
    def which_way(self) -> str:
        """`lower is better`, `best near ms_ssim_real`, or nothing where no direction is better."""
        return f"{self.better} is better" if self.better else self.goal


MEANINGS = {
    "fd": Meaning(
        "Fréchet distance",
        "lower",
        "Distance between the generated and the real images in the features of the extractor: quality and variety in "
        "one number. It does not reach 0: even two halves of the real images differ a little.",
        short="distance to the real images: quality and variety",
    ),
    "fid": Meaning(
        "Fréchet Inception distance",
        "lower",
        "The Fréchet distance in the features of the Inception network, as papers report it.",
        short="distance to the real images, as papers report it",
    ),
    "kid": Meaning(
        "kernel distance",
        "lower",
        "Like the Fréchet distance, but unbiased for few images: about 0 if generated and real images cannot be "
        "distinguished.",
        short="distance to the real images; about 0 for other real ones",
    ),
    "is": Meaning(
        "Inception Score",
        "higher",
        "High if a classifier is sure of the class of each image and finds many classes. It ignores the real images.",
        short="sure and varied classes; ignores the real images",
    ),
    "precision": Meaning(
        "precision",
        "higher",
        "Share of the generated images that lie among real ones: quality.",
        short="share of the generated images among real ones: quality",
    ),
    "recall": Meaning(
        "recall",
        "higher",
        "Share of the real images that lie among the generated ones: variety.",
        short="share of the real images among generated ones: variety",
    ),
    "density": Meaning(
        "density",
        "higher",
        "Like precision, but regions with many real images count more; it may exceed 1.",
        short="how deep among the real images: quality",
    ),
    "coverage": Meaning(
        "coverage",
        "higher",
        "Share of the real images that have a generated image nearby: variety.",
        short="share of the real images with a generated one nearby: variety",
    ),
    "ssim": Meaning(
        "structural similarity",
        None,
        "Mean over random pairs of a real and a generated image. Papers report it, but it says little about quality.",
        short="similarity of random pairs; says little about quality",
    ),
    "ssim_nearest": Meaning(
        "structural similarity to the nearest training image",
        None,
        "Mean over the generated images. Far above the value of held-out images means copies of training images.",
        short="similarity to the nearest training image",
        goal="best near ssim_nearest_held_out",
    ),
    "ssim_nearest_held_out": Meaning(
        "the same for held-out images",
        None,
        "The reference for ssim_nearest: real images not used for training.",
        short="the same for held-out images",
        goal="reference for ssim_nearest",
    ),
    "ms_ssim": Meaning(
        "multi-scale similarity",
        None,
        "Mean over pairs of generated images. Far above the value of real images means too little variety.",
        short="similarity of generated pairs: far above is too little variety",
        goal="best near ms_ssim_real",
    ),
    "ms_ssim_real": Meaning(
        "the same for real images",
        None,
        "The reference for ms_ssim.",
        short="the same for real images",
        goal="reference for ms_ssim",
    ),
    "vendi": Meaning(
        "Vendi score",
        "higher",
        "Effective number of clearly different images: variety.",
        short="effective number of different images: variety",
    ),
    "vendi_real": Meaning(
        "the same for real images",
        None,
        "The reference for vendi.",
        short="the same for real images",
        goal="reference for vendi",
    ),
    "ndb": Meaning(
        "different bins",
        "lower",
        "Share of the kinds of real images that are generated too rarely or too often.",
        short="share of the kinds of image made too rarely or too often",
    ),
    "ndb_js": Meaning(
        "divergence of the bins",
        "lower",
        "How much the shares of these kinds differ between generated and real images; 0 is equal.",
        short="how unequal the shares of these kinds are",
    ),
    "lpips": Meaning(
        "LPIPS diversity",
        None,
        "How different two generated images look on average: variety.",
        short="difference of generated pairs: variety",
        goal="best near lpips_real",
    ),
    "lpips_real": Meaning(
        "the same for real images",
        None,
        "The reference for lpips.",
        short="the same for real images",
        goal="reference for lpips",
    ),
    "modes": Meaning(
        "modes", "higher", "Number of classes that occur among the generated images.", short="classes that occur"
    ),
    "modes_share": Meaning(
        "share of modes",
        "higher",
        "Share of all classes that occur among the generated images.",
        short="share of all classes that occur",
    ),
    "modes_kl": Meaning(
        "divergence of the modes",
        "lower",
        "How much the shares of the classes differ from the real ones; 0 is equal.",
        short="how unequal the shares of the classes are",
    ),
    "modes_classifier_accuracy": Meaning(
        "accuracy of the classifier",
        None,
        "Accuracy on held-out images of the classifier that finds the modes: how far to trust them.",
        short="accuracy of the classifier: how far to trust modes",
        goal="reference for modes",
    ),
    "brightness": Meaning(
        "brightness",
        None,
        "Mean brightness of the generated images minus that of the real ones, as a share of the full scale: 0 is "
        "ideal, less is too dark.",
        short="difference of the mean brightness; below 0 too dark",
        goal="best near 0",
    ),
    "contrast": Meaning(
        "contrast",
        None,
        "How much brightness varies within an image (standard deviation), divided by that of real images: 1 is ideal, "
        "less is washed out.",
        short="contrast against real images; below 1 washed out",
        goal="best near 1",
    ),
    "saturation": Meaning(
        "saturation",
        None,
        "How colourful the images are, divided by the same of real images: 1 is ideal, less is too grey. There is none "
        "for grey images.",
        short="colourfulness against real images; below 1 too grey",
        goal="best near 1",
    ),
    "texture": Meaning(
        "fine texture",
        None,
        "Energy at the highest frequencies, divided by that of real images: 1 is ideal, far more means dots or a "
        "checkerboard, far less means blur.",
        short="finest detail against real images; above 1 dots, below 1 blur",
        goal="best near 1",
    ),
    "ppl": Meaning(
        "perceptual path length",
        "lower",
        "How abruptly images change along an interpolation of latents.",
        short="how abruptly images change between latents",
    ),
    "cas": Meaning(
        "classification accuracy score",
        "higher",
        "Accuracy on real images of a classifier trained only on generated images.",
        short="accuracy of a classifier trained on generated images",
    ),
    "cas_real": Meaning(
        "the same for training on real images",
        None,
        "The reference for cas: a classifier trained on real images.",
        short="the same, trained on real images",
        goal="reference for cas",
    ),
    "memorisation_z": Meaning(
        "memorisation",
        None,
        "Whether generated images are closer to the training images than held-out real images are. About 0 is "
        "ideal; below -3 the generator copies; far above 3 its images are unlike the real ones.",
        short="below -3 copies; far above 3 unlike the real images",
        goal="best near 0",
    ),
    "memorised": Meaning(
        "memorised share",
        None,
        "Share of generated images closer to a training image than 99 % of the held-out images are: 0.01 is ideal.",
        short="share closer to a training image than held-out ones are",
        goal="best near 0.01",
    ),
    "memorisation_ratio": Meaning(
        "distance ratio",
        None,
        "Median distance to the nearest training image, of generated images divided by that of held-out images: 1 is "
        "ideal, less means copies.",
        short="distance to the nearest training image; below 1 copies",
        goal="best near 1",
    ),
}


def explained(metric: str) -> str:
    """Which way is better and what the number says, in a few words; empty for an unknown metric.

    >>> explained("recall")
    'higher is better; share of the real images among generated ones: variety'
    """
    known = MEANINGS.get(metric)
    return "; ".join(part for part in (known.which_way, known.short) if part) if known else ""


def is_better(metric: str, a: float, b: float) -> bool:
    """Whether `a` is a better value of the metric than `b`."""
    return a > b if MEANINGS[metric].better == "higher" else a < b
