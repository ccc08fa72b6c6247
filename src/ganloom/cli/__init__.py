"""The command line. Torch and everything heavy is imported inside a command, so that `--help` answers at once."""

import os
from signal import SIGINT
from typing import Annotated, Any

import typer
import typer.core

import ganloom
from ganloom.cli.about import config, doctor, recipes
from ganloom.cli.ending import DEBUG, messages_for_errors, note_interrupts, open_streams
from ganloom.cli.images import inspect, prepare, unpack
from ganloom.cli.models import sample
from ganloom.cli.output import say
from ganloom.cli.scores import compare, evaluate, report
from ganloom.cli.training import EXAMPLES, resume, train
from ganloom.core.errors import Interrupted
from ganloom.core.runtime import set_environment
from ganloom.core.terminal import shown
from ganloom.core.wording import command_line

__all__ = ["app", "main"]

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # click's UsageError; newer versions of typer contain click
QUOTE = (
    ". A command takes one source: put a pattern into quotes ('part*.npz'), or the shell turns it into many paths. For "
    "several folders, give the folder that holds them."
)


class _Verbs(typer.core.TyperGroup):
    """What all commands share: they show the log, errors name flags, and a signal gives the exit code of shells, and
    lost output that of an error.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            with shown() as output, command_line():
                result = super().invoke(ctx)
            if output is not None and output.lost:
                raise output.lost
            return result
        except USAGE_ERROR as error:
            if "unexpected extra argument" in error.message:
                error.message += QUOTE
            raise
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


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"ganloom {ganloom.__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
]


DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show Python's traceback of an error that ganloom did not expect.")
]


@app.callback()
def _options(version: VersionOption = False, debug: DebugOption = False) -> None:
    """What `ganloom` takes before a command."""
    if debug:
        os.environ[DEBUG] = "1"


app.command(epilog=EXAMPLES)(train)
for verb in (resume, inspect, sample, report, evaluate, compare, prepare, unpack, recipes, config, doctor):
    app.command()(verb)


def main() -> None:
    """The entry point of `ganloom`: every error gives one message and exit code 2."""
    open_streams()
    note_interrupts()
    set_environment()
    with messages_for_errors():
        app()
