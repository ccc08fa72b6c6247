"""Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676, section 3 and appendix B).

Real and generated images alike. Each change comes with the probability `p`, which follows how sure D is of the real
images, or a value of yours. Below about 0.8 G makes images, not augmented ones (section 2.2 there).
"""

import math
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

__all__ = ["Augment", "move", "resample"]

COLOURS = 3  # a fourth channel is alpha, and has no colour

Change = Literal["flip", "turn", "shift", "geometry", "color", "luma"]
Policy = Annotated[tuple[Change, ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Augment(nn.Module):
    """One affine change of place and one of colour, each put together from those that the policy names.

    `shift` moves by whole pixels, `geometry` scales, turns, stretches and moves, `color` changes brightness, contrast
    and, of colour images, hue and saturation. `flip`, `turn` (by quarters) and `luma` (light for dark) only if you name
    them: a heart has a side, and an X-ray a black and a white.

    `p` follows the mean sign of D(real) towards `target`, from 0 to 1 in `kimg` thousand images at the soonest; where
    `target` is null it stays what it is given.
    """

    p: Tensor  # a buffer: what it has become is in checkpoints

    def __init__(
        self,
        channels: int,
        *,
        policy: Policy = ("shift", "geometry", "color"),
        p: Share = 0.0,
        target: Share | None = 0.6,
        kimg: PositiveInt = 500,
    ) -> None:
        super().__init__()
        self.colours = min(channels, COLOURS)
        self.policy = frozenset(policy)
        self.fixed, self.target, self.kimg = p, target, kimg
        self.register_buffer("p", torch.tensor(float(p)))

    def reach(self, factor: float) -> None:
        """Take so much of a fixed p, as a burn-in has it."""
        if self.target is None:
            self.p.fill_(self.fixed * factor)

    def adapt(self, sign: Tensor, images: int) -> None:
        """Hear the mean sign of what D said of so many real images: above the target, D learns them by heart."""
        if self.target is not None:
            self.p.add_(torch.sign(sign - self.target) * (images / (self.kimg * 1000))).clamp_(0, 1)

    def forward(
        self,
        images: Tensor,  # float [N, C, H, W] in [-1, 1]
    ) -> Tensor:  # [N, C, H, W], beyond [-1, 1] where colours grew brighter or stronger
        if self.policy - {"color", "luma"}:
            images = move(images, self.places(images))
        if self.policy & {"color", "luma"}:
            coloured = self.recolour(images[:, : self.colours])
            images = torch.cat([coloured, images[:, self.colours :]], 1) if images.shape[1] > COLOURS else coloured
        return images

    def places(self, images: Tensor) -> Tensor:  # [N, 2, 3]
        """For pixels of the result, from its middle, the place where they come from, in pixels from the middle."""
        draw = _Draw(self.p, images)
        height, width = images.shape[2:]
        total = draw.identity(3)
        if "flip" in self.policy:
            total = total @ draw.scaling(1 - 2 * draw.often(draw.choice(2)), draw.ones)
        if "turn" in self.policy:
            total = total @ draw.rotation(draw.often(draw.choice(4)) * (math.pi / 2))
        if "shift" in self.policy:
            right, down = draw.uniform(-0.125, 0.125) * width, draw.uniform(-0.125, 0.125) * height
            total = total @ draw.shift(*draw.often(right.round(), down.round()))
        if "geometry" in self.policy:
            both = draw.often(draw.normal(0.2))
            total = total @ draw.scaling(torch.exp2(-both), torch.exp2(-both))
            # Turned before and after it is stretched, so that turned at all with probability p (appendix B).
            total = total @ draw.rotation(draw.often(draw.uniform(-math.pi, math.pi), p=1 - (1 - self.p).sqrt()))
            stretch = draw.often(draw.normal(0.2))
            total = total @ draw.scaling(torch.exp2(-stretch), torch.exp2(stretch))
            total = total @ draw.rotation(draw.often(draw.uniform(-math.pi, math.pi), p=1 - (1 - self.p).sqrt()))
            total = total @ draw.shift(*draw.often(draw.normal(0.125) * width, draw.normal(0.125) * height))
        return total[:, :2]

    def recolour(self, images: Tensor) -> Tensor:  # [N, 1 or 3, H, W]
        """One affine map of a pixel's colours for each image."""
        draw = _Draw(self.p, images)
        channels = images.shape[1]
        grey = images.new_full((channels, channels), 1 / channels)  # onto the axis from black to white
        colour = draw.identity(channels)
        added = draw.zeros
        if "color" in self.policy:
            added = draw.often(draw.normal(0.2))
            contrast = torch.exp2(draw.often(draw.normal(0.5)))
            colour, added = colour * contrast[:, None, None], added * contrast
        if "luma" in self.policy:
            flipped = draw.often(draw.choice(2))
            colour = colour - 2 * flipped[:, None, None] * (grey @ colour)
            added = added * (1 - 2 * flipped)
        if "color" in self.policy and channels > 1:
            colour = draw.rotation_about_grey(draw.often(draw.uniform(-math.pi, math.pi))) @ colour
            saturation = torch.exp2(draw.often(draw.normal(1.0)))[:, None, None]
            colour = torch.lerp(grey @ colour, colour, saturation)
        # Grey stays grey under all of them, so what is added is added to every channel.
        return torch.einsum("nij,njhw->nihw", colour, images) + added[:, None, None, None]


class _Draw:
    """Random numbers, one for each image, and matrices made of them."""

    def __init__(self, p: Tensor, images: Tensor) -> None:
        self.p, self.n = p.to(images.dtype), len(images)
        self.like: dict[str, Any] = {"device": images.device, "dtype": images.dtype}
        self.zeros, self.ones = torch.zeros(self.n, **self.like), torch.ones(self.n, **self.like)

    def uniform(self, low: float, high: float) -> Tensor:
        return torch.rand(self.n, **self.like) * (high - low) + low

    def normal(self, deviation: float) -> Tensor:
        return torch.randn(self.n, **self.like) * deviation

    def choice(self, count: int) -> Tensor:
        """Whole numbers from 0 up to, and without, `count`."""
        return torch.floor(torch.rand(self.n, **self.like) * count)

    def often(self, *values: Tensor, p: Tensor | None = None) -> Any:
        """The values with probability p, and else 0, all of them or none."""
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
        """Of colours, about the axis from black to white (Rodrigues)."""
        grey = torch.full((3, 3), 1 / 3, **self.like)
        across = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], **self.like) / math.sqrt(3)
        cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
        return cos * torch.eye(3, **self.like) + (1 - cos) * grey + sin * across


