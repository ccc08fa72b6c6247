"""A trained generator, ready to generate images."""

import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index

import torch
from PIL import Image
from torch import Tensor, nn

from ganloom.core.device import choose_device
from ganloom.core.errors import ConfigError, ModelError
from ganloom.core.files import user_path
from ganloom.core.memory import check_memory, memory_errors
from ganloom.core.names import nearest
from ganloom.core.pictures import check_pixels, class_columns, enlarged, grid, to_pil, to_uint8
from ganloom.core.public import public
from ganloom.core.shapes import ImageShape
from ganloom.core.words import counted, printable
from ganloom.models import modelfile
from ganloom.models.generate import generate_floats
from ganloom.models.places import locate
from ganloom.nets.contract import Styled
from ganloom.synthesis.moments import LAST, read_at

__all__ = ["Model", "load", "refuse_non_finite"]

Classes = str | int | Sequence[str | int] | None  # by name, or by number
FEWER = "Ask for fewer images (--n), or write a file per image (--separate)."
MAX_ROW = 16  # pictures of a class in a row, by default


@dataclass(frozen=True, repr=False)
class Model:
    """A generator, with what its file says about it."""

    G: nn.Module  # the EMA generator, in evaluation mode
    header: modelfile.Header
    sha256: str = ""  # of the file that it was loaded from

    @property
    def shape(self) -> ImageShape:
        return self.header.image_shape

    @property
    def class_names(self) -> Sequence[str]:
        """Classes that it can be asked for; empty for a model trained without labels."""
        return self.header.class_names if self.header.labels else ()

    @public
    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        class_name: Classes = None,
        truncation: float | None = None,
        batch: int = 64,
    ) -> Tensor:  # uint8 [N, C, H, W]
        """Generate `n` images, as a uint8 tensor [n, C, H, W] on the CPU.

        Image i of a seed is the same whatever `n` and `batch` are.

        Args:
            n: how many, in all.
            seed: of the latents.
            class_name: all of this class, or of these classes in turn; without it every class in turn, if the model has
                classes. A number is that of a class in `class_names`.
            truncation: less variety, fewer failures. Keeps z within so many standard deviations, about 0.5 to 2; of a
                network with styles, keeps these within that share of their distance from the mean, 0 to 1.
            batch: images generated at once.

        Raises `ModelError` for an unknown class, for a truncation that the network does not have, and for a model that
        generates NaN or infinite values.

        >>> import ganloom
        >>> ganloom.load("runs/photos").sample(16, seed=1).shape
        torch.Size([16, 1, 32, 32])

        """
        batches = self.samples(n, seed=seed, class_name=class_name, truncation=truncation, batch=batch)
        shape = (self.shape.channels, self.shape.height, self.shape.width)
        with memory_errors(f"generating {counted(n, 'image')}", FEWER):
            check_memory(n * math.prod(shape), f"{counted(n, 'image')} of {self.shape}")
            made, done = torch.empty(n, *shape, dtype=torch.uint8), 0
            for part in batches:
                made[done : done + len(part)] = part
                done += len(part)
        return made

    @public
    def images(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        class_name: Classes = None,
        truncation: float | None = None,
    ) -> list[Image.Image]:
        """The same images as `sample`, as Pillow images of mode L, RGB or RGBA."""
        return [to_pil(image) for image in self.sample(n, seed=seed, class_name=class_name, truncation=truncation)]

    @public
    def grid(
        self,
        n: int = 16,
        *,
        seed: int = 0,
        class_name: Classes = None,
        truncation: float | None = None,
        columns: int | None = None,
        scale: int = 1,
        padding: int = 2,
    ) -> Image.Image:
        """The same images as `sample` in one picture, as a Pillow image; a single image has no frame.

        Args:
            n: how many, in all.
            seed: as for `sample`.
            class_name: as for `sample`. Several classes get a row each.
            truncation: as for `sample`.
            columns: pictures in a row. By default one column per class where all classes are shown and there are at
                most 16; otherwise the grid is about square.
            scale: enlarge each pixel to a square of so many pixels.
            padding: pixels between the pictures.

        Raises what `sample` raises, and `ConfigError` for a picture that would be too large.

        >>> import ganloom
        >>> ganloom.load("runs/photos").grid(20, scale=2, padding=0).size
        (640, 128)

        """
        for name, value, least in (("columns", columns, 1), ("scale", scale, 1), ("padding", padding, 0)):
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, not {value}.")
        chosen = self.classes(class_name)
        columns, blank = _layout(n, len(chosen), columns, in_rows=class_name is not None)
        check_pixels(-(-n // columns) * self.shape.height * scale, columns * self.shape.width * scale)
        made = self.sample(n, seed=seed, class_name=class_name, truncation=truncation)
        with memory_errors(
            f"drawing {counted(n, 'image')} as one picture", "Ask for fewer images (--n), or a smaller --scale."
        ):
            made = enlarged(made, scale)
            if class_name is not None and len(chosen) > 1:
                made = torch.cat([made[start :: len(chosen)] for start in range(len(chosen))])
            return to_pil(grid(made, columns, padding=padding, blank=blank))

    @public
    def samples(
        self,
        n: int,
        *,
        seed: int = 0,
        class_name: Classes = None,
        truncation: float | None = None,
        batch: int = 64,
    ) -> Iterator[Tensor]:  # uint8 [<= batch, C, H, W]
        """The same as `sample`, batch by batch, for more images than fit into memory."""
        if n < 1 or batch < 1:
            raise ModelError(f"cannot generate {n} images, {batch} at a time: ask for at least one.")
        if truncation is not None:
            self._check_truncation(truncation)
        chosen = self.classes(class_name)
        y = torch.tensor(chosen)[torch.arange(n) % len(chosen)] if chosen else None
        return self._generated(n, seed, y, batch, truncation)

    def classes(self, class_name: Classes = None) -> list[int]:
        """The numbers of the classes that images of `class_name` have, in turn; none without labels.

        Raises `ModelError` for a class that the model does not have, and for a number that may be one of two classes.
        """
        if class_name is None:
            return list(range(len(self.class_names)))
        if not self.class_names:
            raise ModelError(
                "this model was trained without labels: train with --set data.labels=true to choose classes."
            )
        asked = class_name if isinstance(class_name, Sequence) and not isinstance(class_name, str) else [class_name]
        if not asked:
            raise ModelError("name at least one class, or leave out --class for all.")
        return list(dict.fromkeys(_class_number(each, list(self.class_names)) for each in asked))

    def _generated(
        self, n: int, seed: int, y: Tensor | None, batch: int, truncation: float | None
    ) -> Iterator[Tensor]:  # uint8 [<= batch, C, H, W]
        with memory_errors(f"generating {counted(n, 'image')}", FEWER):
            for images in generate_floats(self.G, self.header.latent, n, seed, y, batch, truncation):
                refuse_non_finite(images)
                yield to_uint8(images).cpu()

    def __repr__(self) -> str:
        classes = f", {len(self.class_names)} classes" if self.class_names else ""
        seen = self.header.training.get("nimg")
        trained = f", trained with {seen:,} images" if isinstance(seen, int) else ""
        return f"Model({printable(self.header.net)}, {self.shape}{classes}{trained})"

    def _repr_png_(self) -> bytes:
        """In a notebook: a grid of samples, one column per class where there are not too many."""
        columns = class_columns(len(self.class_names)) or 8
        buffer = io.BytesIO()
        self.grid(4 * columns, columns=columns).save(buffer, format="PNG")
        return buffer.getvalue()

    def _check_truncation(self, truncation: float) -> None:
        if not getattr(self.G, "truncates", True):
            raise ModelError(
                f"{self.header.net} uses the direction of z alone, so there is nothing to truncate: leave out "
                "--truncation."
            )
        if isinstance(self.G, Styled):
            if not 0 <= truncation <= 1:
                raise ModelError(f"a truncation of {truncation}: that of styles goes from 0, their mean, to 1, none.")
        elif not (math.isfinite(truncation) and truncation > 0):
            raise ModelError(f"a truncation of {truncation} leaves nothing: give a number above 0, such as 1.")


def _class_number(name: str | int, names: list[str]) -> int:
    """The class of a name, or of a number: as labels count them, unless the names are these numbers themselves."""
    if isinstance(name, str):
        if name not in names:
            raise ModelError(f"unknown class '{name}'. {nearest(name, names)}")
        return names.index(name)
    number = index(name)
    named = names.index(str(number)) if str(number) in names else None
    if named is None and not 0 <= number < len(names):
        raise ModelError(
            f"there is no class {number}: the model has {len(names)}, counted from 0: {', '.join(names[:9])}."
        )
    if named is not None and named != number and 0 <= number < len(names):
        raise ModelError(
            f"class {number} may be the one called '{number}', or number {number}, '{names[number]}': name it."
        )
    return number if named is None else named


def _layout(n: int, classes: int, columns: int | None, *, in_rows: bool) -> tuple[int, list[int]]:
    """How many columns a grid has, and which of its places stay empty.

    With `in_rows` each class begins a new row.
    """
    if not (in_rows and classes > 1):
        by_class = class_columns(classes) if not in_rows and classes <= n else None
        return columns or by_class or math.ceil(math.sqrt(n)), []
    longest = math.ceil(n / classes)
    across = columns or (longest if longest <= MAX_ROW else math.ceil(math.sqrt(n)))
    blank: list[int] = []
    place = 0
    for number in range(classes):
        count = len(range(number, n, classes))
        missing = -count % across
        blank += range(place + count, place + count + missing)
        place += count + missing
    return across, blank


def refuse_non_finite(
    images: Tensor,  # float [N, C, H, W]
) -> None:
    """Raises `ModelError` for images with NaN or infinite values: as pictures they would be black, or noise."""
    if not torch.isfinite(images).all():
        raise ModelError(
            "the model generates NaN or infinite values, because its training has diverged. Use an earlier model, such "
            "as --at best, or train again with lower learning rates."
        )


@public
def load(
    path: str | os.PathLike[str], *, at: int | str = LAST, device: str = "auto", trust_code: bool = False
) -> Model:
    """Load the model of a run folder, or a model.safetensors.

    Args:
        path: a run, its folder, or a model file.
        at: of a run, which model: "last", the newest; "best", the one with the best score; or that of the checkpoint
            nearest to an image count, such as 20000, "20 kimg" or "3 epochs". `checkpoint.keep` says how many are kept.
        device: auto, cpu, cuda, cuda:N or mps.
        trust_code: allow to run the Python code that a model of a custom network holds.

    Raises `ModelError` for anything that is not a model.

    >>> import ganloom
    >>> ganloom.load("runs/photos")
    Model(dcgan, 32x32 grey, 10 classes, trained with 320 images)

    """
    place, chosen = user_path(path), choose_device(device)
    if at == LAST:
        read = modelfile.read(locate(place), trust_code=trust_code)
    else:
        read = read_at(place, at, trust_code=trust_code)
    return Model(read.G.to(chosen), read.header, read.sha256)
