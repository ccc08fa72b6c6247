"""Every piece of advice in the source names what exists: flags, settings with their values, commands, packages.

That it helps is tried in `tests/test_advice_helps.py`.
"""

import ast
import inspect
import re
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

import ganloom
from advice import HOLE, ROOT, Message, commands_in, messages, settings_in
from ganloom import augment, nets, objectives
from ganloom.cli import app
from ganloom.config import Config, known_keys, recipe_names
from ganloom.core.errors import ConfigError
from ganloom.core.flags import FLAGS
from ganloom.core.names import keyword_options
from ganloom.core.plain_yaml import read_value
from ganloom.core.wording import in_python

MESSAGES = messages()
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
ANYWHERE = {"--help", "--version", "--debug"}
OF_OTHERS = {"--nproc-per-node", "--max-restarts", "--logdir", "--name-of-the-keyword"}
ON_RESUME_TOO = ("training", "session", "guard")  # rooms whose messages may come from `resume`
ONLY_AT_THE_START = {  # their messages that cannot
    "training/finetune.py": {"--recipe", "--latent", "--size"},
    "session/messages.py": {"--recipe"},
    "session/resumable.py": {"--recipe", "--out", "--from"},  # of a new run
    "guard/advice.py": {"--recipe"},  # of a new run
}


def options(verb: str) -> set[str]:
    return {name for each in COMMANDS[verb].params for name in each.opts}


def shown(message: Message) -> str:
    return f"{message.path}:{message.line}"


def wrong(check: Any) -> list[str]:
    """What `check` yields for each message, with its place."""
    return [f"{shown(message)}: {fault}" for message in MESSAGES for fault in check(message)]


def test_the_collection_finds_advice_of_every_kind() -> None:
    texts = [message.text for message in MESSAGES]
    assert len(texts) > 1000
    assert sum(bool(FLAG.search(text)) for text in texts) > 80
    assert sum(value is not None for text in texts for _, value in settings_in(text)) > 25
    assert sum(bool(arguments) for text in texts for _, arguments in commands_in(text)) > 8
    assert sum("pip install" in text for text in texts) >= 5


def test_every_flag_is_one_of_a_command_that_the_reader_may_have_typed() -> None:
    known = set().union(*map(options, COMMANDS)) | ANYWHERE | OF_OTHERS

    def check(message: Message) -> list[str]:
        expected = known
        if message.room in ON_RESUME_TOO:
            expected = options("resume") | ANYWHERE | OF_OTHERS | ONLY_AT_THE_START.get(message.path, set())
        return [flag for flag in FLAG.findall(message.text) if flag not in expected]

    assert wrong(check) == []


def test_every_command_is_accepted_by_the_command_line() -> None:
    """Its arguments parse; values of f-strings and words such as RUN stand for paths, N for numbers."""

    def check(message: Message) -> list[str]:
        faults = []
        for verb, arguments in commands_in(message.text):
            quoted = re.search(rf"['`]ganloom {verb}\b", message.text)
            if verb not in COMMANDS:
                faults += [f"no command {verb}"] if quoted or any(word.startswith("--") for word in arguments) else []
                continue
            given = ["2" if word == "N" else word.replace(HOLE, "1") for word in arguments]
            try:
                if given:
                    COMMANDS[verb].make_context(verb, given)
            except Exception as error:  # click's, of which typer has its own
                faults.append(f"ganloom {verb} {' '.join(arguments)}: {error}")
        return faults

    assert wrong(check) == []


@cache
def own_options() -> dict[str, list[dict[str, inspect.Parameter]]]:
    """The options of networks, losses and augmentations: whatever one of a kind takes."""

    def keywords(function: Any) -> dict[str, inspect.Parameter]:
        return {p.name: p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}

    families = [nets.family(name) for name in nets.names()]
    return {
        "net.g": [keywords(family.Generator) for family in families],
        "net.d": [keywords(family.Discriminator) for family in families],
        "loss": [keywords(getattr(objectives.losses, name)) for name in objectives.losses.__all__],
        "augment": [keywords(import_module(f"ganloom.augment.{name}").Augment) for name in augment.names()],
    }


def schema_key(key: str) -> str:
    return re.sub(r"^penalties\.[a-z0-9_]+", "penalties.*", key)


def test_every_setting_exists() -> None:
    known = set(known_keys(Config))

    def check(message: Message) -> list[str]:
        faults = []
        for key, _ in settings_in(message.text):
            section, _, name = key.rpartition(".")
            is_option = any(name in each for each in own_options().get(section, []))
            is_section = any(other.startswith(f"{key}.") for other in known)
            if schema_key(key) not in known and not is_option and not is_section:
                faults.append(key)
        return faults

    assert wrong(check) == []


