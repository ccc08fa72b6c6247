"""Change any one byte of any input of an evaluation: the score or its provenance changes, or an error says so.

Both may stay the same only where the byte says nothing, and each input has a function that decides it:

- of an image: the decoded pixels are the same (checksums of other chunks, texts, the level of compression);
- of a zip: names and contents of its members are the same (dates, padding, version numbers);
- of an .npy file: the array is the same (spaces that pad the header);
- of JSON: the values are the same (spaces, line breaks);
- files.jsonl of a packed dataset: images, splits and labels come from the shards, so only which entries have which
  split matters, and only if the dataset is prepared in another form;
- config.yaml and run.json of a run: all but the settings of the images, their hash, and what is no setting at all;
- what ganloom stores in its cache and can compute again: then the file is replaced, and has its old content afterwards.
"""

import io
import itertools
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small import SIDE, make_run, save_images, save_model

import ganloom
from ganloom.core.errors import GanloomError, ModelError
from ganloom.metrics.extractors import loomnet
from ganloom.metrics.scores import Score, read_scores

HEAD = 192  # bytes at the start of a file in which every fifth is tried: there is its header
SAMPLES = 16  # places over the whole file
MOMENTS = itertools.count(10**18, 10**6)  # in nanoseconds: every change of a file has a time of its own

Outcome = tuple[Any, ...]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANLOOM_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_images(tmp_path_factory.mktemp("images") / "images", 1)


@pytest.fixture(scope="module")
def packed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "packed"
    ganloom.prepare(images, path, holdout=0.3)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model.safetensors")


