"""Whatever else stands at a place of a run, a dataset or the cache: it ends in a message, or does not matter."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from PIL import Image

import ganloom
from conftest import tiny_config
from ganloom.core.errors import GanloomError
from ganloom.report.run import write_report
from ganloom.runs import RunFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs pipes, links and an alarm"),
]

PATIENCE = 300  # seconds for a command: a pipe that is opened would never answer
SETTINGS = {
    "evaluate__every": "150 images",
    "evaluate__n": 100,
    "evaluate__metrics": ["fd"],
    "trackers__tensorboard": True,
}


def a_folder(path: Path) -> None:
    path.mkdir()


def a_full_folder(path: Path) -> None:
    path.mkdir()
    (path / "file").write_text("x")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def an_empty_file(path: Path) -> None:
    path.touch()


def a_damaged_file(path: Path) -> None:
    path.write_bytes(b"\xff\x00{[" * 99)


REPORTED = (
    "config.yaml", "run.json", "status.json", "changes.json", "log.jsonl", "samples", "samples/reals.png",
    "scores.json", "scores/memorisation.png", "report.html", "best/model.safetensors",
)  # fmt: skip
RESUMED = (
    "run.json", "status.json", "changes.json", "log.jsonl", "samples", "checkpoints", "checkpoints/.lock", ".x.tmp",
    "model.safetensors", "best", "best/model.safetensors", "best/checkpoints", "tensorboard",
)  # fmt: skip
KINDS = (
    a_folder, a_full_folder, a_dangling_link, a_link_to_itself, a_pipe, a_device, an_empty_file, a_damaged_file,
)  # fmt: skip


COSTLY = (a_full_folder, a_pipe)  # a report or a resumed training takes seconds


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = tiny_config(train__length="320 images", **SETTINGS).model_dump(mode="json")
    made = ganloom.train(out=tmp_path_factory.mktemp("odd") / "run", device="cpu", settings=settings).path
    ganloom.evaluate(made, n=100, metrics="fd", device="cpu")
    return made


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for index in range(24):
        (folder / f"{index % 2}").mkdir(exist_ok=True)
        Image.new("L", (8, 8), index).save(folder / f"{index % 2}" / f"{index}.png")
    return folder


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def replaced(path: Path, kind: Callable[[Path], None]) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind(path)


def checked(commands: dict[str, Callable[[], object]]) -> list[str]:
    """The commands that end in anything but a result or a message."""
    faults = []
    for name, command in commands.items():
        signal.alarm(PATIENCE)
        try:
            command()
        except GanloomError as error:
            if not str(error):
                faults.append(f"{name}: no message")
        except Exception as error:
            faults.append(f"{name}: {type(error).__name__}: {error}")
        signal.alarm(0)
    return faults


def tried(
    run: Path,
    places: Iterable[str],
    kind: Callable[[Path], None],
    commands: Callable[[Path], dict[str, Callable[[], object]]],
    tmp_path: Path,
) -> list[str]:
    """What goes wrong in copies of a run with something else at one of the places."""
    faults = []
    for number, place in enumerate(places):
        copy = tmp_path / str(number)
        shutil.copytree(run, copy)
        replaced(copy / place, kind)
        faults += [f"{place}: {fault}" for fault in checked(commands(copy))]
    return faults


def places_of(run: Path) -> list[str]:
    found = [path.relative_to(run).as_posix() for path in sorted(run.rglob("*"))]
    return [*found, ".x.tmp", "checkpoints/.x.1.tmp", "changes.json", "code", "scores/memorisation.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_at_every_place_of_a_run(run: Path, kind: Callable[[Path], None], tmp_path: Path) -> None:
    def commands(copy: Path) -> dict[str, Callable[[], object]]:
        return {
            "open": lambda: ganloom.open_run(copy)._repr_html_(),
            "sample": lambda: ganloom.load(copy, device="cpu").sample(1),
            "best": lambda: ganloom.load(copy, at="best", device="cpu").sample(1),
            "compare": lambda: ganloom.compare([copy, copy]),
            "clean": RunFolder(copy).clean,
        }

    assert not (faults := tried(run, places_of(run), kind, commands, tmp_path)), "\n".join(faults)


@pytest.mark.parametrize("kind", COSTLY)
def test_a_report_at_every_place_that_it_reads(run: Path, kind: Callable[[Path], None], tmp_path: Path) -> None:
    def commands(copy: Path) -> dict[str, Callable[[], object]]:
        return {"report": lambda: write_report(copy, copy / "report.html")}

    assert not (faults := tried(run, REPORTED, kind, commands, tmp_path)), "\n".join(faults)


@pytest.mark.parametrize("kind", COSTLY)
def test_resume_at_every_place_that_it_uses(run: Path, kind: Callable[[Path], None], tmp_path: Path) -> None:
    def commands(copy: Path) -> dict[str, Callable[[], object]]:
        return {"resume": lambda: ganloom.resume(copy, length="352 images", device="cpu")}

    newest = max(path.name for path in (run / "checkpoints").glob("*.safetensors"))
    places = [*RESUMED, f"checkpoints/{newest}"]
    assert not (faults := tried(run, places, kind, commands, tmp_path)), "\n".join(faults)


@pytest.mark.parametrize("kind", KINDS)
def test_at_every_place_of_a_packed_dataset_and_of_the_cache(
    images: Path, kind: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = []
    packed = ganloom.prepare(images, tmp_path / "packed").path
    files = [path.relative_to(packed).as_posix() for path in sorted(packed.rglob("*"))]
    for number, place in enumerate([*files, ".x.tmp", "odd"]):
        copy = tmp_path / str(number)
        shutil.copytree(packed, copy)
        monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / f"cache{number}"))
        replaced(copy / place, kind)
        faults += [
            f"{place}: {fault}"
            for fault in checked(
                {
                    "open": lambda copy=copy: ganloom.open_dataset(copy)[0],
                    "prepare": lambda copy=copy: ganloom.prepare(copy, tmp_path / f"again{copy.name}"),
                    "unpack": lambda copy=copy: ganloom.unpack(copy, tmp_path / f"files{copy.name}"),
                }
            )
        ]
    for number, place in enumerate(("locks", "features", "verified", "")):
        cache = tmp_path / f"odd{number}"
        monkeypatch.setenv("GANLOOM_CACHE", str(cache))
        replaced(cache / place if place else cache, kind)
        faults += [
            f"cache/{place}: {fault}" for fault in checked({"prepare": lambda: ganloom.prepare(images, tmp_path / "s")})
        ]
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
    assert not faults, "\n".join(faults)
