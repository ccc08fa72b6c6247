"""Extractors by name, by file, and the user's own."""

import os
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.core.errors import ConfigError, ModelError
from ganloom.metrics import extractors

IMAGES = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
MEANS = IMAGES.float().mean((2, 3))  # what the networks of these tests answer with


class Means(nn.Module):
    """The mean of each channel, and the same as logits if asked for."""

    def __init__(self, logits: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        means = x.mean((2, 3)) * self.scale
        return (means, means + 1) if self.logits else means


def traced(path: Path, logits: bool = False) -> Path:
    torch.jit.trace(Means(logits), torch.zeros(1, 3, 8, 8)).save(str(path))
    return path


def exported(path: Path, batch: str | int = "N", size: str | int | None = None) -> Path:
    """An ONNX model that does what `Means` does."""
    import onnx
    from onnx import TensorProto, helper

    shape = [batch, 3, size or "H", size or "W"]
    entry = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    answer = helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("ReduceMean", ["images", "axes"], ["features"], keepdims=0)
    graph = helper.make_graph([node], "means", [entry], [answer], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    return path


def written(path: Path, answer: str) -> str:
    """A file with a callable `mine`, whose extractor gives `answer`, an expression of the images x."""
    path.write_text(f"import torch\n\ndef mine():\n    return lambda x: {answer}\n\nnumber = 3\n")
    return f"{path}:mine"


@pytest.mark.parametrize("name", ["inceptoin", "inception3", "loomnet"])
def test_an_unknown_name_is_refused_with_the_nearest_and_the_custom_forms(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown extractor '{name}'\. (Did you mean '|Known: ).*module:callable"):
        extractors.find(name)


def test_weights_go_only_to_extractors_that_take_them(tmp_path: Path) -> None:
    for name in ("loomnet-1", str(traced(tmp_path / "net.pt")), "math:sqrt"):
        with pytest.raises(ConfigError, match=r"--weights is for inception, inception-clean and dinov2"):
            extractors.find(name, tmp_path / "weights.pth")


def test_a_torchscript_file_is_an_extractor_named_after_the_file(tmp_path: Path) -> None:
    path = traced(tmp_path / "means.pt")
    extractor = extractors.find(str(path))
    assert (extractor.id, extractor.resize) == ("means", "none")
    assert extractor.weights == sha256(path.read_bytes()).hexdigest()
    assert not extractor.training and not any(parameter.requires_grad for parameter in extractor.parameters())
    features, logits = extractor(IMAGES)
    assert torch.allclose(features, MEANS) and logits is None
    assert features.dtype == torch.float32


def test_features_may_come_with_logits(tmp_path: Path) -> None:
    features, logits = extractors.find(str(traced(tmp_path / "means.pt", logits=True)))(IMAGES)
    assert logits is not None and torch.allclose(logits, features + 1)


def test_an_onnx_file_is_an_extractor_named_after_the_file(tmp_path: Path) -> None:
    path = exported(tmp_path / "means.onnx")
    extractor = extractors.find(str(path))
    assert (extractor.id, extractor.resize) == ("means", "none")
    assert extractor.weights == sha256(path.read_bytes()).hexdigest()
    assert torch.allclose(extractor(IMAGES).features, MEANS)


def test_an_onnx_model_of_one_size_gets_its_images_resized_and_one_of_batch_one_gets_them_singly(
    tmp_path: Path,
) -> None:
    extractor = extractors.find(str(exported(tmp_path / "means.onnx", batch=1, size=5)))
    assert extractor.resize == "bilinear-5x5"
    expected = F.interpolate(IMAGES.float(), (5, 5), mode="bilinear", antialias=True).mean((2, 3))
    assert torch.allclose(extractor(IMAGES).features, expected)


def test_an_onnx_model_of_another_batch_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"only takes batches of 4: export it with a dynamic first dimension"):
        extractors.find(str(exported(tmp_path / "means.onnx", batch=4)))


def test_weights_beside_an_onnx_file_belong_to_its_hash(tmp_path: Path) -> None:
    path = exported(tmp_path / "means.onnx")
    (tmp_path / "means.onnx.data").write_bytes(b"1")
    first = extractors.find(str(path)).weights
    (tmp_path / "means.onnx.data").write_bytes(b"2")
    assert extractors.find(str(path)).weights != first


def test_without_onnxruntime_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = exported(tmp_path / "means.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"pip install 'ganloom\[onnx\]'"):
        extractors.find(str(path))


@pytest.mark.parametrize("ending", [".pt", ".pth", ".ts", ".onnx"])
def test_a_file_that_is_missing_or_something_else_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"net{ending}"
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        extractors.find(str(path))
    path.write_bytes(b"hello")
    with pytest.raises(ModelError, match=r"net\.\w+ is not (a TorchScript file|an ONNX model)"):
        extractors.find(str(path))
    if ending != ".onnx":
        torch.save(Means().state_dict(), path)
        with pytest.raises(ModelError, match="--extractor inception --weights FILE"):
            extractors.find(str(path))


def test_a_callable_of_a_file_is_called_once_and_returns_the_extractor(tmp_path: Path) -> None:
    extractor = extractors.find(written(tmp_path / "encoders.py", "x.mean((2, 3))"))
    assert (extractor.id, extractor.resize) == ("mine", "none")
    assert extractor.weights == sha256((tmp_path / "encoders.py").read_bytes()).hexdigest()
    assert torch.allclose(extractor(IMAGES).features, MEANS)


def test_a_callable_of_a_module_is_found_where_python_finds_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "ganloom_test_encoders.py", "x.mean((2, 3)).numpy()")
    monkeypatch.syspath_prepend(tmp_path)
    assert torch.allclose(extractors.find("ganloom_test_encoders:mine")(IMAGES).features, MEANS)


def test_a_custom_extractor_gets_rgb_levels_as_floats_that_it_may_overwrite(tmp_path: Path) -> None:
    extractor = extractors.find(written(tmp_path / "encoders.py", "x.div_(2).flatten(1)"))
    grey = IMAGES[:, :1].float()
    features = extractor(grey).features
    assert features.shape == (3, 192) and features.max() > 100
    assert torch.equal(grey, IMAGES[:, :1].float())


def test_a_callable_may_return_an_extractor_that_names_itself(tmp_path: Path) -> None:
    (tmp_path / "encoders.py").write_text(
        "from ganloom.metrics.extractors.contract import Extractor, Outputs\n\n"
        "class Mine(Extractor):\n    id, weights, resize = 'mine-2', 'abc', 'none'\n\n"
        "    def forward(self, images):\n        return Outputs(images.float().mean((2, 3)), None)\n"
    )
    extractor = extractors.find(f"{tmp_path}/encoders.py:Mine")
    assert extractor.id == "mine-2" and not extractor.training


def test_the_hash_of_an_extractor_that_names_itself_is_computed(tmp_path: Path) -> None:
    """From its code and what it says of its weights: what it says alone would be believed after a change."""
    text = (
        "from ganloom.metrics.extractors.contract import Extractor, Outputs\n\n"
        "class Mine(Extractor):\n    id, weights, resize = 'mine-2', 'abc', 'none'\n\n"
        "    def forward(self, images):\n        return Outputs(images.float().mean((2, 3)), None)\n"
    )
    hashes = set()
    for changed in (text, text.replace("abc", "abd"), text.replace("mean", "amax")):
        (tmp_path / "encoders.py").write_text(changed)
        extractor = extractors.find(f"{tmp_path}/encoders.py:Mine")
        assert not extractor.is_pinned
        hashes.add(extractor.weights)
    assert len(hashes) == 3


@pytest.mark.parametrize("id", ["inception", "loomnet-1"])
def test_a_custom_extractor_cannot_take_the_id_of_a_built_in_one(tmp_path: Path, id: str) -> None:
    (tmp_path / "encoders.py").write_text(
        "from ganloom.metrics.extractors.contract import Extractor\n\n"
        f"class Mine(Extractor):\n    id, weights, resize = '{id}', 'abc', 'none'\n"
    )
    for name in (str(traced(tmp_path / f"{id}.pt")), f"{tmp_path}/encoders.py:Mine"):
        with pytest.raises(ConfigError, match=f"'{id}' is a built-in extractor"):
            extractors.find(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:mine", "cannot import 'no_such_module'"),
        ("no_such_file.py:mine", "there is no file no_such_file.py"),
        ("{file}:mien", "has no callable 'mien'. Did you mean 'mine'?"),
        ("{file}:number", "has no callable 'number'"),
        ("{file}:three", "returns something of type int, but should return the extractor"),
    ],
)
def test_a_callable_that_does_not_exist_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    file = tmp_path / "encoders.py"
    written(file, "x")
    file.write_text(f"{file.read_text()}\ndef three():\n    return 3\n")
    with pytest.raises(ConfigError) as caught:
        extractors.find(name.format(file=file))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("x", r"returns shape \[3, 3, 8, 8\], where \[3, D\] is expected"),
        ("x.mean()", r"returns shape \[\], where \[3, D\]"),
        ("x[:2].mean((2, 3))", r"returns shape \[2, 3\], where \[3, D\]"),
        ("(x.mean((2, 3)), x)", r"shape \[3, 3\] and \[3, 3, 8, 8\], where"),
        ("(x, x, x)", "not 3 values"),
        ("'hello'", "not something of type str"),
        ("x.mean((2, 3)) / 0", "values that are not finite"),
        ("torch.ones(3, 2) @ torch.ones(3, 2)", r"mine fails on images of shape \[3, 3, 8, 8\]: mat1 and mat2"),
    ],
)
def test_an_output_of_another_form_is_an_error_and_never_a_number(tmp_path: Path, answer: str, message: str) -> None:
    extractor = extractors.find(written(tmp_path / "encoders.py", answer))
    with pytest.raises(ModelError, match=message):
        extractor(IMAGES)


