"""The command line. Torch and everything heavy is imported inside a command, so that `--help` answers at once."""

import os
import re
import sys
from itertools import takewhile
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
import typer.core

import ganloom
from ganloom.core.errors import ConfigError, GanloomError, Interrupted
from ganloom.core.flags import Flag, settings_of, with_flags
from ganloom.core.runtime import set_environment, tune_process
from ganloom.core.terminal import printable, shown

if TYPE_CHECKING:
    from ganloom.core.flags import TrainFlags

__all__ = ["main"]


class _Verbs(typer.core.TyperGroup):
    """What all commands share: they show the log, and a signal gives the exit code that shells expect."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with shown():
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise SystemExit(128 + (error.signal if isinstance(error, Interrupted) else SIGINT)) from None


app = typer.Typer(
    name="ganloom",
    cls=_Verbs,
    help="Train GANs on your own images: from a folder to a trained generator in one command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
SOURCES = "A folder, .zip, .tar, .npy, .npz, 'glob*.npz', dicom:FOLDER, FILE.py:ARGUMENT, or a dataset by name."
SourceArgument = Annotated[str, typer.Argument(help=SOURCES)]
FollowOption = Annotated[bool, typer.Option("--follow-links", help="Follow symbolic links out of the folder.")]
WINDOW = (
    "Values that become black and white, for images of more than 8 bits. [default: their 0.5 and 99.5 % percentiles]"
)
HOLDOUT = "Share of images to hold out, if the source has no splits. [default: 5%]"
GROUP_BY = "Images whose names have the same match, such as one patient's, stay on the same side of the hold-out."
MAX_SKIPPED = "Maximum share of files that may be unusable. [default: 5%]"
METRICS = "fid, fd, kid, is, prdc, ssim, ms-ssim, vendi, ndb, lpips, modes, ppl, classification, memorisation."
EXTRACTOR = "loomnet-1, inception, inception-clean, dinov2, a .pt or .onnx file, or module:callable."
TRUNCATION = (
    "Fewer failures, less variety: z within T standard deviations, or styles at T times their distance from the mean."
)
TrustOption = Annotated[bool, typer.Option("--trust-code", help="Run the Python code that the model contains.")]
ProcessesOption = Annotated[int, typer.Option(min=1, help="Processes on this machine; usually one per GPU.")]


def train(
    data: Annotated[str | None, typer.Argument(help="As for prepare, or a prepared dataset. [default: digits]")] = None,
    recipe: Annotated[str | None, typer.Option(help="A name from 'ganloom recipes', or a YAML file.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to create. [default: runs/NAME-OF-DATA]")] = None,
    device: DeviceOption = "auto",
    set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any key of the configuration; may be repeated.")
    ] = None,
    processes: ProcessesOption = 1,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the settings to be used, and why; train nothing.")
    ] = False,
    **flags: Any,
) -> None:
    """Train on a folder of images, an archive, array files, or a dataset by its name."""
    from ganloom.config import parse_override

    settings = dict(parse_override(text) for text in set or [])
    settings_of(flags, settings)  # raises here rather than in each of the processes
    if processes > 1 and not explain:
        _launch(processes, device)
    tune_process()

    if explain:
        plan = ganloom.plan(data, recipe=recipe, device=device, settings=settings, **cast("TrainFlags", flags))
        typer.echo("\n".join(printable(line) for line in str(plan).splitlines()))
        return
    ganloom.train(data, recipe=recipe, out=out, device=device, settings=settings, **cast("TrainFlags", flags))


def _option(flag: Flag) -> Any:
    """How typer shows a flag of the table."""
    return Annotated[flag.kind | None, typer.Option(flag.option, help=flag.help, metavar=flag.metavar, min=flag.min)]


EXAMPLES = """\b
Examples:
  ganloom train photos/                                 any folder; settings follow from the images
  ganloom train photos/ --explain                       what it would do, and why
  ganloom train photos/ --length "2 hours" --size 64
  ganloom train photos/ --epochs 30 --batch 64 --lr-g 2e-4 --lr-d 1e-4
  ganloom train photos.zip --recipe sngan-32            see ganloom recipes
  ganloom train flowers/ --recipe sngan-projection-32   one folder per class: ask for a class afterwards
  ganloom train photos/ --recipe few-images-64          a few hundred images
  ganloom train medmnist:pathmnist --recipe mlp-pathmnist
  ganloom train more/ --from runs/photos --freeze-d 2   fine-tune
  ganloom train photos/ --set ema.half_life="20 kimg"   any setting: see ganloom config
  ganloom train photos/ --processes 2
