"""Growth of the resolution (Karras et al. 2018): a function of the image count, so that resume works in mid-fade."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from ganloom.config import sections
from ganloom.core.lengths import Length
from ganloom.nets.contract import Growing

__all__ = ["Growth"]


class Growth:
    """At each level images are held for some time, then the next level fades in; the networks follow.

    Their levels are buffers, and so in checkpoints.
    """

    def __init__(self, settings: sections.Growth, images: Callable[[Length], int], G: Growing, D: Growing) -> None:
        self.networks = G, D
        self.levels = D.levels
        self.hold = [images(length) for length in settings.hold]
        self.fade = [images(length) for length in settings.fade]
        self.reach(0)

    def reach(self, nimg: int) -> bool:
        """Bring the networks to their level at `nimg` images; whether new layers begin with it."""
        level, before = self.level(nimg), float(self.networks[0].level)
        for network in self.networks:
            network.level.fill_(level)
        return math.ceil(level) > math.ceil(before)

    def level(self, nimg: int) -> float:
        """The level at `nimg` images: 2.0 while it is held, 2.3 when the next has faded in by 0.3."""
        for level in range(self.levels):
            hold, fade = _of(self.hold, level), _of(self.fade, level)
            if nimg <= hold:
                return float(level)
            if nimg < hold + fade:
                return level + (nimg - hold) / fade
            nimg -= hold + fade
        return float(self.levels)

    def faded(self, real: Tensor) -> Tensor:  # [N, C, H, W]
        """Real images with as much detail as generated ones can have now."""
        return self.networks[1].fade(real)

    @property
    def grown_at(self) -> int:
        """Images after which the last level is wholly there."""
        return sum(_of(self.hold, level) + _of(self.fade, level) for level in range(self.levels))


def _of(lengths: Sequence[int], level: int) -> int:
    return lengths[min(level, len(lengths) - 1)]
