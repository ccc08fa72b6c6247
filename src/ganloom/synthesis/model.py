"""A trained generator, ready to make pictures."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ganloom.core.device import choose_device
from ganloom.core.errors import ModelError
from ganloom.core.names import nearest
from ganloom.core.shapes import ImageShape
from ganloom.models import modelfile
from ganloom.models.generate import generate
from ganloom.nets.contract import Styled

__all__ = ["Model", "load"]


@dataclass(frozen=True)
class Model:
    """A generator and what its file says of it."""

    G: nn.Module
    header: modelfile.Header

    @property
    def shape(self) -> ImageShape:
        return self.header.image_shape

    @property
    def class_names(self) -> Sequence[str]:
        """Classes that can be asked for; empty for a model trained without labels."""
        return self.header.class_names if self.header.labels else ()

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        class_name: str | None = None,
        truncation: float | None = None,
        batch: int = 64,
    ) -> Tensor:  # uint8 [N, C, H, W]
        """Pictures 0 to n of a seed. Of every class in turn, or all of `class_name`.

        `truncation` keeps z within so many standard deviations, about 0.5 to 2, or, of a network with styles, these
        within that share of their distance from the mean, 0 to 1: less variety, fewer failures. Picture i of a seed is
        the same whatever `n` and `batch` are. Raises `ModelError` for an unknown class, and for a truncation where it
        means nothing.
        """
        batches = self.samples(n, seed=seed, class_name=class_name, truncation=truncation, batch=batch)
        return torch.cat(list(batches))

    def samples(
        self,
        n: int,
        *,
        seed: int = 0,
        class_name: str | None = None,
        truncation: float | None = None,
        batch: int = 64,
    ) -> Iterator[Tensor]:  # uint8 [<= batch, C, H, W]
        """The same batch by batch, for more pictures than fit into memory."""
        if n < 1:
            raise ModelError(f"cannot make {n} pictures: ask for at least one.")
        if truncation is not None and isinstance(self.G, Styled):
            if not 0 <= truncation <= 1:
                raise ModelError(
                    f"a truncation of {truncation}: of styles it goes from 0, their mean, to 1, as they are."
                )
        elif truncation is not None and not (math.isfinite(truncation) and truncation > 0):
            raise ModelError(f"a truncation of {truncation} leaves nothing: give a number above 0, such as 1.")
        if truncation is not None and not getattr(self.G, "truncates", True):
            raise ModelError(f"{self.header.net} looks at the direction of z alone, so there is nothing to truncate.")
        labels = self._labels(n, class_name)
        return generate(self.G, self.header.latent, n, seed, labels, batch, truncation)

    def _labels(self, n: int, class_name: str | None) -> Tensor | None:  # int64 [n]
        if class_name is None:
            return torch.arange(n) % len(self.class_names) if self.class_names else None
        if not self.class_names:
            raise ModelError(
                "this model was trained without labels: train with --set data.labels=true to choose classes."
            )
        if class_name not in self.class_names:
            raise ModelError(f"unknown class '{class_name}'. {nearest(class_name, self.class_names)}")
        return torch.full((n,), list(self.class_names).index(class_name))


def load(path: str | Path, *, device: str = "auto", trust_code: bool = False) -> Model:
    """The model of a run folder or of a model.safetensors. Raises `ModelError` for anything else.

    Where the network is not one of ganloom's, the model holds its Python code; `trust_code` says that it may be run.
    """
    G, header = modelfile.read(modelfile.locate(Path(path).expanduser()), trust_code=trust_code)
    return Model(G.to(choose_device(device)), header)
