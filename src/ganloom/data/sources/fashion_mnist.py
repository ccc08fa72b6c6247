"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 70,000 articles of clothing, grey, 28x28, ten classes. MIT licence."""

from ganloom.data.sources.mnist import IdxSource, four_files

__all__ = ["open_source"]

MD5 = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def open_source(spec: str) -> IdxSource:
    """Open Fashion-MNIST; downloads it unless there are local copies. Raises `DataError` with the remedy."""
    return IdxSource("fashion_mnist", CLASS_NAMES, four_files("fashion_mnist", MD5, MIRRORS))
