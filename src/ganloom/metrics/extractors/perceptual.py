"""LPIPS (Zhang et al. 2018): perceptual distance of two images, from AlexNet features weighted by human judgements."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.core.errors import ModelError
from ganloom.core.files import sha256
from ganloom.metrics.extractors.contract import to_rgb
from ganloom.metrics.extractors.weights import read

__all__ = ["Lpips", "load_lpips"]

ALEXNET = "alexnet-owt-7be5be79.pth"
HEADS = "alex.pth"
REMEDY = (
    f"LPIPS needs a folder with two files: {ALEXNET}, from https://download.pytorch.org/models/{ALEXNET}, and {HEADS}, "
    "from lpips/weights/v0.1 of https://github.com/richzhang/PerceptualSimilarity."
)
CONVOLUTIONS = (0, 3, 6, 8, 10)  # indices in torchvision's AlexNet; the outputs of the ReLUs after them are compared
WIDTHS = (64, 192, 384, 256, 256)
POOLED = (3, 6)  # convolutions with max pooling before them
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
SHORTEST = 64  # pixels: LPIPS was fitted to patches of that size, and AlexNet reduces much smaller images to nothing


class Lpips(nn.Module):
    """LPIPS version 0.1 with AlexNet, in evaluation mode and without gradients."""

    id = "lpips-alex"
    resize = f"bilinear, shorter side at least {SHORTEST}"
    weights = ""  # sha256 of the sha256 of both files

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        shapes = zip(CONVOLUTIONS, inputs, WIDTHS, (11, 5, 3, 3, 3), (4, 1, 1, 1, 1), (2, 2, 1, 1, 1), strict=True)
        self.features = nn.ModuleDict({str(place): nn.Conv2d(*shape) for place, *shape in shapes})
        self.heads = nn.ParameterList(torch.zeros(1, width, 1, 1) for width in WIDTHS)
        self.shift = nn.Buffer(torch.tensor(SHIFT)[:, None, None])
        self.scale = nn.Buffer(torch.tensor(SCALE)[:, None, None])
        self.eval().requires_grad_(False)

    def forward(
        self,
        a: Tensor,  # uint8 or float [N, C, H, W] in [0, 255], with 1, 3 or 4 channels
        b: Tensor,  # the same
    ) -> Tensor:  # float32 [N]
        """The distance of each pair. Images with a shorter side below 64 pixels are enlarged to 64."""
        # d(x, y) = sum_l mean_hw || w_l * (x^l_hw - y^l_hw) ||^2, x^l_hw of unit length (Zhang et al. 2018, eq. 1);
        # the published heads hold the squares of w
        layers = zip(self.heads, self.activations(a), self.activations(b), strict=True)
        parts = [(head * (x - y).square()).sum(1).mean((1, 2)) for head, x, y in layers]
        return torch.stack(parts).sum(0)

    def activations(
        self,
        images: Tensor,  # [N, C, H, W] in [0, 255]
    ) -> list[Tensor]:  # of [N, width, h, w], each of unit length over the channels
        x = (_enlarged(to_rgb(images).to(self.shift)) / 127.5 - 1 - self.shift) / self.scale
        found = []
        for place in CONVOLUTIONS:
            if place in POOLED:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(self.features[str(place)](x))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found


def load_lpips(folder: Path) -> Lpips:
    """LPIPS with the weights in a folder: torchvision's AlexNet and the heads published by the authors of LPIPS.

    Raises `ModelError` if a file is missing or has other contents.
    """
    for name in (ALEXNET, HEADS):
        if not (folder / name).is_file():
            raise ModelError(f"there is no {name} in {folder}. {REMEDY}")
    alexnet, heads = read(folder / ALEXNET), read(folder / HEADS)
    lpips = Lpips()
    wanted = [f"features.{place}.{kind}" for place in CONVOLUTIONS for kind in ("weight", "bias")]
    try:
        lpips.features.load_state_dict({name.removeprefix("features."): alexnet.tensors[name] for name in wanted})
    except (KeyError, RuntimeError):
        raise ModelError(f"{folder / ALEXNET} is not torchvision's AlexNet. {REMEDY}") from None
    try:
        lpips.heads.load_state_dict(
            {str(layer): heads.tensors[f"lin{layer}.model.1.weight"] for layer in range(len(WIDTHS))}
        )
    except (KeyError, RuntimeError):
        raise ModelError(f"{folder / HEADS} does not hold the heads of LPIPS for AlexNet. {REMEDY}") from None
    lpips.weights = sha256(f"{alexnet.sha256} {heads.sha256}".encode())
    return lpips


def _enlarged(
    images: Tensor,  # float [N, 3, H, W]
) -> Tensor:
    height, width = images.shape[2:]
    if min(height, width) >= SHORTEST:
        return images
    scale = SHORTEST / min(height, width)
    size = (round(height * scale), round(width * scale))
    return F.interpolate(images, size, mode="bilinear", align_corners=False)
