"""Pages of stacks and frames of animations: left out and said, or taken as one image each."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import encoded, entries, noise, prepared, rows, skipped, write
from PIL import Image

from ganloom.api.images import remarks
from ganloom.config import Reading
from ganloom.data.inspect import inspect
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.sources import find

PAGES = [noise(8, 8, 1, seed) for seed in range(4)]
KINDS = {
    "a.tif": {},
    "a.gif": {},
    "a.png": {},
    "a.webp": {"lossless": True},
}


def stack(path: Path, **options: Any) -> None:
    first, *others = [Image.fromarray(page) for page in PAGES]
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, save_all=True, append_images=others, **options)


@pytest.mark.parametrize("name", KINDS)
def test_pages_after_the_first_are_left_out_and_said(tmp_path: Path, name: str) -> None:
    stack(tmp_path / "in" / name, **KINDS[name])
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert np.array_equal(rows(dataset)[..., 0], PAGES[:1])
    (line,) = [line for line in remarks(dataset) if line.startswith("frames")]
    assert "1 file has several pages" in line and "3 were left out" in line and "--frames all" in line
    assert [text for topic, text in inspect(find(str(tmp_path / "in"))).remarks if topic == "frames"]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("archived", [False, True], ids=["folder", "archive"])
def test_all_frames_are_one_image_each(tmp_path: Path, name: str, archived: bool) -> None:
    stack(tmp_path / "in" / name, **KINDS[name])
    write(tmp_path / "in" / "single.png", encoded(noise(8, 8, 1, 9)))
    given = tmp_path / "in"
    if archived:
        given = tmp_path / "in.zip"
        with zipfile.ZipFile(given, "w") as archive:
            for path in sorted((tmp_path / "in").iterdir()):
                archive.write(path, path.name)
    dataset = prepare(
        find(Reading(source=str(given), frames="all")), Preprocessing(), Selection(holdout=0), tmp_path / "o"
    )
    assert np.array_equal(rows(dataset)[..., 0], [*PAGES, noise(8, 8, 1, 9)])
    assert [entry["file"] for entry in entries(dataset)] == [*(f"{name}#{number}" for number in range(4)), "single.png"]
    assert not [line for line in remarks(dataset) if line.startswith("frames")]


def test_frames_of_one_file_are_a_group(tmp_path: Path) -> None:
    stack(tmp_path / "a.tif")
    assert {item.group for item in find(Reading(source=str(tmp_path), frames="all")).items()} == {"a.tif"}


def test_a_damaged_frame_is_skipped_with_its_reason(tmp_path: Path) -> None:
    stack(tmp_path / "in" / "a.gif")
    content = (tmp_path / "in" / "a.gif").read_bytes()
    (tmp_path / "in" / "a.gif").write_bytes(content[: len(content) * 5 // 8])
    reading = Reading(source=str(tmp_path / "in"), frames="all")
    dataset = prepare(find(reading), Preprocessing(), Selection(holdout=0), tmp_path / "out", max_skipped=1)
    assert np.array_equal(rows(dataset)[..., 0], PAGES[: dataset.count()]) and 1 <= dataset.count() < 4
    assert len(skipped(dataset)) <= 1
    assert prepared(tmp_path / "in", tmp_path / "first").count() == 1  # the first frame alone is sound


def test_previews_in_a_jpeg_are_no_frames(tmp_path: Path) -> None:
    """Phones and 3-D cameras write them."""
    first, *others = [Image.fromarray(page).convert("RGB") for page in PAGES]
    out = io.BytesIO()
    first.save(out, "MPO", save_all=True, append_images=others)
    write(tmp_path / "in" / "a.jpg", out.getvalue())
    assert len(list(find(Reading(source=str(tmp_path / "in"), frames="all")).items())) == 1
    assert not [line for line in remarks(prepared(tmp_path / "in", tmp_path / "out")) if line.startswith("frames")]
