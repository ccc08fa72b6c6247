"""The user's own extractor: a TorchScript or ONNX file, `module:callable` or `FILE.py:callable`.

The callable is called once, without arguments, and returns the extractor: a function or a module. The extractor takes
float32 RGB images [N, 3, H, W] in [0, 255], not resized, and returns features [N, D] or (features, logits [N, K]).
Images are resized only for an ONNX model with a fixed height and width.

The name of the file or callable becomes the id of the extractor. Its sha256 is that of the file, with the files of
weights that an ONNX model names, or, for a callable, of the module's source and the weights of the returned network.
Features from a callable are not cached, because they may depend on other code and files. A callable may also return an
`Extractor`, with its own id and resize rule; what it says of its weights becomes a part of that hash.
"""

import contextlib
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ganloom.core import tensors
from ganloom.core.code import CustomModule, is_file, load_file
from ganloom.core.errors import ConfigError, GanloomError, ModelError
from ganloom.core.files import sha256, user_path
from ganloom.core.names import nearest
from ganloom.metrics.extractors import BUILT_IN
from ganloom.metrics.extractors.contract import Extractor, Outputs, to_rgb
from ganloom.metrics.extractors.weights import hashed

__all__ = ["CustomExtractor", "is_custom", "load"]

TORCHSCRIPT = (".pt", ".pth", ".ts")
ONNX = ".onnx"
# How an ONNX file names another one that holds weights: entry 1, the text "location", and entry 2, a text of less than
# 128 bytes or of two bytes' length (StringStringEntryProto in onnx.proto).
LOCATION = re.compile(rb"\x0a\x08location\x12(?:([\x00-\x7f])|([\x80-\xff])([\x01-\x7f]))", re.DOTALL)


class CustomExtractor(Extractor):
    """Wraps the user's network and checks its output."""

    def __init__(self, function: Callable[[Tensor], Any], *, id: str, weights: str, resize: str = "none") -> None:
        super().__init__()
        self.function, self.id, self.weights, self.resize = function, id, weights, resize
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Outputs:
        """Raises `ModelError` unless the output has one row of finite numbers per image."""
        try:
            output = self.function(to_rgb(images).clone(memory_format=torch.contiguous_format))
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[-1]
            if "memory" in reason:  # a smaller batch may fit
                raise
            raise ModelError(f"{self.id} fails on images of shape {[*images.shape]}: {reason}") from error
        parts = output if isinstance(output, tuple | list) else (output,)
        if len(parts) not in (1, 2) or not all(isinstance(part, Tensor | np.ndarray) for part in parts):
            raise ModelError(f"{self.id} should return features [N, D] or (features, logits), not {_form(output)}.")
        for part in parts:
            if part.ndim != 2 or len(part) != len(images):
                found = " and ".join(str([*part.shape]) for part in parts)
                raise ModelError(f"{self.id} returns shape {found}, where [{len(images)}, D] is expected.")
        features, *logits = (torch.as_tensor(part).to(images.device, torch.float32) for part in parts)
        if not all(part.isfinite().all() for part in (features, *logits)):
            raise ModelError(f"{self.id} returns values that are not finite (NaN or infinity): use another extractor.")
        return Outputs(features, logits[0] if logits else None)


def is_custom(name: str) -> bool:
    """Whether `name` has one of the forms above."""
    return name.lower().endswith((*TORCHSCRIPT, ONNX)) or ":" in name


def load(name: str) -> Extractor:
    """Raises `ConfigError` for a callable that does not exist, `ModelError` for a file that cannot be used."""
    path = user_path(name)
    kind = path.suffix.lower()
    if kind in TORCHSCRIPT or kind == ONNX:
        _check_id(path.stem)
        return _torchscript(path) if kind in TORCHSCRIPT else _onnx(path)
    place, _, attribute = name.rpartition(":")
    module = _module(place)
    factory = getattr(module, attribute, None)
    if not callable(factory):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ConfigError(f"{place} has no callable '{attribute}'. {nearest(attribute, known)}")
    try:
        made = factory()
    except GanloomError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name}() should return the extractor, but fails: {type(error).__name__}: {error}") from error
    if not callable(made):
        raise ConfigError(f"{name}() returns {_form(made)}, but should return the extractor.")
    identity = _identity(module, made)
    if isinstance(made, Extractor):
        made.weights = sha256(f"{getattr(made, 'weights', '')} {identity}".encode())
        custom = made.eval().requires_grad_(False)
    else:
        custom = CustomExtractor(made, id=attribute, weights=identity)
    _check_id(custom.id)
    custom.is_pinned = False  # it may depend on other code and files
    return custom