def move(
    images: Tensor,  # [N, C, H, W]
    places: Tensor,  # [N, 2, 3], as `Augment.places` gives them
) -> Tensor:  # [N, C, H, W]
    """`resample` of the images that move; the others stay, to the last bit.

    On CPUs: resampling takes longer than all other changes, and few images move while p is small.
    """
    if not images.is_cpu:  # a GPU would have to be waited for
        return resample(images, places)
    if type(images) is not Tensor:  # where memory is reckoned images have no content, and all may move
        moving = torch.arange(len(images))
    else:
        moving = (places != torch.eye(2, 3, dtype=places.dtype)).flatten(1).any(1).nonzero().flatten()
    return images.index_copy(0, moving, resample(images[moving], places[moving])) if len(moving) else images


def resample(
    images: Tensor,  # [N, C, H, W]
    places: Tensor,  # [N, 2, 3], as `Augment.places` gives them
) -> Tensor:  # [N, C, H, W]
    """Images whose pixels come from other places; beyond the edge they are reflected.

    Sampled twice as finely and then averaged: what only moves by whole pixels or flips stays as it is, and what turns
    becomes neither jagged nor much blurred.
    """
    height, width = images.shape[2:]
    x = torch.arange(2 * width, device=images.device, dtype=images.dtype) / 2 + 0.25 - width / 2
    y = torch.arange(2 * height, device=images.device, dtype=images.dtype) / 2 + 0.25 - height / 2
    down, right = torch.meshgrid(y, x, indexing="ij")
    pixels = torch.stack([right, down, torch.ones_like(right)], -1)  # [2H, 2W, 3]
    sources = torch.einsum("nij,hwj->nhwi", places, pixels)  # [N, 2H, 2W, 2]
    sources = sources * torch.tensor([2 / width, 2 / height], device=images.device, dtype=images.dtype)
    fine = F.interpolate(images, scale_factor=2, mode="nearest")
    moved: Tensor = _Sample.apply(fine, sources)  # type: ignore[no-untyped-call]
    return F.avg_pool2d(moved, 2)


class _Sample(torch.autograd.Function):
    """`grid_sample` at places that need no gradient: linear in its input, and so differentiable as often as one likes.

    PyTorch's own has had a second derivative only since 2026.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.shape = images.shape
        return F.grid_sample(images, places, mode="bilinear", padding_mode="reflection", align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return _SampleBack.apply(gradient, places, ctx.shape), None  # type: ignore[no-untyped-call]


class _SampleBack(torch.autograd.Function):
    """Its transpose."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(places)
        bilinear, reflection = 0, 2
        back, _ = torch.ops.aten.grid_sampler_2d_backward(
            gradient, gradient.new_zeros(shape), places, bilinear, reflection, False, [True, False]
        )
        return back  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return _Sample.apply(gradient, places), None, None  # type: ignore[no-untyped-call]
