"""How much arithmetic a piece of code does."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ["OperationCounter"]


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, counts the floating-point operations of convolutions and matrix products in `total`.

    torch's own `FlopCounterMode` also sorts them by module, for which it hooks into the backward pass: that fails for
    penalties, whose gradients are part of the loss.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result
