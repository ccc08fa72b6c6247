"""A Python file of the user's own as a module: known by its content, run once, named in its errors.

One file is all of it: it imports what is installed and nothing that lies beside it, so that its text, with its hash, is
enough to run it again anywhere.
"""

import contextlib
import inspect
import linecache
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict

from ganloom.core.errors import ConfigError, GanloomError
from ganloom.core.files import sha256

__all__ = ["Code", "OwnModule", "blame", "is_file", "load_code", "load_file", "place", "read", "split", "take"]

SUFFIX = ".py"
SOURCE = re.compile(r"(?!\w{2,}:)(.*?\.py)(?::(.*))?", re.DOTALL)  # C:\x.py:ARGUMENT too, but not hf:OWNER/NAME.py


class Code(BaseModel):
    """The text of a file, apart from where the file lies."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str  # of the file, without its folder
    sha256: str  # of its bytes
    source: str

    @property
    def is_whole(self) -> bool:
        """Whether the text is the one that the hash was taken of."""
        return sha256(self.source.encode("utf-8", "surrogatepass")) == self.sha256


class OwnModule(ModuleType):
    """What such a text becomes."""

    code: Code


def is_file(name: str) -> bool:
    """Whether a name, where a built-in one could stand, is a path to a file of the user's."""
    return name.endswith(SUFFIX)


def split(source: str) -> tuple[str, str] | None:
    """`FILE.py` or `FILE.py:ARGUMENT` as path and argument; None for any other source of images."""
    match = SOURCE.fullmatch(source)
    return None if match is None else (match.group(1), match.group(2) or "")


def place(name: str) -> str:
    """A path as it holds from any working folder; any other name as it is."""
    return str(Path(name).expanduser().resolve()) if is_file(name) else name


def read(path: str | Path) -> Code:
    """Raises `ConfigError` for a file that is not there, or is no text."""
    path = Path(path).expanduser()
    try:
        content = path.read_bytes()
        return Code(name=path.name, sha256=sha256(content), source=content.decode())
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}: check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path} ({error}): it should be Python, in UTF-8.") from None


def load_file(path: str | Path) -> OwnModule:
    """The module of a file: run once for each content. Raises `ConfigError` with the line at fault."""
    return _run(read(path), str(Path(path).expanduser().resolve()))


def load_code(code: Code) -> OwnModule:
    """The module of a text that came without its file. Raises `ConfigError` with the line at fault."""
    origin = f"<{code.name}, sha256 {code.sha256[:12]}>"
    lines = code.source.splitlines(keepends=True)
    linecache.cache[origin] = len(code.source), None, lines, origin  # for tracebacks, and for torch.compile
    return _run(code, origin)


def _run(code: Code, origin: str) -> OwnModule:
    known_by = sha256(f"{origin}\n{code.sha256}".encode("utf-8", "surrogateescape"))[:16]
    name = re.sub(r"\W", "_", f"{Path(code.name).stem}_{known_by}")  # one that no other module has
    known = sys.modules.get(name)
    if isinstance(known, OwnModule):
        return known
    module = OwnModule(name)
    module.__file__, module.code = origin, code
    sys.modules[name] = module  # where dataclasses and pickle look
    try:
        with blame(module):
            exec(compile(code.source.encode(), origin, "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def take(module: ModuleType, name: str, *positional: str, options: bool = True) -> Callable[..., Any]:
    """The function or class `name`, which is called with those arguments and, after a `*`, with its options.

    Raises `ConfigError` where there is none, or one that is to be called otherwise.
    """
    called = f"{name}({', '.join([*positional, '*', 'OPTION=...'] if options else positional)})"
    found: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"{module.__file__} has no {name}: it should define one that is called as {called}.")
    signature = inspect.signature(found)
    parameters = signature.parameters.values()
    before = [p for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    if len(before) != len(positional) or (options and any(p.default is not p.empty for p in before)):
        taken = signature.replace(
            parameters=[p.replace(annotation=p.empty) for p in parameters], return_annotation=signature.empty
        )
        rule = ": what the configuration can set stands after the *, and nothing else has a default"
        raise ConfigError(
            f"{module.__file__}: {name}{taken} does not fit, it is called as {called}{rule if options else ''}."
        )
    return found


@contextlib.contextmanager
def blame(*modules: ModuleType, doing: str = "") -> Iterator[None]:
    """Turn what goes wrong in the user's code into a `ConfigError` with his file, his line and the words of Python."""
    try:
        yield
    except GanloomError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(_told(error, [str(module.__file__) for module in modules], doing)) from error


def _told(error: BaseException, origins: Sequence[str], doing: str) -> str:
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno or 0))
    ours = [f"{origin}, line {line}" for origin, line in frames if origin in origins]
    words = error.msg if isinstance(error, SyntaxError) else str(error)
    cause = f"{type(error).__name__}: {words}" if words else type(error).__name__
    text = f"{ours[-1] if ours else ' and '.join(origins)}: {f'{doing}: ' if doing else ''}{cause}"
    if isinstance(error, ModuleNotFoundError):
        text += ". A file of your own is all of it: it can import what is installed, but no file that lies beside it."
    return text
