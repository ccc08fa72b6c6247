"""How a command ends: one message and exit code 2, whatever goes wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ganloom
from ganloom import cli

GANLOOM = f"'{sys.executable}' -m ganloom"


def shell(command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, shell=True, executable="/bin/bash", capture_output=True, text=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", ["--help", "--version", "recipes", "config train"])
def test_a_full_output_is_one_message(arguments: str) -> None:
    done = shell(f"{GANLOOM} {arguments} > /dev/full")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: No space left on device: the output of 'ganloom {arguments.split()[0]}' could not be written. "
        "Check where it goes."
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments",
    ["prepare shapes:8 packed", "inspect shapes:8 --device cpu", "evaluate made made --metrics kid --device cpu"],
)
def test_lines_that_are_lost_are_an_error_in_the_end(tmp_path: Path, arguments: str) -> None:
    """The work is done, but who asked for it does not know its result."""
    ganloom.prepare("shapes:8", tmp_path / "made", holdout=0.95)
    done = shell(f"cd '{tmp_path}' && {GANLOOM} {arguments} > /dev/full")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: No space left on device: the output of 'ganloom {arguments.split()[0]}' could not be written. "
        "Check where it goes."
    ]


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes the streams")
def test_closed_streams_do_no_harm(tmp_path: Path) -> None:
    """Nor does a file that is opened take the place of standard output."""
    done = shell(f"{GANLOOM} prepare shapes:8 '{tmp_path / 'packed'}' >&- 2>&- <&-")
    assert done.returncode == 0
    assert shell(f"{GANLOOM} prepare '{tmp_path / 'packed'}' '{tmp_path / 'again'}'").returncode == 0


def unexpected(monkeypatch: pytest.MonkeyPatch, error: BaseException, *options: str) -> None:
    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr("ganloom.config.recipe_names", fail)
    monkeypatch.setattr(sys, "argv", ["ganloom", *options, "recipes"])
    monkeypatch.delenv("GANLOOM_DEBUG", raising=False)
    cli.main()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RecursionError("too deep"), "'ganloom recipes' failed with RecursionError: too deep."),
        (RuntimeError("strange\nand long"), "'ganloom recipes' failed with RuntimeError: strange. This is a bug"),
        (MemoryError(), "'ganloom recipes' ran out of memory. Close other programs, or ask for less"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "'ganloom recipes' ran out of memory."),
        (PermissionError(13, "Permission denied", "/x/y"), "/x/y: Permission denied. Check the path."),
    ],
)
def test_an_unexpected_error_is_one_line_with_the_way_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        unexpected(monkeypatch, error)
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"error: {said}")
    assert ("ganloom --debug recipes" in lines[0]) is ("bug in ganloom" in lines[0])


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_DEBUG", "")  # restored afterwards
    with pytest.raises(RuntimeError, match="strange"):
        unexpected(monkeypatch, RuntimeError("strange"), "--debug")


@pytest.mark.skipif(os.name == "nt", reason="sends itself SIGINT")
def test_ctrl_c_that_a_library_swallows_is_no_bug(tmp_path: Path) -> None:
    """While it is imported, for example."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # started in the background, it would be ignored
        "from ganloom import cli, config\n"
        "def swallow():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(5)\n"
        "    except KeyboardInterrupt: pass\n"
        "    raise AttributeError('half imported')\n"
        "config.recipe_names = swallow\n"
        "sys.argv = ['ganloom', 'recipes']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
