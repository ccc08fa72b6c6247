"""Growth of the resolution (Karras et al. 2018), as a function of the image count: resume works in mid-fade."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from ganloom.config import sections
from ganloom.core.lengths import Length
from ganloom.nets.contract import Growing

__all__ = ["Growth"]


class Growth:
    """Each level is held for some time, then the next one fades in; both networks follow.

    Their levels are buffers, and so in checkpoints.
    """

    def __init__(self, settings: sections.Growth, images: Callable[[Length], int], G: Growing, D: Growing) -> None:
        self.networks = G, D
        self.levels = D.levels
        self.hold = [images(length) for length in settings.hold]
        self.fade = [images(length) for length in settings.fade]
        self.reach(0)

    def reach(self, nimg: int) -> bool:
        """Bring the networks to their level at `nimg` images; returns whether new layers begin to fade in."""
        level, before = self.level(nimg), float(self.networks[0].level)
        for network in self.networks:
            network.level.fill_(level)
        return math.ceil(level) > math.ceil(before)

    def level(self, nimg: int) -> float:
        """The level at `nimg` images: 2.0 while level 2 is held, 2.3 when the next one has faded in by 30 %."""
        for level in range(self.levels):
            hold, fade = _of(self.hold, level), _of(self.fade, level)
            if nimg <= hold:
                return float(level)
            if nimg < hold + fade:
                return level + (nimg - hold) / fade
            nimg -= hold + fade
        return float(self.levels)

    def faded(self, real: Tensor) -> Tensor:  # [N, C, H, W]
        """Real images with as much detail as generated ones can have at this level."""
        return self.networks[1].fade(real)

    @property
    def final_resolution_at(self) -> int:
        """The image count at which the last level has faded in."""
        return sum(_of(self.hold, level) + _of(self.fade, level) for level in range(self.levels))


def _of(lengths: Sequence[int], level: int) -> int:
    return lengths[min(level, len(lengths) - 1)]
