"""Does a step fit into memory? Asked before there is a run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

import ganloom
from conftest import tiny_config, tiny_flags
from ganloom.core.allocations import AllocationCounter
from ganloom.core.errors import ConfigError, RunError
from ganloom.core.memory import free_memory
from ganloom.data.packed import PackedDataset
from ganloom.session import memory
from ganloom.session.memory import fit_memory, peak_memory
from ganloom.training.step import AdversarialStep
from stepping import state, tiny

pytestmark = pytest.mark.slow

MIB = 2**20


def fitted(digits: PackedDataset, **settings: object) -> tuple[int | None, int | None]:
    found = fit_memory(tiny(digits, **settings)).train
    return found.micro_batch, found.micro_batch_g


def same_state(one: AdversarialStep, other: AdversarialStep) -> bool:
    """To the last bit, and nothing in it is without content."""
    ours, theirs = state(one), state(other)
    assert not any(isinstance(value, FakeTensor) for value in (*ours.values(), *theirs.values()))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def needed(digits: PackedDataset, **settings: object) -> int:
    step = tiny(digits, **settings)
    return peak_memory(step, step.d.micro_batch, step.g.micro_batch)


STYLES = {"net": "stylegan2", "net__latent": 8, "net__g": {"width": 8}, "net__d": {"width": 8}}
FAMILIES: dict[str, dict[str, Any]] = {
    "dcgan": {"train__batch": 64, "train__micro_batch": 16},
    "dcgan, batch norm": {"net__d__norm": "batch", "penalties": {}},
    "dcgan, spectral norm": {"net__d__norm": "spectral", "augment": {"name": "ada", "p": 0.5}},
    "mlp": {"net": "mlp", "net__g": {}, "net__d": {}, "net__latent": 64},
    "resnet": {"net": "resnet", "net__g": {"width": 8}, "net__d": {"width": 8}, "penalties": {}},
    "r3gan": {"net": "r3gan", "loss": "relativistic", "net__g": {"width": 8}, "net__d": {"width": 8}},
    "stylegan2": {**STYLES, "penalties": {"r1": {"weight": 1}, "path_length": {"weight": 2}}},
    "recomputed": {**STYLES, "train__recompute": True},
}


def test_what_is_freed_is_not_counted_and_what_shares_memory_once() -> None:
    with AllocationCounter() as counter:
        for _ in range(10):
            a = torch.zeros(MIB, dtype=torch.uint8)
            a.view(2, -1)[0].add_(1)
            del a
    assert counter.peak == MIB


@pytest.mark.parametrize("family", FAMILIES)
def test_an_estimate_is_what_a_step_counts_and_leaves_it_as_it_was(digits: PackedDataset, family: str) -> None:
    """Though it is made of tensors without content; with a penalty, accumulation and an augmentation.

    The networks serve for measuring the speed afterwards: the same step then comes out to the last bit.
    """
    asked, other = tiny(digits, **FAMILIES[family]), tiny(digits, **FAMILIES[family])
    estimated = peak_memory(asked, asked.d.micro_batch, asked.g.micro_batch)
    with AllocationCounter() as counter:
        other.advance(measure=True)
    assert estimated == pytest.approx(counter.peak / memory.COUNTED, rel=0.02)
    asked.advance(measure=True)
    assert same_state(asked, other)


# Whatever the network, the sizes are put back by the same lines: one with accumulation and one with buffers suffice.
@pytest.mark.parametrize("family", ["dcgan", "dcgan, batch norm"])
def test_an_estimate_of_other_micro_batches_leaves_the_step_as_it_was(digits: PackedDataset, family: str) -> None:
    asked, other = tiny(digits, **FAMILIES[family]), tiny(digits, **FAMILIES[family])
    peak_memory(asked, 2, 2)
    for step in (asked, other):
        step.advance(measure=True)
    assert same_state(asked, other)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory a process had at most")
@pytest.mark.parametrize("recipe", ["dcgan-32", "r3gan-32-small"])
def test_what_is_counted_is_about_what_the_process_takes(recipe: str) -> None:
    script = f"""
