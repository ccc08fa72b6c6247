"""A run gets a name that no other run has, however many start at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from ganloom.core.errors import RunError
from ganloom.runs import reserved

HOLD = """
import sys
from pathlib import Path
from ganloom.runs import reserved
with reserved(Path("runs/photos")) as path:
    print(path, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_free_name_is_taken(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ganloom")
    with reserved(Path("runs/photos")) as path:
        assert path == Path("runs/photos")
    assert not caplog.messages
    for name in ("photos", "photos-2"):
        (here / "runs" / name).mkdir(parents=True)
        (here / "runs" / name / "config.yaml").touch()
    with reserved(Path("runs/photos")) as path:
        assert path == Path("runs/photos-3")
    assert caplog.messages == [f"note: {Path('runs/photos')} exists, so this run is {Path('runs/photos-3')}"]


def test_nothing_is_left_of_a_run_that_never_was(here: Path) -> None:
    with pytest.raises(ZeroDivisionError), reserved(Path("runs/photos")):
        raise ZeroDivisionError
    assert list(here.iterdir()) == []


def test_an_empty_folder_is_free_and_a_file_is_not(here: Path) -> None:
    (here / "runs" / "photos").mkdir(parents=True)
    (here / "runs" / "notes").write_text("mine")
    with reserved(Path("runs/photos")) as path:
        assert path.name == "photos"
    with reserved(Path("runs/notes")) as path:
        assert path.name == "notes-2"


def test_processes_that_start_at_once_get_different_names(here: Path) -> None:
    others = [
        subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    names = [other.stdout.readline().strip() for other in others if other.stdout]
    assert sorted(names) == [str(Path("runs") / name) for name in ("photos", "photos-2", "photos-3")]
    others[0].kill()  # gives its name back
    others[0].communicate()
    with reserved(Path("runs/photos")) as path:
        assert str(path) == names[0]
    for other in others[1:]:
        other.communicate("\n")
    assert not (here / "runs").exists() or not list((here / "runs").iterdir())


def test_a_place_where_no_folder_can_be_made_is_refused(here: Path) -> None:
    (here / "runs").write_text("a file")
    with pytest.raises(RunError, match="is not writable"), reserved(Path("runs/photos")):
        pass


def test_nothing_stays_beside_a_run_whose_process_was_killed(here: Path) -> None:
    """The next run on the same images removes the file that had kept the name."""
    killed = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert killed.stdout
    killed.stdout.readline()
    (here / "runs" / "photos").mkdir()
    (here / "runs" / "photos" / "config.yaml").touch()
    with reserved(Path("runs/photos")) as path:  # it is alive: its file stays
        assert path.name == "photos-2"
        assert (here / "runs" / ".photos.lock").exists()
    killed.kill()
    killed.communicate()
    with reserved(Path("runs/photos")) as path:
        assert path.name == "photos-2"
    assert [path.name for path in (here / "runs").iterdir()] == ["photos"]
