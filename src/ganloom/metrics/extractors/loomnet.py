"""loomnet-1: a small encoder shipped with the package, for quick scores and for scores during training.

scripts/train_loomnet.py trained it on real images only, grey and colour; its weights are frozen. docs/evaluation.md
shows how well it detects faults. A score has a name like `fd[loomnet-1]@n`. It is only comparable with scores of
loomnet-1, and is never called FID.
"""

from collections.abc import Sequence
from importlib import resources

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.core import tensors
from ganloom.core.errors import ModelError
from ganloom.core.files import sha256
from ganloom.metrics.extractors.contract import Extractor, Outputs, to_rgb

__all__ = ["LAYERS", "SIZE", "Loomnet", "load", "pool"]

SHA256 = "e215cc1c919b9a3b886b0e1f370b1abde1052d879a377e4f370c4b519aae903a"
"""Of the shipped weights: scores of a training say `loomnet-1` and nothing else. Other weights need another id."""

SIZE = 32  # height and width that images are resized to, in pixels
LAYERS = ((3, 32, 1), (32, 64, 1), (64, 64, 2), (64, 128, 1), (128, 128, 2))  # channels in, out, stride; all 3x3, ReLU
POOLED = (2, 4)  # layers whose means over the image are the features: of textures, and of objects


def pool(
    activations: Sequence[Tensor],  # of every layer, [N, C, H, W]
) -> Tensor:  # [N, 192]
    """Features: means over the image of the layers in `POOLED`."""
    return torch.cat([activations[layer].mean(dim=(2, 3)) for layer in POOLED], dim=1)


class Loomnet(Extractor):
    """Five convolutions with 278,000 weights. Each of the 192 features has a standard deviation of 1 over its training
    images, so that none outweighs the others.
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
    """The encoder with the shipped weights, on the CPU, in evaluation mode.

    Raises `ModelError` if their file is damaged.
    """
    file = resources.files("ganloom.metrics.extractors").joinpath("loomnet-1.safetensors")
    data = file.read_bytes()
    if (found := sha256(data)) != SHA256:
        raise ModelError(f"{file} is damaged: its sha256 is {found}, not {SHA256}. Install ganloom again.")
    encoder = Loomnet(weights=found)
    stored = tensors.unpack(data)  # in float16
    encoder.load_state_dict({name: weight.float() for name, weight in stored.items()})
    return encoder.to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload,no-any-return]
