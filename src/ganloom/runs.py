"""The run folder: its paths, and how to make, open and read it.

config.yaml          the resolved configuration: enough, with the same images, to repeat the run
run.json             facts of the start: dataset and its content hash, versions, planned images
code/                copies of the user's own network, loss and source of images, where it has such
changes.json         settings that were changed on the way, when, why and from what; config.yaml has the newest
log.jsonl            one line a logged step
tensorboard/         the same as TensorBoard events, with the grids
samples/             reals.png, and grids of the same latents as training goes on
checkpoints/         NIMG.safetensors, and NIMG.json that vouches for it
model.safetensors    the averaged generator, self-describing
best/                model.safetensors and the whole checkpoint of the moment with the best score
scores.json          what `evaluate` measured, and scores/ with the pictures it made
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ganloom.config import Config
from ganloom.core.code import Code, read
from ganloom.core.errors import ConfigError, RunError
from ganloom.core.files import storage_errors, write_atomically

__all__ = ["Change", "Facts", "Run", "create_run", "open_run", "refuse_existing"]


class Facts(BaseModel):
    """run.json: what was true when the run began."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    created: str
    dataset: str
    content_hash: str
    images: int  # in the training split
    shape: tuple[int, int, int]
    class_names: list[str]
    recipe: str
    ganloom: str
    torch: str
    device: str
    threads: int
    images_per_minute: float | None  # measured once: plans a length in minutes, and intervals that are null
    code: dict[str, str] = {}  # the sha256 of each of the user's own files, by its path


class Change(BaseModel):
    """One entry of changes.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: str
    text: str
    nimg: int  # when it was found necessary
    to: int  # images that the training went back to
    seconds: float  # spent training until then
    before: dict[str, Any]  # settings by their dotted names
    after: dict[str, Any]
    verdict: str = ""  # what the guard said, and the numbers that it said it by
    evidence: dict[str, float | None] = {}


CHANGES = TypeAdapter(list[Change])


class Run:
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

    @property
    def config(self) -> Config:
        return Config.load(self.path / "config.yaml")

    @property
    def facts(self) -> Facts:
        try:
            return Facts.model_validate_json((self.path / "run.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(
                f"{self.path}/run.json is damaged ({str(error).splitlines()[0]}): put it back, or start a new run with "
                f"--recipe {self.path}/config.yaml."
            ) from None

    @property
    def changes(self) -> list[Change]:
        path = self.path / "changes.json"
        try:
            return CHANGES.validate_json(path.read_bytes()) if path.exists() else []
        except (OSError, ValidationError) as error:
            raise RunError(f"{path} is damaged ({str(error).splitlines()[0]}): put it back, or delete it.") from None

    def sample(self, nimg: int) -> Path:
        """Where the grid made after `nimg` images lies."""
        return self.samples / f"{nimg:012d}.png"

    def copy(self, path: str, facts: Facts) -> Path:
        """Where the copy of one of the user's own files lies: under its name, unless two files have one name."""
        name = Path(path).name
        twice = sum(Path(other).name == name for other in facts.code) > 1
        return self.path / "code" / (f"{facts.code[path][:8]}-{name}" if twice else name)

    def own_code(self, config: Config, facts: Facts) -> dict[str, Code]:
        """The user's own files that `config` names. Raises `RunError` unless they are what the run began with."""
        found = {}
        for path in config.own_files:
            copy = self.copy(path, facts) if path in facts.code else self.path / "code"
            try:
                found[path] = read(path)
            except ConfigError as error:
                raise RunError(
                    f"{error} {self.path} began with it: put it back from its copy, {copy}, or write where it is now "
                    f"into {self.path}/config.yaml."
                ) from None
            if found[path].sha256 not in facts.code.values():
                raise RunError(
                    f"{path} is not what it was when {self.path} began: put it back from its copy, {copy}, or start a "
                    "new run."
                )
        return found

    def picture(self, name: str) -> Path:
        """Where a picture that a metric made lies."""
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
        """While entered, no other process trains in this folder; a killed one leaves it free. Raises `RunError`."""
        lock = FileLock(self.checkpoints / ".lock")
        with storage_errors(self.path):
            self.checkpoints.mkdir(exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise RunError(f"another training is going on in {self.path}: wait for it, or stop it.") from None
        try:
            yield
        finally:
            lock.release()

    def clean(self) -> None:
        """Remove what a killed process left half written."""
        with storage_errors(self.path):
            for leftover in self.path.rglob(".*.tmp"):
                leftover.unlink(missing_ok=True)

    def forget_samples(self, after: int) -> None:
        """Remove grids of a future that is trained anew."""
        with storage_errors(self.samples):
            for nimg, grid in self.grids().items():
                if nimg > after:
                    grid.unlink()

    def grids(self) -> dict[int, Path]:
        """Of pictures, by the images that had been seen. Copies that a person laid beside them do not count."""
        return {int(path.stem): path for path in sorted(self.samples.glob("*.png")) if path.stem.isdigit()}

    def saved_seconds(self) -> float | None:
        """Of training, when the newest checkpoint was made; None where nothing says so."""
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            newest = max(path for path in self.checkpoints.glob("*.json") if path.stem.isdigit())
            return float(json.loads(newest.read_bytes())["seconds"])
        return None


def create_run(path: Path, config: Config, facts: Facts, code: Mapping[str, Code] | None = None) -> Run:
    """Make the folder, whole or not at all, with copies of `code` in it. Raises `RunError` if something is there."""
    refuse_existing(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors(path):
        try:
            for folder in ("samples", "checkpoints"):
                (beside / folder).mkdir(parents=True)
            for file, text in (code or {}).items():
                copy = Run(beside).copy(file, facts)
                copy.parent.mkdir(exist_ok=True)
                write_atomically(copy, text.source.encode())
            write_atomically(beside / "run.json", facts.model_dump_json(indent=2).encode())
            write_atomically(beside / "config.yaml", config.yaml().encode())
            if path.exists():
                path.rmdir()  # empty: refuse_existing has looked
            beside.rename(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return Run(path)


def refuse_existing(path: Path) -> None:
    """Raises `RunError` unless a run folder can be made there."""
    if not path.name:
        raise RunError(f"'{path}' is the folder you are in: name one to make with --out.")
    if (path / "config.yaml").exists():
        raise RunError(f"there is a run at {path}: go on with 'ganloom resume {path}', or choose another --out.")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} exists and is no empty folder: choose another --out.")
    above = next(each for each in path.absolute().parents if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise RunError(f"{path} cannot be made, as {above} cannot be written: choose another --out.")


def open_run(path: Path) -> Run:
    """Raises `RunError` for a folder that is not a run."""
    if not (path / "config.yaml").is_file():
        raise RunError(f"there is no run at {path}: a run folder has a config.yaml. Start one with 'ganloom train'.")
    return Run(path)
