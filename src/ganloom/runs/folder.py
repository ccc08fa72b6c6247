"""The files of a run folder."""

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from ganloom.config import Config
from ganloom.core.code import Code, read
from ganloom.core.errors import ConfigError, RunError
from ganloom.core.files import built_beside, is_leftover, read_regular, storage_errors, write_atomically
from ganloom.core.names import is_count
from ganloom.core.plain_json import read_json
from ganloom.runs.records import CHANGES, Change, Facts
from ganloom.runs.status import Status, read_status

__all__ = ["RunFolder", "create_folder", "is_free", "open_folder", "refuse_existing"]


class RunFolder:
    """A run folder that exists."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log.jsonl"
        self.events = path / "tensorboard"
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model.safetensors"
        self.best = path / "best" / "model.safetensors"
        self.best_checkpoint = path / "best" / "checkpoints"
        self.scores = path / "scores.json"
        self.status_file = path / "status.json"

    @property
    def config(self) -> Config:
        return Config.load(self.path / "config.yaml")

    @property
    def facts(self) -> Facts:
        try:
            return Facts.model_validate_json(read_regular(self.path / "run.json"))
        except (OSError, ValidationError) as error:
            raise RunError(
                f"{self.path}/run.json is damaged ({str(error).splitlines()[0]}): restore it, or start a new run: "
                f"ganloom train --recipe {shlex.quote(str(self.path))}/config.yaml --out NEW"
            ) from None

    @property
    def status(self) -> Status:
        """What its training is doing now, or how it ended, from the folder alone."""
        return read_status(self.status_file)

    @property
    def changes(self) -> list[Change]:
        path = self.path / "changes.json"
        try:
            return CHANGES.validate_json(read_regular(path)) if path.exists() else []
        except (OSError, ValidationError) as error:
            raise RunError(f"{path} is damaged ({str(error).splitlines()[0]}): restore it, or delete it.") from None

    def sample(self, nimg: int) -> Path:
        """Path of the grid made after `nimg` images."""
        return self.samples / f"{nimg:012d}.png"

    def copy(self, path: str, facts: Facts) -> Path:
        """Path of the copy of a file of custom code: its name, with a hash before it where two files have one name."""
        name = Path(path).name
        twice = sum(Path(other).name == name for other in facts.code) > 1
        return self.path / "code" / (f"{facts.code[path][:8]}-{name}" if twice else name)

    def custom_code(self, config: Config, facts: Facts) -> dict[str, Code]:
        """The custom code that `config` names. Raises `RunError` unless it is what the run started with."""
        found = {}
        for path in config.own_files:
            copy = self.copy(path, facts) if path in facts.code else self.path / "code"
            try:
                found[path] = read(path)
            except ConfigError as error:
                raise RunError(
                    f"{error} {self.path} needs it: restore it from its copy, {copy}, or write its new path into "
                    f"{self.path}/config.yaml."
                ) from None
            if found[path].sha256 not in facts.code.values():
                raise RunError(
                    f"{path} has changed since {self.path} started: restore it from its copy, {copy}, or start a "
                    "new run."
                )
        return found

    def picture(self, name: str) -> Path:
        """Path of a picture that a metric made."""
        return self.path / "scores" / f"{name}.png"

    def newest_sample(self) -> Path | None:
        grids = self.grids()
        return grids[max(grids)] if grids else None

    def save_config(self, config: Config) -> None:
        write_atomically(self.path / "config.yaml", config.yaml().encode())

    def save_facts(self, facts: Facts) -> None:
        write_atomically(self.path / "run.json", facts.model_dump_json(indent=2).encode())

    def save_changes(self, changes: Sequence[Change]) -> None:
        write_atomically(self.path / "changes.json", CHANGES.dump_json(list(changes), indent=2))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training in the folder meanwhile. A killed process frees it. Raises `RunError`."""
        lock = FileLock(self.checkpoints / ".lock")
        with storage_errors(self.path):
            for folder in (self.checkpoints, self.samples):  # a copy of a run may lack what was empty, or large
                folder.mkdir(exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise RunError(f"another process is training in {self.path}: wait for it, or stop it.") from None
        try:
            yield
        finally:
            lock.release()

    def clean(self) -> None:
        """Remove half-written files of a killed process. Folders, links and pipes are nobody's half-written files."""
        with storage_errors(self.path):
            for path in self.path.rglob(".*.tmp"):
                if is_leftover(path):
                    path.unlink(missing_ok=True)

    def forget_samples(self, after: int) -> None:
        """Remove grids made after that image count: they will be made again."""
        with storage_errors(self.samples):
            for nimg, grid in self.grids().items():
                if nimg > after:
                    grid.unlink()

    def grids(self) -> dict[int, Path]:
        """Grids of samples by image count. Other files in the folder do not count."""
        return {int(path.stem): path for path in sorted(self.samples.glob("*.png")) if is_count(path.stem)}

    def saved_seconds(self) -> float | None:
        """Seconds of training up to the newest checkpoint; None if unknown."""
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            newest = max(path for path in self.checkpoints.glob("*.json") if is_count(path.stem))
            return float(read_json(read_regular(newest))["seconds"])
        return None


def create_folder(path: Path, config: Config, facts: Facts, code: Mapping[str, Code] | None = None) -> RunFolder:
    """Create the folder, complete or not at all, with copies of `code`. Raises `RunError` if it exists."""
    refuse_existing(path)
    with storage_errors(path), built_beside(path, is_folder=True) as beside:
        for folder in ("samples", "checkpoints"):
            (beside / folder).mkdir(parents=True)
        for file, text in (code or {}).items():
            copy = RunFolder(beside).copy(file, facts)
            copy.parent.mkdir(exist_ok=True)
            write_atomically(copy, text.source.encode())
        write_atomically(beside / "run.json", facts.model_dump_json(indent=2).encode())
        write_atomically(beside / "config.yaml", config.yaml().encode())
        if path.exists():
            path.rmdir()  # empty: refuse_existing has looked
        beside.rename(path)
    return RunFolder(path)


def is_free(path: Path) -> bool:
    """Whether there is nothing at a path, or only an empty folder."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def refuse_existing(path: Path) -> None:
    """Raises `RunError` unless a run folder can be created there."""
    if not path.name:
        raise RunError(f"'{path}' is the current folder: name a new one with --out.")
    if (path / "config.yaml").exists():
        raise RunError(f"there is a run at {path}: resume it with 'ganloom resume {path}', or choose another --out.")
    if not is_free(path):
        raise RunError(f"{path} exists and is not an empty folder: choose another --out.")
    above = next(each for each in path.absolute().parents if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise RunError(f"{path} cannot be created, because {above} is not writable: choose another --out.")


def open_folder(path: Path) -> RunFolder:
    """Raises `RunError` for a folder that is not a run."""
    if not (path / "config.yaml").is_file():
        raise RunError(f"there is no run at {path}: a run folder has a config.yaml. Start one with 'ganloom train'.")
    return RunFolder(path)
