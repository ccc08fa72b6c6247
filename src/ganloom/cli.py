"""The verbs. Torch and everything heavy is imported inside a verb, so that `--help` answers at once."""

import os
import re
import sys
from itertools import takewhile
from pathlib import Path
from signal import SIGINT
from typing import Annotated, Any

import typer
import typer.core

from ganloom.core.errors import ConfigError, GanloomError, Interrupted
from ganloom.core.runtime import set_environment, tune_process
from ganloom.core.terminal import printable, shown

__all__ = ["main"]


class _Verbs(typer.core.TyperGroup):
    """What all verbs share: they show the log, and a signal ends in the exit code that shells expect."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with shown():
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise SystemExit(128 + (error.signal if isinstance(error, Interrupted) else SIGINT)) from None


app = typer.Typer(
    name="ganloom",
    cls=_Verbs,
    help="Train GANs on your own images: from a folder to trained pictures in one command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
SOURCES = "A folder, .zip, .tar, .npy, .npz, 'glob*.npz', dicom:FOLDER, FILE.py:ARGUMENT, or a dataset by name."
SourceArgument = Annotated[str, typer.Argument(help=SOURCES)]
FollowOption = Annotated[bool, typer.Option("--follow-links", help="Let symbolic links lead out of the folder.")]
WINDOW = "Values that become black and white, of images of more than 8 bits. [default: 0.5 % and 99.5 % of all values]"
HOLDOUT = "Kept from training, where the source has no splits. [default: 5%]"
GROUP_BY = "What it finds alike in the names stays on one side of the hold-out, such as one patient's X-rays."
MAX_SKIPPED = "More files than this that cannot be used are an error. [default: 5%]"
METRICS = "fid, fd, kid, is, prdc, ssim, ms-ssim, vendi, ndb, lpips, modes, ppl, classification, memorisation."
EXTRACTOR = "loomnet-1, inception, inception-clean, dinov2, a .pt or .onnx file, or module:callable."
TRUNCATION = "Keep z within T standard deviations, or styles within T of their distance from the mean: fewer failures."
TrustOption = Annotated[bool, typer.Option("--trust-code", help="Run the code that the model brings along.")]
ProcessesOption = Annotated[int, typer.Option(min=1, help="Processes on this machine; one a GPU is usual.")]


@app.command()
def train(
    data: Annotated[str | None, typer.Argument(help="As for prepare, or a prepared dataset. [default: digits]")] = None,
    recipe: Annotated[str | None, typer.Option(help="A name from 'ganloom recipes', or a YAML file.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make. [default: runs/NAME-OF-DATA]")] = None,
    device: DeviceOption = "auto",
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    length: Annotated[
        str | None, typer.Option(help="'30 epochs', '200 kimg', '5000 steps', '10 minutes', '2 hours' ...")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="The same as --length 'N epochs'.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images an update.")] = None,
    micro_batch: Annotated[int | None, typer.Option(help="Images a forward pass; gradients accumulate.")] = None,
    lr_g: Annotated[float | None, typer.Option(help="Learning rate of the generator.")] = None,
    lr_d: Annotated[float | None, typer.Option(help="Learning rate of the discriminator.")] = None,
    beta1: Annotated[float | None, typer.Option(help="Adam's beta1, of both.")] = None,
    beta2: Annotated[float | None, typer.Option(help="Adam's beta2, of both.")] = None,
    latent: Annotated[int | None, typer.Option(help="Size of z.")] = None,
    size: Annotated[str | None, typer.Option(metavar="N|HxW", help="Size of the images in pixels.")] = None,
    compile: Annotated[bool | None, typer.Option("--compile", help="Compile both networks.")] = None,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="MODEL", help="Fine-tune: a run folder, or a model.safetensors.")
    ] = None,
    freeze_d: Annotated[int | None, typer.Option(min=0, help="With --from: first stages of D that stay.")] = None,
    freeze_g: Annotated[int | None, typer.Option(min=0, help="With --from: first stages of G that stay.")] = None,
    set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any key of the configuration; may be repeated.")
    ] = None,
    processes: ProcessesOption = 1,
    explain: Annotated[bool, typer.Option("--explain", help="Say what would be done, and why; train nothing.")] = False,
) -> None:
    """Train on a folder of images, an archive, array files, or a dataset by its name."""
    if length is not None and epochs is not None:
        raise ConfigError("--length and --epochs say the same thing: give one of them.")
    flags = {
        "seed": seed,
        "train.length": length if epochs is None else f"{epochs} epochs",
        "train.batch": batch,
        "train.micro_batch": micro_batch,
        "optimizer.g.lr": lr_g,
        "optimizer.d.lr": lr_d,
        "optimizer.g.beta1": beta1,
        "optimizer.d.beta1": beta1,
        "optimizer.g.beta2": beta2,
        "optimizer.d.beta2": beta2,
        "net.latent": latent,
        "data.size": size,
        "train.compile": compile,
        "start.model": None if start is None else str(start),
        "start.freeze_d": freeze_d,
        "start.freeze_g": freeze_g,
    }
    if start is None and (freeze_d or freeze_g):
        raise ConfigError("--freeze-d and --freeze-g keep what a trained model knows: say which with --from.")
    from ganloom.config import parse_override

    settings: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    settings |= dict(parse_override(text) for text in set or [])
    if processes > 1 and not explain:
        _launch(processes, device)

    from ganloom.api import training as verbs

    if explain:
        typer.echo(
            "\n".join(printable(line) for line in verbs.explain(data, recipe=recipe, device=device, settings=settings))
        )
        return
    tune_process()
    verbs.train(data, recipe=recipe, out=out, device=device, settings=settings)


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    length: Annotated[str | None, typer.Option(help="The new whole length, such as '60 epochs'.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the images lie now, if they were moved.")] = None,
    device: DeviceOption = "auto",
    processes: ProcessesOption = 1,
) -> None:
    """Go on with a run exactly where it was."""
    if processes > 1:
        _launch(processes, device)

    from ganloom.api import training as verbs

    tune_process()
    verbs.resume(run, length=length, data=data, device=device)


@app.command()
def prepare(
    source: SourceArgument,
    dest: Annotated[Path, typer.Argument(help="The folder to make.")],
    size: Annotated[str | None, typer.Option(metavar="N|HxW", help="In pixels. [default: the images' own]")] = None,
    channels: Annotated[int | None, typer.Option(help="1, 3 or 4. [default: as found, grey or colour]")] = None,
    resize: Annotated[str | None, typer.Option(help="crop to the ratio, fit it with black, or stretch.")] = None,
    window: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help=WINDOW)] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads. [default: one a core]")] = None,
    holdout: Annotated[str | None, typer.Option(metavar="SHARE", help=HOLDOUT)] = None,
    group_by: Annotated[str | None, typer.Option(metavar="REGEX", help=GROUP_BY)] = None,
    classes: Annotated[str | None, typer.Option(metavar="A,B", help="Only these. [default: all]")] = None,
    drop_duplicates: Annotated[bool, typer.Option("--drop-duplicates", help="Of equal images take one.")] = False,
    max_skipped: Annotated[str | None, typer.Option(metavar="SHARE", help=MAX_SKIPPED)] = None,
    follow_links: FollowOption = False,
    fast: Annotated[bool, typer.Option("--fast", help="Decode JPEGs small: not right to the pixel.")] = False,
) -> None:
    """Pack images into a dataset that trains at once; an interrupted preparation goes on where it stopped."""
    from ganloom.api import images

    images.prepare(
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
    dest: Annotated[Path, typer.Argument(help="A folder to make, or a .zip in the manner of StyleGAN.")],
) -> None:
    """Write a prepared dataset as PNG files again, labels included."""
    from ganloom.api import images

    typer.echo(images.unpack(dataset, dest))


@app.command()
def inspect(
    source: SourceArgument,
    html: Annotated[Path | None, typer.Option(help="Write the report, with a contact sheet, to this file.")] = None,
    follow_links: FollowOption = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads. [default: one a core]")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Look at every image, name what is wrong, and propose a training."""
    from ganloom.api import images
    from ganloom.core.device import choose_device
    from ganloom.planning.proposal import plan
    from ganloom.report import inspection

    tune_process()
    choose_device(device)  # what is wrong with it is better known before than after
    if html is not None and not html.name:
        raise ConfigError(f"--html {html} is a folder: name a file, such as inspect.html.")
    findings = images.inspect(source, follow_links=follow_links, workers=workers)
    typer.echo("\n".join(inspection.findings_as_text(findings)))
    try:
        proposed = plan(findings, device, {"data.follow_links": True} if follow_links else None)
        reasons, command = proposed.reasons, proposed.command(source)
    except ConfigError as error:  # no network takes them; what was found is worth reading all the same
        reasons, command = [("none", "", str(error))], ""
    typer.echo("\n".join(inspection.plan_as_text(reasons, command)))
    if html is not None:
        typer.echo(f"report     {inspection.write_inspection(html, findings, reasons, command)}")


