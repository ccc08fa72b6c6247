"""The FID network up to its block Mixed_6e, if you have only these weights: 768 features, `fd[inception-768]`.

The environment variable `INCEPTION_TRUNK` names an .npz file with the weights: `conv.weight`, `conv.bias`,
`conv_1.weight`, ... with the names and in the order of the TensorFlow graph, with BatchNorm folded in. Then

    ganloom evaluate RUN --extractor scripts/inception_trunk.py:trunk
"""

import os
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ganloom.core.errors import ConfigError, ModelError
from ganloom.metrics.extractors import resize
from ganloom.metrics.extractors.contract import Extractor, Outputs
from ganloom.metrics.extractors.inception import build, features_of, fold
from ganloom.metrics.extractors.weights import hashed

__all__ = ["Trunk", "trunk"]

LAST = "Mixed_6e"


class Trunk(Extractor):
    """Features [N, 768]: the means of the last maps. No logits."""

    id = "inception-768"
    resize = "tf1-299"

    def __init__(self, path: Path) -> None:
        """Raises `ModelError` for a file with other tensors."""
        super().__init__()
        network = fold(build())
        names = [name for name, _ in network.named_children()]
        self.body = nn.Sequential(*network[: names.index(LAST) + 1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
        try:
            with hashed(path) as (content, self.weights), np.load(content) as file:
                values = [torch.from_numpy(file[name].astype(np.float32)) for name in file.files]
            self.body.load_state_dict(dict(zip(self.body.state_dict(), values, strict=True)), assign=True)
        except (ValueError, RuntimeError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path} does not hold the trunk's weights: {str(error).splitlines()[0]}") from None
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(features_of(images, self.body, resize.tf1), None)


def trunk() -> Trunk:
    """The extractor. Raises `ConfigError` if `INCEPTION_TRUNK` is not set."""
    path = os.environ.get("INCEPTION_TRUNK")
    if not path:
        raise ConfigError("set INCEPTION_TRUNK to the .npz file with the trunk's weights.")
    return Trunk(Path(path).expanduser())
