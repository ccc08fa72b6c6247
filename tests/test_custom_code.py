"""A custom network, loss and source of images: trained, resumed, saved in the model, and their errors reported."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import contributing
import ganloom
from comparison import log_of, state_of
from conftest import tiny_flags
from ganloom import nets, objectives
from ganloom.cli import app
from ganloom.config import Config
from ganloom.core import tensors
from ganloom.core.errors import ConfigError, GanloomError, ModelError, RunError
from ganloom.core.files import sha256
from ganloom.core.shapes import ImageShape
from ganloom.models import modelfile
from ganloom.runs import open_folder

ALL_CUSTOM = {"net": "./net.py", "loss": "./loss.py", "loss.margin": 0.5, "train.length": "96 images"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the three files of CONTRIBUTING.md."""
    assert contributing.write_files(tmp_path) == ["loss.py", "net.py", "rings.py"]
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three files and a run made with all of them."""
    folder = tmp_path_factory.mktemp("custom")
    contributing.write_files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train("./rings.py:60", **ALL_CUSTOM)
    return folder


@pytest.fixture
def copied(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, to be changed. The paths of the run lead into the copy."""
    shutil.copytree(trained, tmp_path / "custom")
    for name in ("config.yaml", "run.json"):
        file = tmp_path / "custom" / "run" / name
        file.write_text(file.read_text().replace(str(trained), str(tmp_path / "custom")))
    monkeypatch.chdir(tmp_path / "custom")
    return tmp_path / "custom"


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def train(*data: str, **settings: Any) -> str:
    return invoke("train", *data, "--out", "run", "--device", "cpu", *tiny_flags(**settings))


def changed(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{file.name} has no {old}"
    file.write_text(text.replace(old, new))


# Training.


def test_all_three_together_train(trained: Path) -> None:
    run = open_folder(trained / "run")
    assert run.config.net.name == str(trained / "net.py") and run.config.net.g == {"width": 8}
    assert run.config.loss.name == str(trained / "loss.py") and run.config.loss.options == {"margin": 0.5}
    assert run.config.data.source == f"{trained}/rings.py:60"
    assert run.facts.class_names == ["disc", "ring"] and run.facts.images + 3 >= 57
    rows = log_of(trained / "run")
    assert rows[0]["loss_d"] == pytest.approx(2 * 0.5, abs=0.3), "the margin did not reach the loss"


def test_the_run_keeps_each_file_and_its_hash(trained: Path) -> None:
    facts = json.loads((trained / "run" / "run.json").read_text())
    assert facts["code"] == {
        str(trained / name): sha256((trained / name).read_bytes()) for name in ("net.py", "loss.py", "rings.py")
    }
    for name in ("net.py", "loss.py", "rings.py"):
        assert (trained / "run" / "code" / name).read_bytes() == (trained / name).read_bytes()


@pytest.mark.slow
def test_a_custom_loss_trains_like_the_built_in_one_with_the_same_formula(here: Path) -> None:
    train(loss="loss.py", **{"train.length": "64 images"})
    invoke("train", "--out", "hinge", "--device", "cpu", *tiny_flags(loss="hinge", **{"train.length": "64 images"}))
    assert log_of(here / "run") == log_of(here / "hinge")
    header = modelfile.read_header(here / "run" / "model.safetensors")
    assert header.code is None and header.net == "dcgan", "the model holds code that it does not need"


def test_one_file_may_hold_all_three(here: Path) -> None:
    parts = [(here / name).read_text() for name in ("net.py", "loss.py", "rings.py")]
    (here / "all.py").write_text("\n".join(parts))
    train("all.py:40", net="all.py", loss="all.py", **{"train.length": "32 images"})
    assert list(open_folder(here / "run").facts.code) == [str(here / "all.py")]


def test_two_files_with_one_name_are_both_kept(here: Path) -> None:
    for name in ("net", "loss"):
        (here / name).mkdir()
        (here / f"{name}.py").rename(here / name / "mine.py")
    train(net="net/mine.py", loss="loss/mine.py", **{"train.length": "32 images", "data.labels": False})
    copies = [copy.read_text() for copy in (here / "run" / "code").iterdir()]
    assert sorted(copies) == sorted((here / name / "mine.py").read_text() for name in ("net", "loss"))


def test_a_recipe_may_name_files_from_the_working_folder_or_from_home(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here))
    (here / "recipes").mkdir()
    (here / "recipes" / "mine.yaml").write_text(
        "base: digits\ndata: {source: 'rings.py:40', labels: false}\nnet: {name: ./net.py, g: {width: 5}}\n"
        "loss: {name: ~/loss.py, margin: 2}\n"
    )
    flags = ["--set", "train.length=32 images", "--set", "evaluate.every=0 images"]
    invoke("train", "--recipe", "recipes/mine.yaml", "--out", "run", "--device", "cpu", *flags)
    config = open_folder(here / "run").config
    assert config.own_files == [str(here / name) for name in ("net.py", "loss.py", "rings.py")]
    assert config.net.g == {"width": 5} and config.data.source == f"{here}/rings.py:40"


