"""Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676, section 3 and appendix B).

Real and generated images are both augmented. Each transformation is applied with probability `p`, which either adapts
to how confident D is on real images or is fixed. Below about 0.8, G does not learn the augmentations (section 2.2).
"""

import math
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

__all__ = ["Augment", "move", "resample"]

COLOURS = 3  # a fourth channel is alpha and keeps its values

Transform = Literal["flip", "turn", "shift", "geometry", "color", "luma"]
Policy = Annotated[tuple[Transform, ...], Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Augment(nn.Module):
    """One affine transformation of coordinates and one of colours, each composed of the transforms in the policy.

    `shift` moves by whole pixels; `geometry` scales, rotates, stretches and moves; `color` changes brightness, contrast
    and, in colour images, hue and saturation. `flip`, `turn` (by multiples of 90 degrees) and `luma` (light to dark)
    are used only if the policy names them: a heart is on one side, and black and white differ in an X-ray.

    `p` is adjusted to bring the mean sign of D(real) to `target`; it takes at least `kimg` thousand images to go from 0
    to 1. If `target` is null, `p` stays at the given value.
    """

    p: Tensor  # a buffer, so that checkpoints hold it

    def __init__(
        self,
        channels: int,
        *,
        policy: Policy = ("shift", "geometry", "color"),
        p: Fraction = 0.0,
        target: Fraction | None = 0.6,
        kimg: PositiveInt = 500,
    ) -> None:
        super().__init__()
        self.colours = min(channels, COLOURS)
        self.policy = frozenset(policy)
        self.fixed, self.target, self.kimg = p, target, kimg
        self.register_buffer("p", torch.tensor(float(p)))

    def reach(self, factor: float) -> None:
        """Set a fixed p to `factor` times its configured value, for a burn-in."""
        if self.target is None:
            self.p.fill_(self.fixed * factor)

    def adapt(self, sign: Tensor, images: int) -> None:
        """Move p, given the mean sign of D over the last `images` real images: above the target, D is overfitting."""
        if self.target is not None:
            self.p.add_(torch.sign(sign - self.target) * (images / (self.kimg * 1000))).clamp_(0, 1)

    def forward(
        self,
        images: Tensor,  # float [N, C, H, W] in [-1, 1]
    ) -> Tensor:  # [N, C, H, W]; colours may leave [-1, 1]
        if self.policy - {"color", "luma"}:
            images = move(images, self.affine_maps(images))
        if self.policy & {"color", "luma"}:
            coloured = self.recolour(images[:, : self.colours])
            images = torch.cat([coloured, images[:, self.colours :]], 1) if images.shape[1] > COLOURS else coloured
        return images

    def affine_maps(self, images: Tensor) -> Tensor:  # [N, 2, 3]
        """Random affine maps from output to input coordinates, both in pixels from the centre of the image."""
        draw = _Draw(self.p, images)
        height, width = images.shape[2:]
        total = draw.identity(3)
        if "flip" in self.policy:
            total = total @ draw.scaling(1 - 2 * draw.maybe(draw.choice(2)), draw.ones)
        if "turn" in self.policy:
            total = total @ draw.rotation(draw.maybe(draw.choice(4)) * (math.pi / 2))
        if "shift" in self.policy:
            right, down = draw.uniform(-0.125, 0.125) * width, draw.uniform(-0.125, 0.125) * height
            total = total @ draw.shift(*draw.maybe(right.round(), down.round()))
        if "geometry" in self.policy:
            both = draw.maybe(draw.normal(0.2))
            total = total @ draw.scaling(torch.exp2(-both), torch.exp2(-both))
            # Two rotations, before and after the stretching: at least one happens with probability p (appendix B).
            total = total @ draw.rotation(draw.maybe(draw.uniform(-math.pi, math.pi), p=1 - (1 - self.p).sqrt()))
            stretch = draw.maybe(draw.normal(0.2))
            total = total @ draw.scaling(torch.exp2(-stretch), torch.exp2(stretch))
            total = total @ draw.rotation(draw.maybe(draw.uniform(-math.pi, math.pi), p=1 - (1 - self.p).sqrt()))
            total = total @ draw.shift(*draw.maybe(draw.normal(0.125) * width, draw.normal(0.125) * height))
        return total[:, :2]

    def recolour(self, images: Tensor) -> Tensor:  # [N, 1 or 3, H, W]
        """Apply one random affine map per image to the colours of its pixels."""
        draw = _Draw(self.p, images)
        channels = images.shape[1]
        grey = images.new_full((channels, channels), 1 / channels)  # the projection to the axis from black to white
        colour = draw.identity(channels)
        added = draw.zeros
        if "color" in self.policy:
            added = draw.maybe(draw.normal(0.2))
            contrast = torch.exp2(draw.maybe(draw.normal(0.5)))
            colour, added = colour * contrast[:, None, None], added * contrast
        if "luma" in self.policy:
            flipped = draw.maybe(draw.choice(2))
            colour = colour - 2 * flipped[:, None, None] * (grey @ colour)
            added = added * (1 - 2 * flipped)
        if "color" in self.policy and channels > 1:
            colour = draw.rotation_about_grey(draw.maybe(draw.uniform(-math.pi, math.pi))) @ colour
            saturation = torch.exp2(draw.maybe(draw.normal(1.0)))[:, None, None]
            colour = torch.lerp(grey @ colour, colour, saturation)
        # All of these map grey to grey, so the same value is added to every channel.
        return torch.einsum("nij,njhw->nihw", colour, images) + added[:, None, None, None]


class _Draw:
    """Random numbers, one per image, and transformation matrices from them."""

    def __init__(self, p: Tensor, images: Tensor) -> None:
        self.p, self.n = p.to(images.dtype), len(images)
        self.like: dict[str, Any] = {"device": images.device, "dtype": images.dtype}
        self.zeros, self.ones = torch.zeros(self.n, **self.like), torch.ones(self.n, **self.like)

    def uniform(self, low: float, high: float) -> Tensor:
        return torch.rand(self.n, **self.like) * (high - low) + low

    def normal(self, deviation: float) -> Tensor:
        return torch.randn(self.n, **self.like) * deviation

    def choice(self, count: int) -> Tensor:
        """Integers from 0 to `count` - 1."""
        return torch.floor(torch.rand(self.n, **self.like) * count)

    def maybe(self, *values: Tensor, p: Tensor | None = None) -> Any:
        """Per image, all of the values with probability p, else 0 for all of them."""
        happens = torch.rand(self.n, **self.like) < (self.p if p is None else p)
        kept = [torch.where(happens, value, 0) for value in values]
        return kept if len(kept) > 1 else kept[0]

    def identity(self, size: int) -> Tensor:  # [N, size, size]
        return torch.eye(size, **self.like).expand(self.n, size, size)

    def matrix(self, *rows: tuple[Tensor, ...]) -> Tensor:
        return torch.stack([torch.stack(row, 1) for row in rows], 1)

    def scaling(self, x: Tensor, y: Tensor) -> Tensor:
        o, i = self.zeros, self.ones
        return self.matrix((x, o, o), (o, y, o), (o, o, i))

    def rotation(self, angle: Tensor) -> Tensor:
        o, i, cos, sin = self.zeros, self.ones, torch.cos(angle), torch.sin(angle)
        return self.matrix((cos, -sin, o), (sin, cos, o), (o, o, i))

    def shift(self, x: Tensor, y: Tensor) -> Tensor:
        o, i = self.zeros, self.ones
        return self.matrix((i, o, x), (o, i, y), (o, o, i))

    def rotation_about_grey(self, angle: Tensor) -> Tensor:  # [N, 3, 3]
        """A rotation of colours about the axis from black to white (Rodrigues' formula)."""
        grey = torch.full((3, 3), 1 / 3, **self.like)
        across = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], **self.like) / math.sqrt(3)
        cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
        return cos * torch.eye(3, **self.like) + (1 - cos) * grey + sin * across