def accepts(key: str, value: Any) -> bool:
    """Whether some configuration takes this value."""
    section, _, name = key.rpartition(".")
    bases: list[dict[str, Any]] = [
        {},
        {"augment": "ada"},
        {"start.model": "runs/a"},
        *({"optimizer.g.schedule": each, "optimizer.d.schedule": each} for each in ("linear", "plateau")),
    ]
    builders = {
        "net.g": [(f"net.g ({each})", nets.family(each).Generator) for each in nets.names()],
        "net.d": [(f"net.d ({each})", nets.family(each).Discriminator) for each in nets.names()],
        "augment": [
            (f"augment ({each})", import_module(f"ganloom.augment.{each}").Augment) for each in augment.names()
        ],
        "loss": [(each, getattr(objectives.losses, each)) for each in objectives.losses.__all__],
    }
    if section in builders and name != "name":
        return any(fits(kind, function, {name: value}) for kind, function in builders[section])
    if key in ("net", "net.name"):
        return value in nets.names()
    if key in ("loss", "loss.name"):
        return value in objectives.losses.__all__
    if key in ("augment", "augment.name"):
        return value is None or value in augment.names()
    plain = {"data": {"source": "digits"}, "net": "mlp", "loss": "bce", "train": {"length": "1 kimg"}}
    for base in bases:
        try:
            Config.build(plain, {**base, key: value})
        except ConfigError:
            continue
        return True
    return False


def fits(kind: str, function: Any, given: dict[str, Any]) -> bool:
    try:
        keyword_options(kind, function, given)
    except ConfigError as error:
        return "is missing" in str(error)
    return True


def test_every_value_that_is_advised_is_accepted() -> None:
    def check(message: Message) -> list[str]:
        return [
            f"{key}={value}"
            for key, value in settings_in(message.text)
            if value is not None and not accepts(key, read_value(value))
        ]

    assert wrong(check) == []


def test_every_package_that_is_to_be_installed_is_an_extra() -> None:
    extras = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    def check(message: Message) -> list[str]:
        return [name for name in re.findall(r"ganloom\[([\w,-]+)\]", message.text) if name not in extras]

    assert wrong(check) == []


def test_every_recipe_exists() -> None:
    """Those of --recipe, of `use the recipe` and of examples."""
    named = re.compile(
        r"--recipe ([a-z]\w*-[\w-]+)|\brecipes? ([a-z]\w*-[\w-]+)(?: or ([a-z]\w*-[\w-]+))?|base: (\w+-[\w-]+)"
    )

    def check(message: Message) -> list[str]:
        found = [name for each in named.findall(message.text) for name in each if name]
        return [name for name in found if name not in recipe_names()]

    assert wrong(check) == []


def test_every_environment_variable_is_read() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\.setdefault\(|\[)\"(GANLOOM_\w+)\"", source))

    def check(message: Message) -> list[str]:
        return [name for name in re.findall(r"\bGANLOOM_\w+", message.text) if name not in read]

    assert read and wrong(check) == []


def test_every_file_of_the_project_that_is_named_is_there() -> None:
    def check(message: Message) -> list[str]:
        named = re.findall(r"\b(docs/[\w-]+\.md|CONTRIBUTING\.md|ganloom/[\w/]+\.py)\b", message.text)
        return [name for name in named if not (ROOT.parents[1] / name).exists() and not (ROOT.parent / name).exists()]

    assert wrong(check) == []


def test_python_callers_are_told_keywords_and_calls_that_exist() -> None:
    """No flag is left in a message of the library, and the calls it becomes take these keywords."""

    def check(message: Message) -> list[str]:
        if message.room == "cli":
            return []
        said = in_python(message.text.replace(HOLE, "a.b"))
        faults = [flag for flag in FLAG.findall(said) if flag not in OF_OTHERS | ANYWHERE]
        faults += re.findall(r"`\w+` a\.b\S*", said)  # a flag with a value, of which only the flag was translated
        for call in re.findall(r"ganloom\.[a-z]+\([^()]*\)", said):
            faults += [f"{call}: {fault}" for fault in wrong_call(call)]
        return faults

    assert wrong(check) == []


def wrong_call(call: str) -> list[str]:
    try:
        tree = ast.parse(call.replace(HOLE, "X"), mode="eval").body
    except SyntaxError:
        return ["not Python"]
    assert isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute)
    function = getattr(ganloom, tree.func.attr, None)
    if function is None:
        return ["no such function"]
    takes = inspect.signature(inspect.unwrap(function)).parameters
    flags = FLAGS if any(each.kind is each.VAR_KEYWORD for each in takes.values()) else {}
    return [f"no keyword {each.arg}" for each in tree.keywords if each.arg not in {*takes, *flags}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("set augment.target=null and augment.p=0.3.", [("augment.target", "null"), ("augment.p", "0.3")]),
        ("data.labels=false.", [("data.labels", "false")]),
        (f"set train.micro_batch={HOLE} and", [("train.micro_batch", None)]),
        ("(net.g.width, net.d.width)", [("net.g.width", None), ("net.d.width", None)]),
        ("prepare the data. Then train. ", []),
    ],
)
def test_settings_are_found_in_texts(text: str, expected: list[tuple[str, str | None]]) -> None:
    assert list(settings_in(text)) == expected


def test_commands_are_found_in_texts() -> None:
    text = f"resume it with 'ganloom resume {HOLE}', or: ganloom train DATA --from {HOLE} --out NEW. Then go on"
    assert list(commands_in(text)) == [("resume", [HOLE]), ("train", ["DATA", "--from", HOLE, "--out", "NEW"])]
    assert Path(ROOT / "__init__.py").exists()