More: docs/command-line.md
"""

app.command(epilog=EXAMPLES)(with_flags(train, _option))


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    length: Annotated[str | None, typer.Option(help="New length of the whole run, such as '60 epochs'.")] = None,
    data: Annotated[str | None, typer.Option(help="New location of the images, if they were moved.")] = None,
    device: DeviceOption = "auto",
    processes: ProcessesOption = 1,
) -> None:
    """Continue a run from its newest checkpoint."""
    if processes > 1:
        _launch(processes, device)

    tune_process()

    ganloom.resume(run, length=length, data=data, device=device)


@app.command()
def prepare(
    source: SourceArgument,
    dest: Annotated[Path, typer.Argument(help="The folder to create.")],
    size: Annotated[str | None, typer.Option(metavar="N|HxW", help="In pixels. [default: their own]")] = None,
    channels: Annotated[int | None, typer.Option(help="1, 3 or 4. [default: 1 if all are grey, else 3]")] = None,
    resize: Annotated[str | None, typer.Option(help="crop, fit (pad with black) or stretch.")] = None,
    window: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help=WINDOW)] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads. [default: one per core]")] = None,
    holdout: Annotated[str | None, typer.Option(metavar="SHARE", help=HOLDOUT)] = None,
    group_by: Annotated[str | None, typer.Option(metavar="REGEX", help=GROUP_BY)] = None,
    classes: Annotated[str | None, typer.Option(metavar="A,B", help="Only these classes. [default: all]")] = None,
    drop_duplicates: Annotated[bool, typer.Option("--drop-duplicates", help="Keep one of identical images.")] = False,
    max_skipped: Annotated[str | None, typer.Option(metavar="SHARE", help=MAX_SKIPPED)] = None,
    follow_links: FollowOption = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Decode JPEGs at reduced size: faster, not exact to the pixel.")
    ] = False,
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
        follow_links=follow_links,
        fast=fast,
    )


@app.command()
def unpack(
    dataset: Annotated[Path, typer.Argument(help="A prepared dataset.")],
    dest: Annotated[Path, typer.Argument(help="A folder to create, or a .zip in StyleGAN's format.")],
) -> None:
    """Write a prepared dataset back as PNG files, with its labels."""
    typer.echo(ganloom.unpack(dataset, dest))


@app.command()
def inspect(
    source: SourceArgument,
    html: Annotated[Path | None, typer.Option(help="Write the report, with a contact sheet, to this file.")] = None,
    follow_links: FollowOption = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads. [default: one per core]")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Check every image, report problems, and propose settings for training."""
    from ganloom.api import images
    from ganloom.api.proposal import propose
    from ganloom.core.device import choose_device
    from ganloom.planning.defaults import Reason
    from ganloom.report import inspection

    tune_process()
    choose_device(device)  # an unknown device is refused before the images are read
    if html is not None and not html.name:
        raise ConfigError(f"--html {html} is a folder: name a file, such as inspect.html.")
    findings = images.inspect(source, follow_links=follow_links, workers=workers)
    typer.echo("\n".join(inspection.findings_as_text(findings)))
    try:
        proposed = propose(findings, device, {"data.follow_links": True} if follow_links else None)
        reasons, command = proposed.reasons, proposed.command(source)
    except ConfigError as error:  # no network takes them, but the findings are worth reading
        reasons, command = [Reason("none", "", str(error))], ""
    typer.echo("\n".join(inspection.plan_as_text(reasons, command)))
    if html is not None:
        typer.echo(f"report     {inspection.write_inspection(html, findings, reasons, command)}")


