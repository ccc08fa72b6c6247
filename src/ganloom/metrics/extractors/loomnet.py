"""loomnet-1: a small encoder of our own, shipped inside the package, for quick scores and for scores while training.

Trained on real images only, grey and colour, by scripts/train_loomnet.py; its weights are frozen. docs/metrics.md says
how well it sees. What is measured with it is `fd[loomnet-1]@n`: comparable with itself alone, and never FID.
"""

from collections.abc import Sequence
from importlib import resources

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.core import tensors
from ganloom.core.files import sha256
from ganloom.metrics.extractors.contract import Extractor, Outputs, to_rgb

__all__ = ["LAYERS", "SIZE", "Loomnet", "load", "pool"]

SIZE = 32  # pixels a side that images are resized to
LAYERS = ((3, 32, 1), (32, 64, 1), (64, 64, 2), (64, 128, 1), (128, 128, 2))  # channels in, out, stride; all 3x3, ReLU
POOLED = (2, 4)  # the layers whose means over the image are the features: textures, and things


def pool(
    activations: Sequence[Tensor],  # of every layer, [N, C, H, W]
) -> Tensor:  # [N, 192]
    return torch.cat([activations[layer].mean(dim=(2, 3)) for layer in POOLED], dim=1)


class Loomnet(Extractor):
    """Five convolutions, 278,000 weights. Each of its 192 features has a standard deviation of 1 over the images that
    it was trained on, so that none outweighs the others.
    """

    id = "loomnet-1"
    resize = f"antialias-{SIZE}"

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.weights = weights
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, stride, padding=1) for a, b, stride in LAYERS)
        self.scale = nn.Buffer(torch.ones(sum(LAYERS[layer][1] for layer in POOLED)))

    def forward(self, images: Tensor) -> Outputs:
        h = to_rgb(images)
        if h.shape[2:] != (SIZE, SIZE):
            h = F.interpolate(h, (SIZE, SIZE), mode="bilinear", antialias=True)
        h = (h / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        activations = []
        for layer in self.layers:
            h = F.relu(layer(h))
            activations.append(h)
        return Outputs(pool(activations) * self.scale, None)


def load() -> Loomnet:
    """The encoder as it was shipped, on the CPU."""
    data = resources.files("ganloom.metrics.extractors").joinpath("loomnet-1.safetensors").read_bytes()
    encoder = Loomnet(weights=sha256(data))
    encoder.load_state_dict({name: weight.float() for name, weight in tensors.unpack(data).items()})  # kept as halves
    return encoder.to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload,no-any-return]
