"""Others' implementations, to compare with."""

import warnings
from types import ModuleType

import torch

_library: torch.library.Library | None = None  # its operators live as long as it does


def torch_fidelity() -> ModuleType:
    """The package. It imports torchvision, which on a PyTorch without its operators needs two of them declared.

    Where torchvision brings its own, to declare them too would end the process: so they are asked for first.
    """
    global _library
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision  # noqa: F401
        except RuntimeError:  # operator torchvision::nms does not exist
            if _library is None:
                _library = torch.library.Library("torchvision", "DEF")
                for name in ("nms", "qnms"):
                    _library.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")
        import torch_fidelity
    module: ModuleType = torch_fidelity
    return module
