"""Load a Python file of the user as a module: identified by its content, run once, and named in its errors.

A file is self-contained: it may import installed packages, but no file that lies beside it. So its text is enough to
run it again anywhere, and the hash of its text identifies it.
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
from ganloom.core.files import read_regular, sha256, user_path

__all__ = [
    "Code",
    "CustomModule",
    "absolute",
    "blame",
    "get_callable",
    "is_file",
    "load_code",
    "load_file",
    "read",
    "split",
]

SUFFIX = ".py"
SOURCE = re.compile(r"(?!\w{2,}:)(.*?\.py)(?::(.*))?", re.DOTALL)  # also C:\x.py:ARGUMENT, but not hf:OWNER/NAME.py


class Code(BaseModel):
    """The text of a Python file, without the file's location."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str  # file name, without the folder
    sha256: str  # of the file's bytes
    source: str

    @property
    def is_intact(self) -> bool:
        """Whether the text still has the hash that was recorded for it."""
        return sha256(self.source.encode("utf-8", "surrogatepass")) == self.sha256


class CustomModule(ModuleType):
    """The module that a `Code` becomes when it is run."""

    code: Code


def is_file(name: str) -> bool:
    """Whether a name in the configuration is the path of a Python file instead of a built-in name."""
    return name.endswith(SUFFIX)


def split(source: str) -> tuple[str, str] | None:
    """Split `FILE.py` or `FILE.py:ARGUMENT` into path and argument; None for any other source of images."""
    match = SOURCE.fullmatch(source)
    return None if match is None else (match.group(1), match.group(2) or "")


def absolute(name: str) -> str:
    """The path of a Python file made absolute, so that it holds in any working folder; other names unchanged."""
    return str(user_path(name).resolve()) if is_file(name) else name


def read(path: str | Path) -> Code:
    """The text of a file. Raises `ConfigError` if the file is missing or is not UTF-8 text."""
    path = user_path(path)
    try:
        content = read_regular(path)
        return Code(name=path.name, sha256=sha256(content), source=content.decode())
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}: check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path} ({error}): it should be Python, in UTF-8.") from None


def load_file(path: str | Path) -> CustomModule:
    """The module of a file, which is run once for each content. Raises `ConfigError` with the faulty line."""
    return _run(read(path), str(user_path(path).resolve()))


def load_code(code: Code) -> CustomModule:
    """The module of a text that came without its file. Raises `ConfigError` with the faulty line."""
    origin = f"<{code.name}, sha256 {code.sha256[:12]}>"
    lines = code.source.splitlines(keepends=True)
    linecache.cache[origin] = len(code.source), None, lines, origin  # for tracebacks, and for torch.compile
    return _run(code, origin)


def _run(code: Code, origin: str) -> CustomModule:
    suffix = sha256(f"{origin}\n{code.sha256}".encode("utf-8", "surrogateescape"))[:16]
    name = re.sub(r"\W", "_", f"{Path(code.name).stem}_{suffix}")  # unique, so no other module is replaced
    loaded = sys.modules.get(name)
    if isinstance(loaded, CustomModule):
        return loaded
    module = CustomModule(name)
    module.__file__, module.code = origin, code
    sys.modules[name] = module  # dataclasses and pickle look it up here
    try:
        with blame(module):
            exec(compile(code.source.encode(), origin, "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def get_callable(module: ModuleType, name: str, *positional: str, options: bool = True) -> Callable[..., Any]:
    """The function or class `name` of a module, checked to take these positional arguments and keyword-only options.

    Raises `ConfigError` if it is missing or has another signature.
    """
    expected = f"{name}({', '.join([*positional, '*', 'OPTION=...'] if options else positional)})"
    found: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"{module.__file__} has no {name}: it should define {expected}.")
    signature = inspect.signature(found)
    parameters = signature.parameters.values()
    before = [p for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    if len(before) != len(positional) or (options and any(p.default is not p.empty for p in before)):
        plain = signature.replace(
            parameters=[p.replace(annotation=p.empty) for p in parameters], return_annotation=signature.empty
        )
        rule = " (options come after the *; other arguments have no default)" if options else ""
        raise ConfigError(f"{module.__file__}: {name}{plain} has the wrong signature: write {expected}{rule}.")
    return found


@contextlib.contextmanager
def blame(*modules: ModuleType, doing: str = "") -> Iterator[None]:
    """Turn an exception of the user's code into a `ConfigError` with the file, the line and Python's message.

    `doing` names the activity in the message, such as "in a training step". Errors of ganloom pass through unchanged.
    """
    try:
        yield
    except GanloomError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(_describe(error, [str(module.__file__) for module in modules], doing)) from error


def _describe(error: BaseException, origins: Sequence[str], doing: str) -> str:
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno or 0))
    lines = [f"{origin}, line {line}" for origin, line in frames if origin in origins]
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    cause = f"{type(error).__name__}: {message}" if message else type(error).__name__
    text = f"{lines[-1] if lines else ' and '.join(origins)}: {f'{doing}: ' if doing else ''}{cause}"
    if isinstance(error, ModuleNotFoundError):
        text += ". Custom code is one file: it can import installed packages, but no file that lies beside it."
    return text
