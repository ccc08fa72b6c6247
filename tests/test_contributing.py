"""The custom code in CONTRIBUTING.md works for a user who has installed the package and has no clone."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import contributing

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a user who has installed the wheel; its dependencies are those of the test environment."""
    folder = tmp_path_factory.mktemp("installed")
    # hatchling is a development dependency, so no package index is needed.
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("ganloom-*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    path = os.pathsep.join([str(folder / "site" / "bin"), os.environ["PATH"]])
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "PATH": path}


@pytest.mark.slow
def test_its_files_and_commands_work_unchanged(installed: dict[str, str], tmp_path: Path) -> None:
    assert contributing.write_files(tmp_path) == ["loss.py", "net.py", "rings.py"]
    commands = [shlex.split(line) for line in contributing.commands()]
    assert [command[:2] for command in commands] == [["ganloom", verb] for verb in ("train", "resume", "sample")]

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(sys.executable, "-c", "import ganloom; print(ganloom.__file__)")
    assert where.startswith(installed["PYTHONPATH"]), "this would test the clone"
    for command in commands:
        run(*command)
    assert (tmp_path / "rings.png").is_file()
    (script,) = contributing.scripts()
    assert run(sys.executable, "-c", script) == (tmp_path / "net.py").read_text() + "\n"
