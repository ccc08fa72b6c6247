"""DCGAN's layers (Radford et al. 2016): 4x4 convolutions of stride 2, up and down."""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Doubling", "Down", "Gathering", "Norm", "Spreading", "Up", "initialise"]

Norm = Literal["batch", "layer", "none"]
FEWEST = 16  # channels, from which on a product of matrices is the faster gradient


class Halving(nn.Conv2d):
    """4x4, stride 2, padded by 1: [N, C, 2H, 2W] -> [N, A, H, W]."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 4, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        result: Tensor = _Halved.apply(x, weight) if _by_product(weight) else F.conv2d(x, weight, None, 2, 1)  # type: ignore[no-untyped-call]
        return result


class Doubling(nn.ConvTranspose2d):
    """Its transpose: [N, A, H, W] -> [N, C, 2H, 2W]."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 4, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        weight = self.weight
        result: Tensor = _Doubled.apply(x, weight) if _by_product(weight) else F.conv_transpose2d(x, weight, None, 2, 1)  # type: ignore[no-untyped-call]
        return result


class Gathering(nn.Conv2d):
    """With a kernel as large as the map: [N, C, H, W] -> [N, A]."""

    def __init__(self, before: int, after: int, size: int | tuple[int, int]) -> None:
        super().__init__(before, after, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(_flat(x), _flat(self.weight))


class Spreading(nn.ConvTranspose2d):
    """Its transpose: [N, A] -> [N, C, H, W]."""

    def __init__(self, before: int, after: int, size: tuple[int, int]) -> None:
        super().__init__(before, after, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        _, channels, height, width = self.weight.shape
        return (x @ _flat(self.weight)).view(-1, height, width, channels).permute(0, 3, 1, 2)


class Up(nn.Module):
    """Transposed convolution, BatchNorm, ReLU."""

    def __init__(self, conv: Doubling | Spreading) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)


class Down(nn.Module):
    """Convolution, normalisation, LeakyReLU; an odd map is padded by one pixel at the right and the bottom.

    `layer` normalises each image over all of its values, so that D judges one image by itself, as gradient penalties
    need (Gulrajani et al. 2017, section 4).
    """

    def __init__(self, before: int, after: int, norm: Norm) -> None:
        super().__init__()
        self.conv = Halving(before, after)
        norms: dict[Norm, Callable[[], nn.Module | None]] = {
            "batch": lambda: nn.BatchNorm2d(after), "layer": lambda: nn.GroupNorm(1, after), "none": lambda: None,
        }  # fmt: skip
        self.norm = norms[norm]()

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        x = self.conv(x)
        return F.leaky_relu(x if self.norm is None else self.norm(x), 0.2, inplace=True)


def initialise(module: nn.Module) -> None:
    """N(0, .02) for weights and N(1, .02) for BatchNorm's (Radford et al. 2016, section 3)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def _flat(x: Tensor) -> Tensor:  # [N, C, H, W] -> [N, H * W * C], without a copy where channels are last
    return x.permute(0, 2, 3, 1).flatten(1)


def _by_product(weight: Tensor) -> bool:
    """Whether its gradient is to be `_weight_gradient`'s."""
    return (
        weight.device.type == "cpu"
        and weight.requires_grad
        and torch.is_grad_enabled()
        and min(weight.shape[:2]) >= FEWEST
    )


def _weight_gradient(
    small: Tensor,  # [N, A, H, W]
    large: Tensor,  # [N, C, 2H, 2W]
) -> Tensor:  # [A, C, 4, 4]
    """The values of the small map times the 4x4 patches of the large one that they meet, summed over all places.

    As one product of matrices: oneDNN's own kernel for it takes two to three times as long on the small maps of small
    batches (docs/lab-notes.md).
    """
    patches = F.pad(large, (1, 1, 1, 1)).unfold(2, 4, 2).unfold(3, 4, 2).permute(0, 2, 3, 4, 5, 1)  # [N, H, W, 4, 4, C]
    places = small.permute(0, 2, 3, 1).flatten(0, 2)  # [N * H * W, A]
    product = places.t() @ patches.flatten(3).flatten(0, 2)
    return product.view(small.shape[1], 4, 4, large.shape[1]).permute(0, 3, 1, 2)


class _Halved(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, None, 2, 1)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x, to_weight = ctx.needs_input_grad
        return (
            F.conv_transpose2d(grad, weight, None, 2, 1) if to_x else None,
            _weight_gradient(grad, x) if to_weight else None,
        )


class _Doubled(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv_transpose2d(x, weight, None, 2, 1)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x, to_weight = ctx.needs_input_grad
        return (
            F.conv2d(grad, weight, None, 2, 1) if to_x else None,
            _weight_gradient(x, grad) if to_weight else None,
        )
