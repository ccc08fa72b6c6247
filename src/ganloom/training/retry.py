"""Out of memory: the same update once more, in micro-batches of half the size."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from ganloom.core.distributed import World
from ganloom.core.memory import is_out_of_memory
from ganloom.training.buffers import snapshot
from ganloom.training.learner import Learner

__all__ = ["OutOfMemoryElsewhere", "Retry"]

Result = TypeVar("Result")


class OutOfMemoryElsewhere(torch.OutOfMemoryError):
    """Another process of this training is out of memory."""


class Retry:
    """Repeats an update that runs out of memory, until its micro-batches fit.

    Possible only while no weight has changed: an update calls `commit` just before it changes the first one. After
    that, the same update would be another one, and the error is raised.
    """

    def __init__(
        self, learners: Sequence[Learner], buffers: Sequence[Tensor], world: World, device: torch.device
    ) -> None:
        self.learners, self.buffers, self.world, self.device = learners, buffers, world, device
        self._committed = False

    @property
    def min_micro_batch(self) -> int:
        """Images that a micro-batch must have: BatchNorm1d needs at least 2 samples.

        Of either network, since both see the micro-batches of both.
        """
        modules = (module for learner in self.learners for module in learner.net.modules())
        return 2 if any(isinstance(module, nn.BatchNorm1d) for module in modules) else 1

    def commit(self) -> None:
        """From here on the update changes weights. Every process calls this before it sums anything over all of them.

        Raises `OutOfMemoryElsewhere` where another process has failed: nobody may wait for its share.
        """
        if self.world.any(False, self.device):
            raise OutOfMemoryElsewhere("another process is out of memory")
        self._committed = True

    def retry_smaller(self, learner: Learner, update: Callable[[], Result], undo: Callable[[], None]) -> Result:
        """The result of `update`, an update of `learner`.

        When memory does not suffice, buffers and gradients are restored, `undo` is called, the learner's micro-batch is
        halved in every process, and the update runs again. Raises the error where that is not possible.
        """
        while True:
            restore = snapshot(self.buffers)
            self._committed = False
            try:
                return update()
            except RuntimeError as error:
                if not is_out_of_memory(error) or self._committed or learner.half < self.min_micro_batch:
                    raise
                elsewhere = isinstance(error, OutOfMemoryElsewhere)
            # Outside of `except`: its traceback holds the activations of the pass that failed.
            if not elsewhere:  # the other processes ask in `commit`
                self.world.any(True, self.device)
            undo()
            restore()
            for each in self.learners:
                each.track_gradients(True)
                each.optimizer.zero_grad(set_to_none=True)
            learner.micro_batch = learner.half
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