@app.command()
def sample(
    model: Annotated[Path, typer.Argument(help="A run folder or a model.safetensors.")],
    n: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 16,
    seed: Annotated[int, typer.Option(help="The same seed makes the same pictures.")] = 0,
    out: Annotated[Path, typer.Option(help="The grid to write.")] = Path("grid.png"),
    class_name: Annotated[str | None, typer.Option("--class", metavar="NAME", help="All of this class.")] = None,
    truncation: Annotated[float | None, typer.Option(metavar="T", help=TRUNCATION)] = None,
    separate: Annotated[Path | None, typer.Option(metavar="DIR", help="One PNG each into DIR, no grid.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Open what was made.")] = False,
    trust_code: TrustOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Make pictures with a trained model."""
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
    typer.echo(f"{n} pictures in {made}")
    if show:
        typer.launch(str(made))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file to write. [default: RUN/report.html]")] = None,
) -> None:
    """Tell a run as one HTML file for a colleague: pictures, progress, curves, scores, cost."""
    from ganloom.report.run import write_report

    typer.echo(f"report     {write_report(run, out or run / 'report.html')}")


@app.command()
def evaluate(
    target: Annotated[Path, typer.Argument(help="A run folder, a model.safetensors, or a folder of images.")],
    data: Annotated[str | None, typer.Argument(help="The real images, as for train. [default: the run's own]")] = None,
    metrics: Annotated[str | None, typer.Option(metavar="A,B", help=METRICS)] = None,
    n: Annotated[
        int | None, typer.Option(min=2, help="Generated images. [default: one a real image, at most 10,000]")
    ] = None,
    n_real: Annotated[int | None, typer.Option(min=2, help="Real images. [default: as many as generated]")] = None,
    split: Annotated[str, typer.Option(help="Of the real images.")] = "train",
    extractor: Annotated[str | None, typer.Option(help=EXTRACTOR)] = None,
    weights: Annotated[Path | None, typer.Option(help="File with the extractor's weights.")] = None,
    lpips_weights: Annotated[Path | None, typer.Option(help="Folder with alexnet and LPIPS weights.")] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Measure each class too.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the generated images and of every choice.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the scores to this JSON file.")] = None,
    trust_code: TrustOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Measure how good generated images are: every number with what is needed to repeat it."""
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
    """Put scores side by side that may stand side by side, and say of the others why not."""
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
def doctor() -> None:
    """Say what this machine has, which extras are missing, and what will be used."""
    from ganloom import doctor

    typer.echo(doctor.report())


def _launch(processes: int, device: str) -> None:
    """Run this command in several processes, and exit with their exit code."""
    if "WORLD_SIZE" in os.environ:
        raise ConfigError("--processes and torchrun do the same thing: use one of them.")
    from ganloom.core.device import check_processes
    from ganloom.core.distributed import launch

    check_processes(processes, device)
    raise SystemExit(launch(processes, without_processes(sys.argv[1:])))


def without_processes(arguments: list[str]) -> list[str]:
    """The command line without `--processes N`, for each of the processes."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if not skip and not argument.startswith("--processes"):
            kept.append(argument)
        skip = argument == "--processes"
    return kept


def _report(message: str) -> None:
    """Print an error: in several processes, only the one that reports it."""
    if "WORLD_SIZE" in os.environ:
        from ganloom.core.distributed import reports_failure

        if not reports_failure():
            return
    typer.echo("\n".join(printable(line) for line in f"error: {message}".splitlines()), err=True)


def main() -> None:
    """What `ganloom` runs: errors that the user can fix end in one message and exit code 2, without a traceback."""
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
