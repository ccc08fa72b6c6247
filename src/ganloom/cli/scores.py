"""The commands that judge: `evaluate`, `compare`, `report`."""

from pathlib import Path
from typing import Annotated

import typer

from ganloom.cli.options import DeviceOption, TrustOption, load_torch
from ganloom.cli.output import say
from ganloom.core.files import user_path

__all__ = ["METRICS", "compare", "evaluate", "report"]

METRICS = (
    "fid, fd, kid, is, prdc, ssim, ms-ssim, vendi, ndb, lpips, modes, ppl, classification, memorisation, tone, texture."
)
SIZE = "Compare two folders at this size. [default: that of the real images]"
EXTRACTOR = "loomnet-1, inception, inception-clean, dinov2, a .pt or .onnx file, or module:callable."


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
    size: Annotated[str | None, typer.Option(metavar="N|HxW", help=SIZE)] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Also measure each class.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of the generated images and of every random choice.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the scores to this JSON file.")] = None,
    trust_code: TrustOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Measure how good generated images are; store every score with all that is needed to reproduce it."""
    from ganloom.core.device_kinds import check_kind
    from ganloom.data import sources
    from ganloom.evaluation import targets

    check_kind(device)
    targets.refuse_missing(user_path(target))
    if data is not None:
        sources.refuse_missing(data)
    load_torch()
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
        size=size,
        per_class=per_class,
        seed=seed,
        out=out,
        device=device,
        trust_code=trust_code,
    )


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or files that 'evaluate --out' wrote.")],
) -> None:
    """Show comparable scores in one table, and say why the others are not comparable."""
    load_torch()
    from ganloom.evaluation.comparing import as_text, compare

    table = compare(runs)
    say("\n".join(as_text(table)))
    if not table.rows:
        raise SystemExit(2)


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file to write. [default: RUN/report.html]")] = None,
) -> None:
    """Write an HTML report of a run: samples, progress, curves, scores, cost."""
    from ganloom.runs import open_folder

    run = user_path(run)
    open_folder(run)
    load_torch()
    from ganloom.report.run import write_report

    say(f"report     {write_report(run, user_path(out) if out else run / 'report.html')}")
