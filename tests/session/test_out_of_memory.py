"""Memory that does not suffice: the same samples in smaller micro-batches, and the run says so."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganloom
from comparison import assert_same_run
from conftest import tiny_config
from ganloom.core.errors import RunError
from ganloom.core.memory import is_out_of_memory
from ganloom.data.packed import PackedDataset
from ganloom.guard.signals import Probe
from ganloom.nets import dcgan
from ganloom.runs import open_folder
from ganloom.session import memory, preflight
from ganloom.tracking.jsonl import read_log
from stepping import same, state, tiny, weights

pytestmark = pytest.mark.slow

MOST = 8  # images that fit
WORDS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
}


@pytest.fixture(params=WORDS)
def small_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """D bears at most 8 images at once; the list has how many it was given."""
    forward: Callable[..., Any] = dcgan.Discriminator.forward
    seen: list[int] = []

    def limited(self: dcgan.Discriminator, x: Tensor, y: Tensor | None) -> Any:
        seen.append(len(x))
        if len(x) > MOST:
            raise WORDS[request.param]
        return forward(self, x, y)

    monkeypatch.setattr(dcgan.Discriminator, "forward", limited)
    yield seen


def test_what_torch_says_of_memory_is_told_from_other_faults() -> None:
    assert all(is_out_of_memory(error) for error in WORDS.values())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert not is_out_of_memory(OSError(errno.ENOSPC, "No space left on device"))


def test_a_step_without_memory_becomes_the_step_of_smaller_micro_batches(
    digits: PackedDataset, small_memory: list[int]
) -> None:
    """To the bit, also where the first attempt has drawn, moved and judged before it failed."""
    settings = {"net__d": {"width": 8, "norm": "spectral"}, "augment": {"name": "ada", "p": 0.5, "kimg": 1}}
    failing, small = tiny(digits, **settings), tiny(digits, train__micro_batch=MOST, **settings)
    for _ in range(3):
        failing.advance(measure=True)
        small.advance(measure=True)
    assert failing.halved and failing.d.micro_batch == failing.g.micro_batch == MOST
    assert max(small_memory) == 32
    ours, theirs = state(failing), state(small)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_memory_that_runs_out_in_the_middle_of_an_update_leaves_no_trace(
    digits: PackedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second micro-batch of G's step of the third step: gradients are there already, D has learned already."""
    failing, small = (tiny(digits, train__micro_batch=16, augment={"name": "ada", "kimg": 1}) for _ in range(2))
    for _ in range(2):
        failing.advance(measure=False)
        small.advance(measure=False)
    small.discriminator_step()
    small.g.micro_batch = small.g.half
    small.generator_step()
    calls = iter([False, True, *[False] * 100])
    judge = failing.judge

    def fails_once(images: Tensor, y: Tensor | None) -> Any:
        if next(calls):
            raise WORDS["cuda"]
        return judge(images, y)

    generator_step = failing.generator_step

    def patched(*, measure: bool) -> Any:
        monkeypatch.setattr(failing, "judge", fails_once)
        return generator_step(measure=measure)

    monkeypatch.setattr(failing, "generator_step", patched)
    failing.advance(measure=False)
    assert (failing.d.micro_batch, failing.g.micro_batch) == (16, 8)
    assert failing.nimg == small.nimg and same(weights(failing), weights(small))


def test_memory_that_lacks_once_weights_have_moved_is_no_matter_of_micro_batches(
    digits: PackedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the optimizer, or in the average after it: the same update once more would be another one."""

    def lacks(*_: object) -> None:
        raise WORDS["cuda"]

    for place in ("g.optimizer.step", "ema.update", "health.observe"):
        step = tiny(digits)
        step.advance(measure=False)
        *path, name = place.split(".")
        part = getattr(step, path[0])
        monkeypatch.setattr(part.optimizer if "optimizer" in path else part, name, lacks)
        with pytest.raises(torch.OutOfMemoryError):
            step.advance(measure=False)
        assert not step.halved


def test_memory_that_lacks_in_a_look_ends_the_run_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(*_: object) -> None:
        raise WORDS["cuda"]

    monkeypatch.setattr(Probe, "measure", lacks)
    settings = tiny_config(guard__every="300 images", guard__n=60).model_dump(mode="json")
    with pytest.raises(RunError, match=r"guard\.n"):
        ganloom.train(out=tmp_path / "run", device="cpu", settings=settings)


def test_one_image_that_does_not_fit_is_an_error(digits: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: dcgan.Discriminator, x: Tensor, y: Tensor | None) -> Any:
        raise WORDS["cuda"]

    monkeypatch.setattr(dcgan.Discriminator, "forward", never)
    with pytest.raises(torch.OutOfMemoryError):
        tiny(digits).advance(measure=False)


def test_other_errors_are_not_swallowed(digits: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: dcgan.Discriminator, x: Tensor, y: Tensor | None) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(dcgan.Discriminator, "forward", wrong)
    step = tiny(digits)
    with pytest.raises(RuntimeError, match="mat1"):
        step.advance(measure=False)
    assert step.d.micro_batch == 32


def test_what_does_not_fit_is_found_out_before_there_is_a_run(
    digits: PackedDataset, small_memory: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device that says so itself; where the system would kill the process, see test_fit_memory.py."""
    monkeypatch.setattr(preflight, "fit_memory", memory.retried_smaller)
    run = ganloom.train(out=tmp_path / "run", device="cpu", settings=tiny_config().model_dump(mode="json")).folder
    train = open_folder(run.path).config.train
    assert (train.batch, train.micro_batch, train.micro_batch_g) == (32, MOST, MOST)
    assert run.changes == []


def test_the_run_goes_on_and_remembers_what_fitted(
    digits: PackedDataset, small_memory: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others have taken memory since: it ends as with those micro-batches from the start, but says more."""
    monkeypatch.setattr(preflight, "fit_memory", lambda step: step.config)
    settings = {"sample__every": "0 images", "log__every": "0 images"}
    values = tiny_config(**settings).model_dump(mode="json")
    failing = ganloom.train(out=tmp_path / "failing", device="cpu", settings=values).folder
    assert open_folder(failing.path).config.train.micro_batch == MOST
    assert [change.reason for change in failing.changes][-1] == "out of memory"
    events = [row for row in read_log(failing.log) if row.get("event") == "out of memory"]
    assert events and "learns a little differently" in events[-1]["text"]
    rows = failing.log.read_text().splitlines(keepends=True)
    failing.log.write_text("".join(row for row in rows if "event" not in row))
    values = tiny_config(train__micro_batch=MOST, **settings).model_dump(mode="json")
    small = ganloom.train(out=tmp_path / "small", device="cpu", settings=values).folder
    assert_same_run(failing.path, small.path)
    before = len(small_memory)
    ganloom.resume(failing.path, device="cpu", length="1200 images")
    assert max(small_memory[before:]) == MOST
