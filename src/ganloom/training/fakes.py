"""The generated images of D's update, reused in G's where G would make the very same ones."""

from torch import Tensor

from ganloom.core.distributed import World
from ganloom.training.learner import Learner

__all__ = ["ReusableFakes"]


class ReusableFakes:
    """Holds one micro-batch of generated images, with its graph, from D's last update to G's.

    G's update uses the latents of D's last one, so that reuse gives the same numbers with one forward pass fewer.
    """

    def __init__(self, g: Learner, d: Learner, world: World) -> None:
        self.g, self.d, self.world = g, d, world
        self._fake: Tensor | None = None

    @property
    def possible(self) -> bool:
        """Whether both updates have the same micro-batches, and this process at most one: more would need memory."""
        single = all(len(self.world.share(learner.micro_batches)) <= 1 for learner in (self.g, self.d))
        return single and self.d.micro_batch == self.g.micro_batch

    def keep(self, fake: Tensor) -> None:  # [N, C, H, W], with its graph
        self._fake = fake

    def take(self) -> Tensor | None:  # [N, C, H, W]
        """What was kept, once."""
        fake, self._fake = self._fake, None
        return fake

    def clear(self) -> None:
        self._fake = None
