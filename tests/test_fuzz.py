"""A few hundred damaged files for each reader; `scripts/fuzz` reads them for as long as you like."""

import warnings
from pathlib import Path

import pytest

import fuzzing

INPUTS = 60


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzzing.TARGETS)
def test_damaged_files_raise_nothing_but_messages(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow and pydicom warn of much in damaged files
        fuzzing.prepare(name, tmp_path / "good")
        for seed in range(INPUTS):
            fuzzing.attempt(name, tmp_path / "good", tmp_path / "changed", seed)


def test_a_reader_that_raises_anything_else_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(folder: Path) -> None:
        if (folder / "x").read_bytes() != b"good":
            raise KeyError("labels")

    target = fuzzing.Target(lambda folder: (folder / "x").write_bytes(b"good") and None, fails)
    monkeypatch.setitem(fuzzing.TARGETS, "bad", target)
    fuzzing.prepare("bad", tmp_path / "good")
    with pytest.raises(KeyError):
        for seed in range(20):
            fuzzing.attempt("bad", tmp_path / "good", tmp_path / "changed", seed)
