"""Messages name options as their caller writes them."""

import re
from pathlib import Path

import pytest
import typer

import ganloom
from ganloom.cli import app
from ganloom.core.flags import FLAGS
from ganloom.core.wording import RENAMED, SWITCHES, VERBS, command_line, for_caller, in_python


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("choose one size for all with --size.", "choose one size for all with `size`."),
        ("--freeze-d and --freeze-g freeze parts: name it with --from.",
         "`freeze_d` and `freeze_g` freeze parts: name it with `start`."),
        ("use --device cpu, which is slow", "use device='cpu', which is slow"),
        ("add --trust-code; it runs", "add trust_code=True; it runs"),
        ("kept; see data.drop_duplicates=true (--drop-duplicates)", "kept; see data.drop_duplicates=true"),
        ("or with --splits none. Or --splits test=train,val=train.",
         "or with splits='none'. Or splits='test=train,val=train'."),
        ("it needs weights (--lpips-weights)", "it needs weights (`lpips_weights`)"),
        ("add --labels tables/labels.csv.", "add labels='tables/labels.csv'."),
        ("or --splits Training=train,Testing=test, then", "or splits='Training=train,Testing=test', then"),
        ("a new one with --recipe /runs/a/config.yaml. Then", "a new one with recipe='/runs/a/config.yaml'. Then"),
        ("use --at last, or --size 64x48, or --holdout 0.2", "use at='last', or size='64x48', or holdout=0.2"),
        ("try --set augment=ada or more", 'try settings={"augment": "ada"} or more'),
        ("--set data.mirror=true", 'settings={"data.mirror": True}'),
        ("lower --set optimizer.g.lr=... --set optimizer.d.lr=..., or",
         'lower settings={"optimizer.g.lr": ...} settings={"optimizer.d.lr": ...}, or'),
        ("resume it with 'ganloom resume runs/a', or choose another --out.",
         "resume it with 'ganloom.resume(\"runs/a\")', or choose another `out`."),
        ("longer: ganloom resume runs/a --length '...'", 'longer: ganloom.resume("runs/a", length=...)'),
        ("ganloom train /a/b --from runs/a/model.safetensors --out NEW",
         'ganloom.train("/a/b", start="runs/a/model.safetensors", out=NEW)'),
        ("again: ganloom train --recipe a.yaml --set seed=7 --set loss=bce --out NEW",
         'again: ganloom.train(recipe="a.yaml", out=NEW, settings={"seed": 7, "loss": "bce"})'),
        ("then: ganloom sample runs/a --at 128", 'then: ganloom.load("runs/a", at=128)'),
        ("make one with ganloom prepare.", "make one with ganloom.prepare()."),
        ("'ganloom config' lists all keys.", "'ganloom config' lists all keys."),
        ("ganloom cannot read images from a--b: give a folder", "ganloom cannot read images from a--b: give a folder"),
        ("a normal sentence -- with dashes", "a normal sentence -- with dashes"),
    ],
)  # fmt: skip
def test_python_reads_keywords_and_the_command_line_flags(typed: str, said: str) -> None:
    assert in_python(typed) == for_caller(typed) == said
    assert in_python(said) == said
    with command_line():
        assert for_caller(typed) == typed


def test_the_tables_are_those_of_the_command_line() -> None:
    """Switches, renamed options and commands: a new one that is missing here would be misread."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for verb in VERBS:
        assert verb in commands and (verb == "sample" or callable(getattr(ganloom, verb)))
    options = [option for verb in VERBS for option in commands[verb].params if option.opts[0].startswith("--")]
    only_typed = {"show", "explain", "help"}
    assert {each.opts[0][2:] for each in options if each.is_flag} - only_typed == SWITCHES
    renamed = {each.opts[0][2:]: each.name for each in options if each.opts[0][2:].replace("-", "_") != each.name}
    assert renamed == RENAMED and all(
        FLAGS[name].option == f"--{old}" for old, name in RENAMED.items() if name in FLAGS
    )


def test_every_option_in_a_message_exists() -> None:
    """A message that names an option that was renamed would send its reader nowhere."""
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    known = {option for command in commands for each in command.params for option in each.opts} | {
        "--help",
        "--version",
    }
    others = {"--nproc-per-node", "--max-restarts", "--logdir", "--debug", "--name-of-the-keyword"}  # of other programs
    root = Path(ganloom.__file__).parent
    unknown = [
        f"{path.relative_to(root)}: {option}"
        for path in root.rglob("*.py")
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text(encoding="utf-8"))
        if option not in known | others
    ]
    assert unknown == []
