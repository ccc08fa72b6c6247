"""Images that stand on both sides of a comparison: then scores say nothing about a generator."""

from collections.abc import Iterator, Sequence

from ganloom.core.files import sha256
from ganloom.core.memory import Blocks
from ganloom.core.terminal import log
from ganloom.core.words import counted
from ganloom.metrics.contract import Images

__all__ = ["report_overlap", "shared"]

BATCH = 256  # images in memory at a time


def report_overlap(generated: Images, reals: Sequence[Images]) -> None:
    """Warn if some of the generated images are pixel for pixel among the real ones, which may be given in parts."""
    same = shared(generated, reals)
    if same == len(generated):
        log.warning(
            f"{counted(same, 'generated image')}, that is all of them, are real images, pixel for pixel: these scores "
            "compare the real images with themselves. Name the folder of generated images first, then the real ones."
        )
    elif same:
        log.warning(
            f"{same:,} of {counted(len(generated), 'generated image')} are real images, pixel for pixel: these scores "
            "are too good. Remove the real images from the folder."
        )


def shared(generated: Images, reals: Sequence[Images]) -> int:
    """How many of the generated images are pixel for pixel among the real ones."""
    known = {digest for images in reals for digest in _digests(images)}
    return sum(digest in known for digest in _digests(generated))


def _digests(images: Images) -> Iterator[str]:
    for digests in Blocks(BATCH).over(len(images), lambda rows: [sha256(image.tobytes()) for image in images[rows]]):
        yield from digests
