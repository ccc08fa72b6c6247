"""DINOv2 vision transformers (Oquab et al. 2023), from the weights that Meta publishes for each size."""

from collections.abc import Mapping
from math import isqrt
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.core.errors import ConfigError, ModelError
from ganloom.metrics.extractors import weights
from ganloom.metrics.extractors.contract import Extractor, Outputs, to_rgb

__all__ = ["PUBLISHED", "DinoV2", "VisionTransformer", "load"]

SIDE = 224  # pixels
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
HEAD = 64  # channels of an attention head, at every size
PUBLISHED = {
    (384, 12): "dinov2-vits14",
    (768, 12): "dinov2-vitb14",
    (1024, 24): "dinov2-vitl14",
    (1536, 40): "dinov2-vitg14",
}
"""Ids of the published networks by (width, depth)."""


class DinoV2(Extractor):
    """Features are the class token after the last norm, [N, width].

    Images are stretched to 224x224 by antialiased bicubic interpolation, as by Stein et al. (2023), but not rounded to
    uint8 afterwards.
    """

    resize = f"bicubic-{SIDE}"

    def __init__(self, state: Mapping[str, Tensor], *, id: str, weights: str) -> None:
        """Raises the errors of `VisionTransformer`."""
        super().__init__()
        self.id, self.weights = id, weights
        self.network = VisionTransformer(state)
        self.mean, self.std = (nn.Buffer(255 * torch.tensor(values)[:, None, None]) for values in (MEAN, STD))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Outputs:
        x = F.interpolate(to_rgb(images), (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 255)
        return Outputs(self.network((x - self.mean) / self.std), None)


def load(path: Path | None) -> DinoV2:
    """Raises `ConfigError` without a file, `ModelError` for a file that is not one of the four published sizes."""
    if path is None:
        raise ConfigError(
            "dinov2 needs its weights: fetch https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/"
            "dinov2_vits14_pretrain.pth (or vitb14, vitl14, vitg14) and name the file with --weights FILE."
        )
    state, sha256 = weights.read(path)
    try:
        name = PUBLISHED[len(state["norm.weight"]), _depth(state)]
        return DinoV2(state, id=name, weights=sha256)
    except (KeyError, IndexError, ValueError, RuntimeError):
        raise ModelError(
            f"{path} is not one of the published DINOv2 files: dinov2_vits14_pretrain.pth, or the same with vitb14, "
            "vitl14 or vitg14. Networks with registers are not supported."
        ) from None


class VisionTransformer(nn.Module):
    """Built from the tensors of a published file, whose shapes determine its sizes."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """Raises `KeyError`, `ValueError` or `RuntimeError` for another network, or for one with registers."""
        super().__init__()
        width, channels, patch, _ = state["patch_embed.proj.weight"].shape
        gated = "blocks.0.mlp.w3.weight" in state
        hidden = state["blocks.0.mlp.w3.weight" if gated else "blocks.0.mlp.fc2.weight"].shape[1]
        with torch.device("meta"):
            self.cls_token = nn.Parameter(torch.empty(1, 1, width))
            self.pos_embed = nn.Parameter(torch.empty(state["pos_embed"].shape))
            self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(channels, width, patch, patch)})
            self.blocks = nn.ModuleList(_Block(width, hidden, gated) for _ in range(_depth(state)))
            self.norm = nn.LayerNorm(width, eps=1e-6)
        used = {name: value for name, value in state.items() if name != "mask_token"}  # only used in its training
        self.load_state_dict(used, assign=True)

    def forward(
        self,
        images: Tensor,  # float32 [N, 3, H, W], standardised; H and W are multiples of the patch size
    ) -> Tensor:  # [N, width]
        x: Tensor = self.patch_embed["proj"](images)
        positions = self._positions(*x.shape[2:])
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(2).mT], 1) + positions
        for block in self.blocks:
            x = block(x)
        x = self.norm(x[:, 0])
        return x

    def _positions(self, height: int, width: int) -> Tensor:  # [1, 1 + height * width, channels]
        """The learned position embeddings, interpolated to a grid of `height` by `width` patches.

        The scale is (size + 0.1) / learned size, as in the authors' code: it avoids a rounding error, and shifts every
        sample a little.
        """
        side = isqrt(self.pos_embed.shape[1] - 1)
        if (height, width) == (side, side):
            return self.pos_embed
        grid = self.pos_embed[:, 1:].mT.reshape(1, -1, side, side)
        grid = F.interpolate(grid, scale_factor=((height + 0.1) / side, (width + 0.1) / side), mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).mT], 1)


class _Block(nn.Module):
    """Attention, then two linear layers; each after a norm, scaled per channel (Touvron et al. 2021), and residual."""

    def __init__(self, width: int, hidden: int, gated: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": torch.empty(width)}) for _ in range(2))
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict(
            {"w12": nn.Linear(width, 2 * hidden), "w3": nn.Linear(hidden, width)}
            if gated
            else {"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)}
        )

    def forward(self, x: Tensor) -> Tensor:  # [N, T, width]
        x = x + self.ls1["gamma"] * self._attend(self.norm1(x))
        x = x + self.ls2["gamma"] * self._mix(self.norm2(x))
        return x

    def _attend(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.attn["qkv"](x).view(n, tokens, 3, width // HEAD, HEAD).permute(2, 0, 3, 1, 4)
        x = self.attn["proj"](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x

    def _mix(self, x: Tensor) -> Tensor:
        if "w12" in self.mlp:  # SwiGLU (Shazeer 2020), in the largest size
            gate, value = self.mlp["w12"](x).chunk(2, dim=-1)
            x = self.mlp["w3"](F.silu(gate) * value)
        else:
            x = self.mlp["fc2"](F.gelu(self.mlp["fc1"](x)))
        return x


def _depth(state: Mapping[str, Tensor]) -> int:
    return 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