import torch
from pathlib import Path
from stepping import Noise, make
from ganloom.config import Config, recipe_values
from ganloom.core.allocations import AllocationCounter
from ganloom.core.shapes import ImageShape

def status(key):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024

torch.set_num_threads(2)
def step(batch):
    config = Config.build(recipe_values({recipe!r}), {{"data.size": 32, "train.batch": batch}})
    make(config, Noise(ImageShape(3, 32, 32))).advance(measure=True)

step(2)  # what torch itself loads when it is first used
before = status("VmRSS")
step(128)
taken = status("VmHWM") - before
with AllocationCounter() as counter:
    step(128)
print(taken / counter.peak)
"""
    places = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    paths = os.pathsep.join([places, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 0.7 < float(done.stdout) < 1 / memory.COUNTED + 0.2


def test_what_fits_is_left_alone(digits: PackedDataset) -> None:
    assert fitted(digits) == (32, 32)


def test_a_micro_batch_beyond_the_memory_is_refused_with_one_that_fits(
    digits: PackedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = int(needed(digits, train__batch=512, train__micro_batch=128) * 1.01)
    monkeypatch.setattr(memory, "free_memory", lambda: free)
    with pytest.raises(ConfigError, match=r"are free: use --set train\.micro_batch=") as refused:
        fitted(digits, train__batch=512)
    fits = int(str(refused.value).split("train.micro_batch=")[1].split(" ")[0])
    assert fits == 128
    assert fitted(digits, train__batch=512, train__micro_batch=fits) == (fits, fits)


def test_processes_share_the_memory_of_their_machine(digits: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: int(needed(digits) * 1.5))
    assert fitted(digits) == (32, 32)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="are free"):
        fitted(digits)


def test_not_even_one_image(digits: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 100_000)
    with pytest.raises((ConfigError, RunError), match="smaller networks"):
        fitted(digits)


def test_refused_before_there_is_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 100_000)
    with pytest.raises((ConfigError, RunError)):
        ganloom.train(out=tmp_path / "run", device="cpu", settings=tiny_config().model_dump(mode="json"))
    assert not (tmp_path / "run").exists()


def test_the_command_line_says_it_without_a_traceback(tmp_path: Path) -> None:
    """In a process whose memory is really too small for it, as far as the system says."""
    script = "import ganloom.session.memory as f, ganloom.cli as c; f.free_memory = lambda: 3_000_000; c.main()"
    command = [sys.executable, "-c", script, "train", *tiny_flags(), "--device", "cpu", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_reckoned_is_not_refused(digits: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks whose form depends on numbers, as those that grow."""
    monkeypatch.setattr(memory, "free_memory", lambda: 1)
    settings = {"net": "progressive", "net__g": {"width": 8}, "net__d": {"width": 8}, "penalties": {}}
    assert fitted(digits, **settings) == (32, 32)


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_free_memory_is_the_least_of_the_machines_and_the_containers(tmp_path: Path) -> None:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    assert free_memory(proc, cgroup) is None
    write(proc, meminfo="MemTotal:  9000 kB\nMemFree:  1 kB\nMemAvailable:    4000 kB\n")
    assert free_memory(proc, cgroup) == 4000 * 1024
    write(cgroup, memory__max="max", memory__current="5", memory__stat="anon 1\ninactive_file 3\n")
    assert free_memory(proc, cgroup) == 4000 * 1024
    write(cgroup, memory__max="10000", memory__current="9000", memory__stat="anon 1\ninactive_file 500\n")
    assert free_memory(proc, cgroup) == 1500
    old = cgroup / "memory"
    write(old, memory__limit_in_bytes="700", memory__usage_in_bytes="600", memory__stat="total_inactive_file 50\n")
    assert free_memory(proc, cgroup) == 150
    write(old, memory__limit_in_bytes="100")
    assert free_memory(proc, cgroup) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say")
def test_this_machine_says_how_much_is_free() -> None:
    free = free_memory()
    assert free is not None and 2**26 < free < 2**46