def test_a_file_that_cannot_take_the_images_says_which(tmp_path: Path) -> None:
    torch.jit.trace(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), torch.zeros(1, 3, 4, 4)).save(
        str(tmp_path / "net.pt")
    )
    for path in (tmp_path / "net.pt", exported(tmp_path / "net.onnx", size=None)):
        images = IMAGES if path.suffix == ".pt" else IMAGES[:, :2]
        with pytest.raises(
            ModelError, match=r"net fails on images of shape \[3, [23], 8, 8\]: .*(mat1 and mat2|Got: 2 Expected: 3)"
        ):
            extractors.find(str(path))(images)


def test_out_of_memory_is_passed_on_to_the_caller_who_can_use_fewer_images(tmp_path: Path) -> None:
    name = written(tmp_path / "encoders.py", '(_ for _ in ()).throw(RuntimeError("can\'t allocate memory"))')
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        extractors.find(name)(IMAGES)


def test_features_of_custom_code_are_not_cached(tmp_path: Path) -> None:
    """A module's class may lie in another file, which may change. This one has no weights either."""
    (tmp_path / "encoders.py").write_text("import torch\ndef mine():\n    return torch.nn.Flatten()\n")
    assert not extractors.find(f"{tmp_path / 'encoders.py'}:mine").is_pinned
    assert extractors.find("loomnet-1").is_pinned


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_no_extractor(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ConfigError, match=r"is not a file, but a folder, pipe or device: name a \.pt or \.onnx"):
            extractors.find(str(place))
