"""The commands that use a trained model: `sample`."""

from pathlib import Path
from typing import Annotated

import typer

from ganloom.cli.options import DeviceOption, TrustOption, load_torch
from ganloom.cli.output import say
from ganloom.core.errors import ConfigError
from ganloom.core.files import user_path
from ganloom.core.phases import phase
from ganloom.core.terminal import log
from ganloom.core.words import counted

__all__ = ["sample"]

TRUNCATION = (
    "Fewer failures, less variety: z within T standard deviations, or styles at T times their distance from the mean."
)
AT = "Of a run: last, best, or the checkpoint nearest to a length such as 20000 or '3 epochs'."
SEPARATE = "Write a PNG file per image into this new folder instead of a grid, in one folder per class."
GRID = Path("grid.png")


def sample(
    model: Annotated[Path, typer.Argument(help="A run folder or a model.safetensors.")],
    n: Annotated[int, typer.Option(min=1, help="How many images.")] = 16,
    seed: Annotated[int, typer.Option(help="The same seed makes the same images.")] = 0,
    at: Annotated[str, typer.Option(metavar="WHEN", help=AT)] = "last",
    class_name: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="Only this class; may be repeated.")
    ] = None,
    truncation: Annotated[float | None, typer.Option(metavar="T", help=TRUNCATION)] = None,
    out: Annotated[
        Path | None, typer.Option(help="The picture to write: .png, .jpg or .webp. [default: grid.png]")
    ] = None,
    columns: Annotated[int | None, typer.Option(min=1, help="Images in a row. [default: as suits them]")] = None,
    scale: Annotated[int, typer.Option(min=1, help="Enlarge each pixel to a square of N x N pixels.")] = 1,
    padding: Annotated[int | None, typer.Option(min=0, help="Pixels between images. [default: 2]")] = None,
    separate: Annotated[Path | None, typer.Option(metavar="DIR", help=SEPARATE)] = None,
    show: Annotated[bool, typer.Option("--show", help="Open the result.")] = False,
    trust_code: TrustOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Generate images with a trained model."""
    from ganloom.core.device_kinds import check_kind
    from ganloom.models import places

    check_kind(device)
    of_a_grid = {"--out": out, "--columns": columns, "--padding": padding}
    if separate is not None and (given := [flag for flag, value in of_a_grid.items() if value is not None]):
        raise ConfigError(f"{given[0]} is for a grid, and --separate writes files: leave one of them out.")
    if at == "last":
        places.refuse_missing(places.locate(user_path(model)))
    out, separate = out and user_path(out), separate and user_path(separate)
    load_torch()
    from ganloom.core.pictures import picture_format, save_picture
    from ganloom.synthesis import pictures
    from ganloom.synthesis.best import advice
    from ganloom.synthesis.model import load
    from ganloom.synthesis.moments import LAST

    if separate is None:
        picture_format(out or GRID)  # raises before anything is generated
    else:
        pictures.check_folder(separate)
    loaded = load(model, at=at, device=device, trust_code=trust_code)
    if at == LAST and (better := advice(model)):
        log.info(f"note: {better}")
    if separate is None:
        made = out or GRID
        with phase("generating images"):
            picture = loaded.grid(
                n,
                seed=seed,
                class_name=class_name,
                truncation=truncation,
                columns=columns,
                scale=scale,
                padding=2 if padding is None else padding,
            )
        save_picture(made, picture)
    else:
        made = pictures.write_files(loaded, pictures.Wanted(n, seed, class_name, truncation), separate, scale)
    say(f"{counted(n, 'image')} in {made}")
    if show:
        typer.launch(str(made))