def _identity(module: ModuleType, made: object) -> str:
    """The hash of a module's source, and of the weights of the network that it made."""
    if isinstance(module, CustomModule):
        identity = module.code.sha256  # of the text that was run; the file may have changed since
    else:
        with hashed(Path(str(module.__file__))) as (_, identity):
            pass
    if isinstance(made, nn.Module):
        state = {key: value for key, value in made.state_dict().items() if isinstance(value, Tensor)}
        identity = sha256(identity.encode() + tensors.pack(state))
    return identity


def _check_id(id: str) -> None:
    """Raise `ConfigError` for the id of a built-in extractor, so that no other network passes for that of FID."""
    if id in BUILT_IN:
        raise ConfigError(f"'{id}' is a built-in extractor: give yours another name.")


def _torchscript(path: Path) -> CustomExtractor:
    with hashed(path) as (file, digest):
        try:
            module = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]
        except Exception:  # a damaged file raises nearly anything
            raise ModelError(
                f"{path} is not a TorchScript file: torch.jit.script(module).save(FILE) makes one. "
                "For a file of weights alone, name its extractor: --extractor inception --weights FILE."
            ) from None
    return CustomExtractor(module, id=path.stem, weights=digest)


def _onnx(path: Path) -> CustomExtractor:
    with contextlib.ExitStack() as stack:
        file, digest = stack.enter_context(hashed(path))
        try:
            import onnxruntime  # optional
        except ImportError:
            raise ModelError(f"{path} needs onnxruntime: pip install 'ganloom[onnx]'.") from None
        for beside in _files_of_weights(path, file.read()):
            digest = sha256(f"{digest} {stack.enter_context(hashed(beside))[1]}".encode())
        try:
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # the exceptions of onnxruntime have no common base
            raise ModelError(f"{path} is not an ONNX model that onnxruntime can read: {error}") from None
    (entry, *others) = session.get_inputs()
    if others or entry.type != "tensor(float)" or len(entry.shape) != 4:
        raise ModelError(f"{path} should have one input: float32 images [N, 3, H, W].")
    batch, _, height, width = entry.shape
    if isinstance(batch, int) and batch != 1:
        raise ModelError(f"{path} only takes batches of {batch}: export it with a dynamic first dimension.")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def run(images: Tensor) -> tuple[NDArray[np.float32], ...]:
        if size and size != images.shape[2:]:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        try:
            answers = [
                session.run(None, {entry.name: part.cpu().numpy()})
                for part in torch.split(images, 1 if isinstance(batch, int) else len(images))
            ]
        except Exception as error:
            raise RuntimeError(" ".join(str(error).split())) from None
        return tuple(np.concatenate(column) for column in zip(*answers, strict=True))

    return CustomExtractor(run, id=path.stem, weights=digest, resize=f"bilinear-{height}x{width}" if size else "none")


def _files_of_weights(path: Path, model: bytes) -> list[Path]:
    """The files that hold weights of an ONNX model: those that it names, and the one where exporters put them."""
    names = {f"{path.name}.data"}
    for found in LOCATION.finditer(model):
        size = found[1][0] if found[1] else (found[2][0] & 127) + 128 * found[3][0]
        names.add(model[found.end() : found.end() + size].decode(errors="replace"))
    return [file for name in sorted(names) if "\0" not in name and (file := path.parent / name).is_file()]


def _module(place: str) -> ModuleType:
    """`package.module`, or `FILE.py`."""
    if is_file(place):
        return load_file(place)
    try:
        return importlib.import_module(place)
    except Exception as error:
        raise ConfigError(
            f"cannot import '{place}' ({type(error).__name__}: {error}). "
            "For a file, add its suffix: ./FILE.py:callable."
        ) from None


def _form(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"{len(value)} values"
    return f"something of type {type(value).__name__}"
