"""Notes when some of the images to compare are JPEG files and the others are not."""

from collections.abc import Iterator, Mapping

from ganloom.data.packed import PackedDataset

__all__ = ["compression_notes"]

MOST, FEW = 0.5, 0.05  # shares of JPEG files from which, and up to which, a folder counts as compressed or not


def compression_notes(sides: Mapping[str, PackedDataset]) -> Iterator[str]:
    """A note if one side consists of JPEG files and the other does not: their artefacts alone change distances."""
    shares = {
        name: account.jpegs / max(1, account.taken)
        for name, account in ((name, each.description.account) for name, each in sides.items())
        if account.jpegs is not None
    }
    compressed = [name for name, share in shares.items() if share >= MOST]
    others = [name for name, share in shares.items() if share <= FEW]
    if compressed and others:
        yield (
            f"note: the images of {compressed[0]} are JPEG files and those of {others[0]} are not; the traces of JPEG "
            "alone make a distance (fd, kid), so compare files of one kind"
        )
