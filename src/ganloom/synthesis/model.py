"""A trained generator, ready to generate images."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from ganloom.core.device import choose_device
from ganloom.core.errors import ModelError
from ganloom.core.names import nearest
from ganloom.core.pictures import class_columns, grid, png, to_pil
from ganloom.core.shapes import ImageShape
from ganloom.models import modelfile
from ganloom.models.generate import generate
from ganloom.nets.contract import Styled

__all__ = ["Model", "load"]


@dataclass(frozen=True, repr=False)
class Model:
    """A generator, with what its file says about it."""

    G: nn.Module  # the EMA generator, in evaluation mode
    header: modelfile.Header

    @property
    def shape(self) -> ImageShape:
        return self.header.image_shape

    @property
    def class_names(self) -> Sequence[str]:
        """Classes that it can be asked for; empty for a model trained without labels."""
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
        """Generate `n` images, as a uint8 tensor [n, C, H, W] on the CPU.

        Image i of a seed is the same whatever `n` and `batch` are.

        Args:
            n: how many.
            seed: of the latents.
            class_name: all of this class; without it every class in turn, if the model has classes.
            truncation: less variety, fewer failures. Keeps z within so many standard deviations, about 0.5 to 2; of a
                network with styles, keeps these within that share of their distance from the mean, 0 to 1.
            batch: images generated at once.

        Raises `ModelError` for an unknown class, and for a truncation that the network does not have.

        >>> import ganloom
        >>> ganloom.load("runs/photos").sample(16, seed=1).shape
        torch.Size([16, 1, 32, 32])

        """
        batches = self.samples(n, seed=seed, class_name=class_name, truncation=truncation, batch=batch)
        return torch.cat(list(batches))

    def images(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        class_name: str | None = None,
        truncation: float | None = None,
    ) -> list[Image.Image]:
        """The same images as `sample`, as Pillow images of mode L, RGB or RGBA."""
        return [to_pil(image) for image in self.sample(n, seed=seed, class_name=class_name, truncation=truncation)]

    def samples(
        self,
        n: int,
        *,
        seed: int = 0,
        class_name: str | None = None,
        truncation: float | None = None,
        batch: int = 64,
    ) -> Iterator[Tensor]:  # uint8 [<= batch, C, H, W]
        """The same as `sample`, batch by batch, for more images than fit into memory."""
        if n < 1:
            raise ModelError(f"cannot generate {n} images: ask for at least one.")
        if truncation is not None:
            self._check_truncation(truncation)
        return generate(self.G, self.header.latent, n, seed, self._labels(n, class_name), batch, truncation)

    def __repr__(self) -> str:
        classes = f", {len(self.class_names)} classes" if self.class_names else ""
        seen = self.header.training.get("nimg")
        trained = f", trained with {seen:,} images" if isinstance(seen, int) else ""
        return f"Model({self.header.net}, {self.shape}{classes}{trained})"

    def _repr_png_(self) -> bytes:
        """In a notebook: a grid of samples, one column per class where there are not too many."""
        columns = class_columns(len(self.class_names))
        return png(grid(self.sample(4 * (columns or 8)), columns or 8))

    def _check_truncation(self, truncation: float) -> None:
        if not getattr(self.G, "truncates", True):
            raise ModelError(f"{self.header.net} uses the direction of z alone, so there is nothing to truncate.")
        if isinstance(self.G, Styled):
            if not 0 <= truncation <= 1:
                raise ModelError(f"a truncation of {truncation}: that of styles goes from 0, their mean, to 1, none.")
        elif not (math.isfinite(truncation) and truncation > 0):
            raise ModelError(f"a truncation of {truncation} leaves nothing: give a number above 0, such as 1.")

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


def load(path: str | os.PathLike[str], *, device: str = "auto", trust_code: bool = False) -> Model:
    """Load the model of a run folder, or a model.safetensors.

    A model of a custom network holds its Python code; `trust_code=True` allows to run it. Raises `ModelError` for
    anything that is not a model.

    >>> import ganloom
    >>> ganloom.load("runs/photos")
    Model(dcgan, 32x32 grey, 10 classes, trained with 320 images)
    """
    G, header = modelfile.read(modelfile.locate(Path(path).expanduser()), trust_code=trust_code)
    return Model(G.to(choose_device(device)), header)