class Some(torch.nn.Module):
    """Six of the pixels as features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, ::2, ::2].flatten(1)[:, :6]


@pytest.fixture(scope="module", autouse=True)
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("extractor") / "some.pt"
    torch.jit.script(Some()).save(str(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_EXTRACTOR", str(path))
        yield path


def measured(target: Path, data: Path | str | None = None, **options: Any) -> Outcome:
    """Values and provenance of the scores; the error where there is one."""
    options.setdefault("extractor", os.environ["TEST_EXTRACTOR"])  # small, and so quick
    try:
        scores = ganloom.evaluate(target, data, metrics="fd", n=50, device="cpu", **options)
    except GanloomError as error:
        return "refused", str(error)
    return tuple(said_by(scores))


def said_by(scores: Any) -> Iterator[Score]:
    yield from (score.model_copy(update={"created": ""}) for score in scores)


def places(size: int, seed: int) -> list[int]:
    """In the header, over the whole file, and at its end, where zips and shards keep tables and the last pixels."""
    draw = random.Random(seed)
    spread = [int((step + draw.random()) * size / SAMPLES) for step in range(SAMPLES)]
    return sorted({*range(draw.randrange(5), min(HEAD, size), 5), *spread, *range(max(0, size - 8), size)})


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    moment = next(MOMENTS)
    os.utime(path, ns=(moment, moment))


def check(path: Path, measure: Callable[[], Any], says_the_same: Callable[[bytes, bytes], bool], most: int = 0) -> int:
    """Change bytes of a file one after the other. Returns how many changes had an effect."""
    before, usual = path.read_bytes(), measure()
    assert usual[0] != "refused", usual
    seed = sum(path.name.encode())
    tried = places(len(before), seed)
    tried = random.Random(seed).sample(tried, most) if 0 < most < len(tried) else tried
    effects = 0
    try:
        for place in tried:
            bit = 1 << random.Random(place).randrange(8)
            after = before[:place] + bytes([before[place] ^ bit]) + before[place + 1 :]
            write(path, after)
            outcome = measure()
            if outcome != usual:
                effects += 1
            elif path.read_bytes() == before:
                effects += 1  # ganloom's own copy, which it has made again
            else:
                assert says_the_same(before, after), f"byte {place} of {path.name} ({bit:#x}) changed nothing"
    finally:
        write(path, before)
    assert measure() == usual
    assert effects, f"no change of {path.name} had an effect"
    return effects


def never(before: bytes, after: bytes) -> bool:
    return False


def same_pixels(before: bytes, after: bytes) -> bool:
    def pixels(data: bytes) -> bytes:
        with Image.open(io.BytesIO(data)) as image:
            return f"{image.mode} {image.size}".encode() + image.tobytes()

    return pixels(before) == pixels(after)


def same_members(before: bytes, after: bytes) -> bool:
    def members(data: bytes) -> list[tuple[str, bytes]]:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(info.filename, archive.read(info)) for info in archive.infolist()]

    return members(before) == members(after)


def same_array(before: bytes, after: bytes) -> bool:
    a, b = (np.load(io.BytesIO(data)) for data in (before, after))
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def same_values(before: bytes, after: bytes) -> bool:
    return bool(json.loads(before) == json.loads(after))


def same_entries(before: bytes, after: bytes) -> bool:
    a, b = ([json.loads(line).get("split") for line in data.splitlines()] for data in (before, after))
    return a == b


# The images


@pytest.mark.parametrize("name", ["a/00.png", "b/01.jpg", "b/03.png"])
def test_of_a_folder_of_real_images(images: Path, model: Path, name: str) -> None:
    check(images / name, lambda: measured(model, images), same_pixels, most=16)


def test_of_a_folder_of_generated_images(images: Path, tmp_path: Path) -> None:
    made = save_images(tmp_path / "made", 2)
    check(made / "a" / "02.png", lambda: measured(made, images), same_pixels, most=12)


@pytest.mark.slow
def test_of_an_archive_of_images(images: Path, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(images.rglob("*.*")):
            archive.write(file, file.relative_to(images))
    check(path, lambda: measured(model, path), same_members, most=24)


OF_PACKED = {
    "dataset.json": same_values,
    "train-00000.npy": same_array,
    "val-00000.npy": same_array,
    "train-labels.npy": same_array,
    "val-labels.npy": same_array,
}


@pytest.mark.parametrize("name", OF_PACKED)
def test_of_every_file_of_a_packed_dataset(packed: Path, model: Path, name: str) -> None:
    check(packed / name, lambda: measured(model, packed), OF_PACKED[name])


@pytest.mark.slow
def test_of_the_list_of_files_of_a_packed_dataset_that_is_prepared_again(
    packed: Path, tmp_path: Path, cache: Path
) -> None:
    """An evaluation at its own size does not read the list."""
    made = save_images(tmp_path / "made", 3)

    def at_another_size() -> Outcome:
        shutil.rmtree(cache, ignore_errors=True)
        return measured(made, packed, size=4)

    check(packed / "files.jsonl", at_another_size, same_entries, most=14)


def test_every_file_of_a_packed_dataset_is_known(packed: Path) -> None:
    assert {path.name for path in packed.iterdir()} == {*OF_PACKED, "files.jsonl"}


# The model and the extractor


def test_of_a_model(packed: Path, model: Path) -> None:
    check(model, lambda: measured(model, packed), never)


def test_of_the_weights_of_the_built_in_extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "loomnet-1.safetensors"
    shutil.copy(Path(loomnet.__file__).parent / file.name, file)
    monkeypatch.setattr(loomnet.resources, "files", lambda package: tmp_path)

    def loaded() -> tuple[str]:
        try:
            return (loomnet.load().weights,)
        except ModelError:
            return ("refused",)

    check(file, loaded, never)


def test_of_a_torchscript_extractor(packed: Path, model: Path, extractor: Path) -> None:
    check(extractor, lambda: measured(model, packed, extractor=str(extractor)), never, most=40)


def test_of_the_code_of_an_extractor(packed: Path, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def means():\n    return lambda x: x.flatten(1)[:, :6]  # of some pixels\n")
    check(path, lambda: measured(model, packed, extractor=f"{path}:means"), never)


def test_of_an_onnx_extractor_and_of_the_weights_that_it_names(packed: Path, model: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "net.onnx"
    float32 = onnx.TensorProto.FLOAT
    entry = onnx.helper.make_tensor_value_info("images", float32, ["N", 3, SIDE, SIDE])
    answer = onnx.helper.make_tensor_value_info("features", float32, ["N", 6])
    weights = np.random.default_rng(0).normal(size=(3 * SIDE * SIDE, 6)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Flatten", ["images"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "weights"], ["features"]),
    ]
    graph = onnx.helper.make_graph(nodes, "net", [entry], [answer], [onnx.numpy_helper.from_array(weights, "weights")])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save_model(made, str(path), save_as_external_data=True, location="elsewhere.bin", size_threshold=0)
    for file in (path, tmp_path / "elsewhere.bin"):
        check(file, lambda: measured(model, packed, extractor=str(path)), never, most=25)


# What ganloom stores itself


def test_of_cached_features(packed: Path, model: Path, cache: Path) -> None:
    shutil.rmtree(cache, ignore_errors=True)
    measured(model, packed)
    (file,) = (cache / "features").iterdir()
    check(file, lambda: measured(model, packed), never, most=40)


def test_of_the_record_of_what_was_verified(packed: Path, model: Path, cache: Path) -> None:
    shutil.rmtree(cache, ignore_errors=True)
    measured(model, packed)
    (file,) = (cache / "verified").iterdir()
    check(file, lambda: measured(model, packed), same_values, most=40)


@pytest.mark.slow
def test_of_the_copy_of_a_folder_in_the_cache(images: Path, model: Path, cache: Path) -> None:
    shutil.rmtree(cache, ignore_errors=True)
    measured(model, images)
    (copy,) = (path.parent for path in cache.glob("*/dataset.json"))
    for name, says_the_same in OF_PACKED.items():
        check(copy / name, lambda: measured(model, images), says_the_same, most=7)


def test_of_stored_scores(packed: Path, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    measured(model, packed, out=path)

    def read() -> Outcome:
        try:
            return tuple(read_scores(path))
        except GanloomError:
            return ("refused",)

    check(path, read, same_values)


# A run


@pytest.fixture(scope="module")
def run(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "run", packed)


@pytest.mark.parametrize("name", ["model.safetensors", "best/model.safetensors"])
def test_of_the_models_of_a_run(run: Path, name: str) -> None:
    check(run / name, lambda: measured((run / name).parent), never, most=40)


def test_of_the_settings_of_a_run(run: Path) -> None:
    """All but those of the images say how the model was trained."""
    data = {"source", "size", "channels", "resize", "holdout", "group_by", "classes", "drop_duplicates"}

    def same_images(before: bytes, after: bytes) -> bool:
        configs = []
        for content in (before, after):
            (run / "other.yaml").write_bytes(content)
            configs.append(ganloom.Config.load(run / "other.yaml").data.model_dump(include=data))
        return bool(configs[0] == configs[1])

    check(run / "config.yaml", lambda: measured(run), same_images, most=60)


def test_of_what_a_run_knows_of_its_images(run: Path) -> None:
    def same_hash(before: bytes, after: bytes) -> bool:
        return bool(json.loads(before)["content_hash"] == json.loads(after)["content_hash"])

    check(run / "run.json", lambda: measured(run), same_hash)