def move(
    images: Tensor,  # [N, C, H, W]
    affine: Tensor,  # [N, 2, 3], from `Augment.affine_maps`
) -> Tensor:  # [N, C, H, W]
    """Apply `resample` to the images that move; the others stay the same to the last bit.

    On a CPU resampling takes longer than all other transforms together, and while p is small few images move.
    """
    if not images.is_cpu:  # selecting images would synchronise with the GPU
        return resample(images, affine)
    if type(images) is not Tensor:  # fake tensors (no storage) in memory estimates: assume that all images move
        moving = torch.arange(len(images))
    else:
        moving = (affine != torch.eye(2, 3, dtype=affine.dtype)).flatten(1).any(1).nonzero().flatten()
    return images.index_copy(0, moving, resample(images[moving], affine[moving])) if len(moving) else images


def resample(
    images: Tensor,  # [N, C, H, W]
    affine: Tensor,  # [N, 2, 3], from `Augment.affine_maps`
) -> Tensor:  # [N, C, H, W]
    """Resample images under affine maps, with reflection beyond the edges.

    Sampled at twice the resolution and then averaged: shifts by whole pixels, flips and quarter turns are exact, and
    rotated images become neither jagged nor much blurred.
    """
    height, width = images.shape[2:]
    x = torch.arange(2 * width, device=images.device, dtype=images.dtype) / 2 + 0.25 - width / 2
    y = torch.arange(2 * height, device=images.device, dtype=images.dtype) / 2 + 0.25 - height / 2
    down, right = torch.meshgrid(y, x, indexing="ij")
    pixels = torch.stack([right, down, torch.ones_like(right)], -1)  # [2H, 2W, 3]
    grid = torch.einsum("nij,hwj->nhwi", affine, pixels)  # [N, 2H, 2W, 2]
    grid = grid * torch.tensor([2 / width, 2 / height], device=images.device, dtype=images.dtype)
    fine = F.interpolate(images, scale_factor=2, mode="nearest")
    moved: Tensor = _Sample.apply(fine, grid)  # type: ignore[no-untyped-call]
    return F.avg_pool2d(moved, 2)


class _Sample(torch.autograd.Function):
    """`grid_sample` without a gradient for the grid: linear in the images, and so differentiable any number of times.

    PyTorch's own has had a second derivative only since 2026.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _SampleBack.apply(gradient, grid, ctx.shape), None  # type: ignore[no-untyped-call]


class _SampleBack(torch.autograd.Function):
    """The transpose of `_Sample`."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        bilinear, reflection = 0, 2
        back, _ = torch.ops.aten.grid_sampler_2d_backward(
            gradient, gradient.new_zeros(shape), grid, bilinear, reflection, False, [True, False]
        )
        return back  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(gradient, grid), None, None  # type: ignore[no-untyped-call]