@app.command()
def sample(
    model: Annotated[Path, typer.Argument(help="A run folder or a model.safetensors.")],
    n: Annotated[int, typer.Option(min=1, help="How many images.")] = 16,
    seed: Annotated[int, typer.Option(help="The same seed makes the same images.")] = 0,
    out: Annotated[Path, typer.Option(help="The PNG of the grid to write.")] = Path("grid.png"),
    class_name: Annotated[str | None, typer.Option("--class", metavar="NAME", help="Only this class.")] = None,
    truncation: Annotated[float | None, typer.Option(metavar="T", help=TRUNCATION)] = None,
    separate: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write one PNG per image into DIR instead of a grid.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Open the result.")] = False,
    trust_code: TrustOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Generate images with a trained model."""
    from ganloom.synthesis import pictures

    made = pictures.write(
        model,
        n=n,
        seed=seed,
        out=out,
        class_name=class_name,
        truncation=truncation,
        separate=separate,
        device=device,
        trust_code=trust_code,
    )
    typer.echo(f"{n} images in {made}")
    if show:
        typer.launch(str(made))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file to write. [default: RUN/report.html]")] = None,
) -> None:
    """Write an HTML report of a run: samples, progress, curves, scores, cost."""
    from ganloom.report.run import write_report

    typer.echo(f"report     {write_report(run, out or run / 'report.html')}")


@app.command()
def evaluate(
    target: Annotated[Path, typer.Argument(help="A run folder, a model.safetensors, or a folder of images.")],
    data: Annotated[str | None, typer.Argument(help="The real images, as for train. [default: the run's own]")] = None,
    metrics: Annotated[str | None, typer.Option(metavar="A,B", help=METRICS)] = None,
    n: Annotated[
        int | None, typer.Option(min=2, help="Generated images. [default: as many as real ones, at most 10,000]")
    ] = None,
    n_real: Annotated[int | None, typer.Option(min=2, help="Real images. [default: as many as generated]")] = None,
    split: Annotated[str, typer.Option(help="Split of the real images.")] = "train",
    extractor: Annotated[str | None, typer.Option(help=EXTRACTOR)] = None,
    weights: Annotated[Path | None, typer.Option(help="File with the extractor's weights.")] = None,
    lpips_weights: Annotated[Path | None, typer.Option(help="Folder with the weights of AlexNet and LPIPS.")] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Also measure each class.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of the generated images and of every random choice.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the scores to this JSON file.")] = None,
    trust_code: TrustOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Measure how good generated images are; store every score with all that is needed to reproduce it."""
    from ganloom.evaluation.measuring import evaluate

    evaluate(
        target,
        data,
        metrics=metrics,
        n=n,
        n_real=n_real,
        split=split,
        extractor=extractor,
        weights=weights,
        lpips_weights=lpips_weights,
        per_class=per_class,
        seed=seed,
        out=out,
        device=device,
        trust_code=trust_code,
    )


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or files that 'evaluate --out' wrote.")],
) -> None:
    """Show comparable scores in one table, and say why the others are not comparable."""
    from ganloom.evaluation.comparing import as_text, compare

    table = compare(runs)
    typer.echo("\n".join(printable(line) for line in as_text(table)))
    if not table.rows:
        raise SystemExit(2)


@app.command()
def recipes(name: Annotated[str | None, typer.Argument(help="Print this recipe.")] = None) -> None:
    """List the recipes, or print one."""
    from ganloom.config import recipe_names, recipe_text

    if name is not None:
        typer.echo(recipe_text(name), nl=False)
        return
    width = max(map(len, recipe_names()))
    for each in recipe_names():
        lines = takewhile(lambda line: line.startswith("#"), recipe_text(each).splitlines())
        sentence, *_ = re.split(r"\. (?=[A-Z])", " ".join(line.removeprefix("# ") for line in lines))
        typer.echo(f"{each:<{width}} {sentence.rstrip('.')}.")


@app.command()
def config(
    key: Annotated[str | None, typer.Argument(help="A key or section, such as train.batch or train.")] = None,
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="Print the JSON schema of a configuration.")
    ] = False,
) -> None:
    """List all keys of the configuration, or explain one: meaning, type, unit, default, recipes that set it."""
    import json

    from ganloom.config import describe, listing

    if json_schema:
        typer.echo(json.dumps(describe.json_schema(), indent=2))
        return
    lines = listing.listing(describe.settings()) if key is None else listing.details(describe.find(key))
    typer.echo("\n".join(printable(line) for line in lines))


@app.command()
def doctor() -> None:
    """Show this machine's hardware, optional packages, and what will be used."""
    from ganloom import doctor

    typer.echo(doctor.report())


def _launch(processes: int, device: str) -> None:
    """Run this command in several processes, and end with their exit code."""
    if "WORLD_SIZE" in os.environ:
        raise ConfigError("--processes and torchrun do the same thing: use only one of them.")
    from ganloom.core.device import check_processes
    from ganloom.core.distributed import launch, without_processes

    check_processes(processes, device)
    raise SystemExit(launch(processes, without_processes(sys.argv[1:])))


def _report(message: str) -> None:
    """Print an error: in several processes, only the one that reports it."""
    if "WORLD_SIZE" in os.environ:
        from ganloom.core.distributed import reports_failure

        if not reports_failure():
            return
    typer.echo("\n".join(printable(line) for line in f"error: {message}".splitlines()), err=True)


def main() -> None:
    """The entry point of `ganloom`: errors that the user can fix give one message and exit code 2, no traceback."""
    set_environment()
    try:
        app()
    except GanloomError as error:
        _report(str(error))
        raise SystemExit(2) from None
    except OSError as error:  # of a path that cannot be accessed
        if error.filename is None:
            raise
        _report(f"{printable(os.fsdecode(error.filename))}: {error.strerror}. Check the path.")
        raise SystemExit(2) from None
