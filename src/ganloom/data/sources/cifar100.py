"""CIFAR-100 (Krizhevsky 2009): 60,000 colour photographs of 32x32 pixels. Its 100 fine labels are the classes."""

from ganloom.data.sources.cifar10 import CifarSource, Published
from ganloom.data.sources.fetch import Remote

__all__ = ["open_source"]

PUBLISHED = Published(
    name="cifar100",
    archive=Remote(
        "cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        urls=(
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            "https://cave.cs.toronto.edu/kriz/cifar-100-binary.tar.gz",
        ),
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    folder="cifar-100-binary",
    files={"train.bin": "train", "test.bin": "test"},
    counts={"train": 50_000, "test": 10_000},
    label_bytes=2,  # coarse, fine
    class_names=(
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
        "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
        "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
        "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
        "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
        "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
        "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
        "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
        "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger",
        "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    ),
)  # fmt: skip


def open_source(spec: str) -> CifarSource:
    """Open CIFAR-100; downloads it unless there is a local copy. Raises `DataError` with the remedy."""
    return CifarSource(PUBLISHED)
