"""Others' implementations, to compare with."""

import warnings
from types import ModuleType

import torch

_library: torch.library.Library | None = None  # its operators live as long as it does


def torch_fidelity() -> ModuleType:
    """The package. It imports torchvision, which on a PyTorch without its operators needs two of them declared."""
    global _library
    if _library is None and not hasattr(torch.ops.torchvision, "nms"):
        _library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            _library.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch_fidelity
    module: ModuleType = torch_fidelity
    return module