@pytest.mark.slow
def test_the_report_names_the_code_by_its_hash(copied: Path) -> None:
    invoke("report", "run")
    page = (copied / "run" / "report.html").read_text()
    assert "images generated by net.py</h1>" in page
    assert f"{copied}/loss.py, sha256 {sha256((copied / 'loss.py').read_bytes())}" in page.replace("<wbr>", "")


# Resuming.


@pytest.mark.slow
def test_resume_is_bit_exact(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    invoke("resume", copied / "run", "--length", "192 images", "--device", "cpu")
    monkeypatch.chdir(copied)
    (copied / "run").rename(copied / "resumed")
    train("./rings.py:60", **{**ALL_CUSTOM, "train.length": "192 images"})
    resumed, whole = (state_of(copied / name) for name in ("resumed", "run"))
    assert resumed.keys() == whole.keys() and all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert (copied / "resumed/model.safetensors").read_bytes() == (copied / "run/model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["net.py", "loss.py", "rings.py"])
def test_resume_refuses_a_file_that_is_not_what_it_was(copied: Path, name: str) -> None:
    (copied / name).write_text((copied / name).read_text() + "# changed\n")
    with pytest.raises(RunError, match=rf"custom/{name} has changed since .* copy, .*run/code/{name}"):
        ganloom.resume(copied / "run", length="192 images", device="cpu")


def test_resume_says_where_the_copy_of_a_lost_file_lies(copied: Path) -> None:
    (copied / "net.py").unlink()
    with pytest.raises(RunError, match=r"there is no file .*custom/net\.py.*copy, .*run/code/net\.py") as caught:
        ganloom.resume("run", length="128 images", device="cpu")
    assert "run/config.yaml" in str(caught.value)
    shutil.copy("run/code/net.py", "net.py")
    ganloom.resume("run", length="128 images", device="cpu")


def test_a_run_resumes_with_its_file_in_another_folder(copied: Path) -> None:
    changed(copied / "run" / "config.yaml", f"{copied}/net.py", f"{copied}/run/code/net.py")
    (copied / "net.py").unlink()
    ganloom.resume("run", length="128 images", device="cpu")
    assert modelfile.read_header(copied / "run" / "model.safetensors").code is not None


def test_a_file_changed_while_its_run_starts_does_not_train(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that is recorded and the code that is trained are the same."""
    from ganloom.session import session

    assemble, calls = session.assemble, []

    def late(*arguments: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 1:  # after the file was read for the records
            changed(here / "net.py", "0.2", "0.3")
        return assemble(*arguments)

    monkeypatch.setattr(session, "assemble", lambda *arguments, **more: late(*arguments, *more.values()))
    with pytest.raises(RunError, match=r"net\.py has changed since"):
        train(net="./net.py", **{"train.length": "32 images", "data.labels": False})


# The model.


def test_one_file_is_enough_and_runs_only_with_the_flag(copied: Path, tmp_path: Path) -> None:
    before = ganloom.load("run", trust_code=True).sample(4)
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    (copied / "run" / "model.safetensors").rename(alone / "model.safetensors")
    digest = sha256((copied / "net.py").read_bytes())
    shutil.rmtree(copied)
    os.chdir(alone)
    for act in (
        lambda: ganloom.load("model.safetensors"),
        lambda: invoke("sample", "model.safetensors"),
    ):
        with pytest.raises(ModelError, match=rf"net\.py \(sha256 {digest}\).*trust.code"):
            act()
    assert not (alone / "grid.png").exists()
    assert torch.equal(ganloom.load("model.safetensors", trust_code=True).sample(4), before)
    invoke("sample", "model.safetensors", "--trust-code")
    assert (alone / "grid.png").exists()


def test_reading_a_header_runs_nothing(copied: Path) -> None:
    model = copied / "run" / "model.safetensors"
    replace_code(model, "raise SystemExit('it was run')\n", with_hash=True)
    assert "it was run" in str(modelfile.read_header(model).code)
    with pytest.raises(ModelError, match=r"trust.code"):
        ganloom.load(model)
    with pytest.raises(ModelError, match=r"cannot be rebuilt \(<net\.py, sha256 .*>, line 1: SystemExit: it was run"):
        ganloom.load(model, trust_code=True)


def test_code_with_a_wrong_hash_is_never_run(copied: Path) -> None:
    model = copied / "run" / "model.safetensors"
    replace_code(model, "raise SystemExit('it was run')\n", with_hash=False)
    for trust_code in (False, True):
        with pytest.raises(
            ModelError, match=r"header .* damaged \(the code of net\.py in it does not match its sha256"
        ):
            ganloom.load(model, trust_code=trust_code)


def test_a_header_cannot_name_a_file(copied: Path) -> None:
    model = copied / "run" / "model.safetensors"
    for net in ("net.py", str(copied / "net.py")):
        rewrite(model, {**header_of(model), "net": net, "code": None})
        with pytest.raises(ModelError, match=r"damaged \(it names .* but does not contain its code"):
            ganloom.load(model, trust_code=True)


def test_a_header_of_a_built_in_network_has_no_code(tmp_path: Path) -> None:
    G = nets.build_generator("mlp", ImageShape(1, 8, 8), 4, 0, {"width": 2})
    header = modelfile.Header(
        net="mlp", latent=4, options={"width": 2}, shape=(1, 8, 8), labels=False, class_names=[], training={}
    )
    modelfile.write(tmp_path / "model.safetensors", G, header)
    assert "code" not in header_of(tmp_path / "model.safetensors")
    assert modelfile.read(tmp_path / "model.safetensors")[1] == header


def header_of(model: Path) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(tensors.read_metadata(model)["ganloom"])
    return header


def rewrite(model: Path, header: dict[str, Any]) -> None:
    model.write_bytes(tensors.pack(tensors.unpack(model.read_bytes()), {"ganloom": json.dumps(header)}))


def replace_code(model: Path, text: str, *, with_hash: bool) -> None:
    header = header_of(model)
    header["code"]["source"] = text
    if with_hash:
        header["code"]["sha256"] = sha256(text.encode())
    rewrite(model, header)


@pytest.mark.slow
def test_evaluate_runs_code_only_with_the_flag(copied: Path) -> None:
    asked = ("--metrics", "fd", "--n", 50, "--device", "cpu")
    for target in (["run"], ["run/model.safetensors", "digits"]):
        with pytest.raises(ModelError, match=r"trust.code"):
            invoke("evaluate", *target, *asked)
    assert "fd[loomnet-1]@50" in invoke("evaluate", "run", *asked, "--trust-code")


@pytest.mark.slow
def test_evaluate_does_not_run_the_source_of_a_run_unasked(here: Path) -> None:
    train("rings.py:60", **{"train.length": "32 images"})
    with pytest.raises(RunError, match=r"come from the code in .*rings\.py.*trust.code"):
        ganloom.evaluate("run", metrics="fd", device="cpu")
    assert "rings.py" in str(open_folder(here / "run").facts.code)


# Errors of the user's files.


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("net.py", "import math", "import math,", r"net\.py, line 2: SyntaxError"),
        ("net.py", "import math", "import maths", r"net\.py, line 2: ModuleNotFoundError: No module named 'maths'"),
        ("net.py", "class Generator", "class Generaor", r"net\.py has no Generator: .*shape, latent, classes, \*"),
        ("net.py", "latent: int, classes", "classes", r"Generator\(shape, classes, .* has the wrong signature"),
        (
            "net.py",
            "latent: int, classes: int",
            "latent: int",
            r"Generator\(shape, latent, \*, width=64\) has the wrong signature",
        ),
        ("net.py", "latent, width)", "latent, wide)", r"net\.py, line 18: NameError: name 'wide'"),
        ("net.py", "Linear(latent, ", "Linear(7, ", r"net\.py, line 22: RuntimeError: mat1 and mat2 shapes"),
        (
            "net.py",
            "forward(self, z: Tensor, y: Tensor | None)",
            "forward(self, z)",
            r"net\.py: .*TypeError: .*forward",
        ),
        ("net.py", ".view(-1, *self.shape)", "", r"G of .*net\.py returns a tensor \[\d, 1024\], but images \["),
        ("net.py", "return Judgement(self", "return (self", r"D of .*net\.py returns a tensor \[\d\], but a Judgement"),
        ("net.py", ".flatten())", ")", r"D of .*net\.py returns a tensor \[\d, 1\], but a Judgement with logits"),
        ("net.py", "nn.Module", "object", r"net\.py, line \d+: AttributeError|a network must be a torch\.nn\.Module"),
        ("loss.py", "def loss", "def lose", r"loss\.py has no loss: .*should define loss\(\*, OPTION=\.\.\.\)"),
        ("loss.py", "loss(*, margin", "loss(margin", r"loss\(margin=1\.0\) has the wrong signature: write loss\(\*"),
        ("loss.py", "Loss(d, g)", "d, g", r"loss\(\) must return a Loss or a Relativistic.*, not tuple"),
        ("loss.py", "return -fake", "return -fake.mean()", r"loss\.py: g returns a tensor \[\] for logits \[4\]"),
        (
            "loss.py",
            "return -fake",
            "return -fake.detach()",
            r"loss\.py: in a step of training: RuntimeError: element 0",
        ),
        ("loss.py", "return -fake", "return fake.nothing", r"loss\.py, line \d+: .*AttributeError.*nothing"),
    ],
)
def test_errors_in_a_file_are_reported_before_there_is_a_run(
    here: Path, name: str, old: str, new: str, message: str
) -> None:
    changed(here / name, old, new)
    with pytest.raises(ConfigError, match=message):
        train(net="./net.py", loss="./loss.py", **{"data.labels": False})
    assert not (here / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss.margn": 1}, r"unknown option 'margn' of loss '.*loss\.py'\. Did you mean 'margin'"),
        ({"loss.margin": -1}, r"option 'margin' of loss '.*loss\.py': must be above 0"),
        ({"net.g.widht": 1}, r"unknown option 'widht' of net\.g \(.*net\.py\)\. Did you mean 'width'"),
        ({"net.d.width": "wide"}, r"option 'width' of net\.d \(.*net\.py\): must be a whole number"),
        ({"data.labels": True}, r"net\.py, line 16: ValueError: this network takes no labels: set data\.labels=false"),
        ({"net": "./nut.py"}, r"there is no file .*nut\.py"),
        ({"loss": "./lass.py"}, r"there is no file .*lass\.py"),
    ],
)
def test_custom_options_are_checked_like_built_in_ones(here: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(**{"net": "./net.py", "loss": "./loss.py", "data.labels": False, **settings})


def test_a_custom_loss_may_be_relativistic(here: Path) -> None:
    (here / "rel.py").write_text(
        "import torch.nn.functional as F\nfrom ganloom.objectives import RelativisticLoss\n\n"
        "def loss():\n    return RelativisticLoss(lambda r, f: F.softplus(f - r), lambda r, f: F.softplus(r - f))\n"
    )
    assert isinstance(objectives.loss("rel.py", {}), objectives.RelativisticLoss)
    train(loss="rel.py", **{"train.length": "32 images"})


@pytest.mark.slow
def test_an_error_in_a_file_is_one_message_and_exit_code_2(here: Path) -> None:
    changed(here / "net.py", "latent, width)", "latent, wide)")
    command = [
        sys.executable,
        "-m",
        "ganloom",
        "train",
        "--out",
        "run",
        *tiny_flags(net="./net.py"),
        "--set",
        "data.labels=false",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ") and "NameError" in done.stderr


@pytest.mark.slow
def test_python_can_name_files_too(here: Path) -> None:
    settings = {"net.name": "net.py", "net.g": {"width": 4}, "net.d": {"width": 4}, "train.length": "32 images"}
    run = ganloom.train(here / "rings.py", out="run", device="cpu", settings={**settings, "evaluate.every": "0 images"})
    assert isinstance(run.config, Config) and run.config.net.name == str(here / "net.py")
    with pytest.raises(GanloomError):
        ganloom.load(run.path)
    assert ganloom.load(run.path, trust_code=True).sample(2).shape == (2, 1, 16, 16)
