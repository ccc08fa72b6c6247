"""The commands for images: `prepare`, `unpack`, `inspect`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import ganloom
from ganloom.cli.options import DeviceOption, SourceArgument, WorkersOption, as_option, load_torch
from ganloom.cli.output import say
from ganloom.core.errors import ConfigError
from ganloom.core.files import user_path
from ganloom.core.flags import READ_FLAGS, settings_of, with_flags
from ganloom.core.runtime import tune_process

if TYPE_CHECKING:
    from ganloom.core.flags import ReadFlags

__all__ = ["inspect", "prepare", "unpack"]

WINDOW = (
    "Values that become black and white, for images of more than 8 bits. [default: their 0.5 and 99.5 % percentiles]"
)
HOLDOUT = "Share of images to hold out, if the source has no splits. [default: 5%]"
GROUP_BY = "Images whose names have the same match, such as one patient's, stay on the same side of the hold-out."
MAX_SKIPPED = "Maximum share of files that may be unusable. [default: 5%]"


@with_flags(READ_FLAGS, as_option)
def prepare(
    source: SourceArgument,
    dest: Annotated[Path, typer.Argument(help="The folder to create.")],
    size: Annotated[str | None, typer.Option(metavar="N|HxW", help="In pixels. [default: their own]")] = None,
    channels: Annotated[int | None, typer.Option(help="1, 3 or 4. [default: 1 if all are grey, else 3]")] = None,
    resize: Annotated[str | None, typer.Option(help="crop, fit (pad with black) or stretch.")] = None,
    window: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help=WINDOW)] = None,
    workers: WorkersOption = None,
    holdout: Annotated[str | None, typer.Option(metavar="SHARE", help=HOLDOUT)] = None,
    group_by: Annotated[str | None, typer.Option(metavar="REGEX", help=GROUP_BY)] = None,
    classes: Annotated[str | None, typer.Option(metavar="A,B", help="Only these classes. [default: all]")] = None,
    drop_duplicates: Annotated[bool, typer.Option("--drop-duplicates", help="Keep one of identical images.")] = False,
    max_skipped: Annotated[str | None, typer.Option(metavar="SHARE", help=MAX_SKIPPED)] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Decode JPEGs at reduced size: faster, not exact to the pixel.")
    ] = False,
    **reading: Any,
) -> None:
    """Pack images into a dataset, so that training starts immediately. Resumes an interrupted preparation."""
    ganloom.prepare(
        source,
        dest,
        workers=workers,
        size=size,
        channels=channels,
        resize=resize,
        window=window,
        holdout=holdout,
        group_by=group_by,
        classes=classes,
        drop_duplicates=drop_duplicates,
        max_skipped=max_skipped,
        fast=fast,
        **cast("ReadFlags", reading),
    )


def unpack(
    dataset: Annotated[Path, typer.Argument(help="A prepared dataset.")],
    dest: Annotated[Path, typer.Argument(help="A folder to create, or a .zip in StyleGAN's format.")],
) -> None:
    """Write a prepared dataset back as PNG files, with its labels."""
    say(ganloom.unpack(dataset, dest))


@with_flags(READ_FLAGS, as_option)
def inspect(
    source: SourceArgument,
    html: Annotated[Path | None, typer.Option(help="Write the report, with a contact sheet, to this file.")] = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    **reading: Any,
) -> None:
    """Check every image, report problems, and propose settings for training."""
    from ganloom.core.device_kinds import check_kind
    from ganloom.data import sources

    check_kind(device)
    sources.refuse_missing(source)
    if html is not None and not html.name:
        raise ConfigError(f"--html {html} is a folder: name a file, such as inspect.html.")
    html = html and user_path(html)
    load_torch()
    from ganloom.api import images
    from ganloom.api.proposal import propose
    from ganloom.core.device import choose_device
    from ganloom.planning.defaults import Reason
    from ganloom.report import inspection

    tune_process()
    choose_device(device)  # one that is not there is refused before the images are read
    findings = images.inspect(source, workers=workers, **cast("ReadFlags", reading))
    say("\n".join(inspection.findings_as_text(findings)))
    try:
        proposed = propose(findings, device, settings_of(reading))
        reasons, command = proposed.reasons, proposed.command(source)
    except ConfigError as error:  # no network takes them, but the findings are worth reading
        reasons, command = [Reason("none", "", str(error))], ""
    say("\n".join(inspection.plan_as_text(reasons, command)))
    if html is not None:
        say(f"report     {inspection.write_inspection(html, findings, reasons, command)}")
