"""Buffers: undo what a pass leaves in them, and keep scalars in checkpoints by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["NamedBuffers", "snapshot"]


@torch.no_grad()
def snapshot(buffers: Sequence[Tensor]) -> Callable[[], None]:
    """Copy these buffers; calling the result restores them to these values."""
    copies = [buffer.clone() for buffer in buffers]

    def restore() -> None:
        with torch.no_grad():
            for buffer, copy in zip(buffers, copies, strict=True):
                buffer.copy_(copy)

    return restore


class NamedBuffers(nn.Module):
    """Scalars, one buffer per name, with their initial values.

    Checkpoints survive a change of the names: a scalar that a checkpoint lacks gets its initial value, one that is no
    longer known is ignored.
    """

    def __init__(
        self,
        initial: Mapping[str, float],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self._initial = {name: torch.tensor(value, dtype=dtype) for name, value in initial.items()}
        for name, value in self._initial.items():
            self.register_buffer(name, value.to(device, copy=True))

    def __getitem__(self, name: str) -> Tensor:
        return self.get_buffer(name)

    def values(self) -> dict[str, float]:
        """All of them as Python numbers."""
        return {name: buffer.item() for name, buffer in self.named_buffers()}

    def assign(self, values: Mapping[str, float]) -> None:
        """Set those that are named."""
        for name, value in values.items():
            self.get_buffer(name).fill_(value)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """PyTorch's own hook for what a module reads of a state; `strict` stays with the modules around it."""
        for name, value in self._initial.items():
            state_dict.setdefault(prefix + name, value)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, False, missing_keys, unexpected_keys, error_msgs
        )
