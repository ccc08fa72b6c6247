"""Devices, the processes that share them, and optional packages."""

import os
import sys
from pathlib import Path

import pytest
import torch

from ganloom.core import device, distributed
from ganloom.core.device import check_processes
from ganloom.core.errors import DeviceError
from ganloom.core.packages import is_installed, version_of


@pytest.mark.parametrize(("kind", "message"), [("mps", "use --device cpu"), ("cuda:1", "use --device cuda")])
def test_processes_that_would_share_a_gpu_are_refused(monkeypatch: pytest.MonkeyPatch, kind: str, message: str) -> None:
    monkeypatch.setattr(device, "choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_processes(1, kind)
    with pytest.raises(DeviceError, match=message):
        check_processes(2, kind)


def test_processes_meet_where_they_were_started_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    environments = []

    class Worker:
        def __init__(self, command: list[str], env: dict[str, str]) -> None:
            environments.append(env)

        def poll(self) -> int:
            return 0

        def wait(self, patience: float) -> int:
            return 0

    for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "GANLOOM_PARENT", "TORCHELASTIC_USE_AGENT_STORE"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(distributed.subprocess, "Popen", Worker)
    assert distributed.launch(2, []) == 0
    for rank, env in enumerate(environments):
        assert (env["MASTER_ADDR"], env["WORLD_SIZE"], env["RANK"]) == ("127.0.0.1", "2", str(rank))
        assert env["MASTER_PORT"].isdigit() and env["TORCHELASTIC_USE_AGENT_STORE"] == "True"
        assert env["OMP_NUM_THREADS"] == "7"


def test_a_folder_is_not_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "not_a_package").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert not is_installed("not_a_package") and is_installed("torch")


def test_the_version_of_a_module_whose_distribution_has_another_name() -> None:
    assert version_of("torch").partition("+")[0] == torch.__version__.partition("+")[0]  # but for the build
    assert version_of("PIL.Image") == "installed"


def test_more_processes_than_a_machine_can_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    check_processes(8, "cpu")
    with pytest.raises(DeviceError, match=r"100,000 processes are too many for this machine's 2 cores: .* 2 at most"):
        check_processes(100_000, "cpu")
