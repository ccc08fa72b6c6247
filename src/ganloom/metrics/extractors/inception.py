"""The FID network: Inception v3 as TensorFlow published it on 2015-12-05 (Szegedy et al. 2016; Heusel et al. 2017)."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganloom.metrics.extractors import resize, weights
from ganloom.metrics.extractors.contract import Extractor, Outputs, to_rgb

__all__ = ["NAMES", "SIZE", "Inception", "build", "features_of", "fold", "load", "normalise"]

SIZE = 299  # height and width of the network's input, in pixels
CPU_BATCH = 8  # images: feature maps stay in the cache, and results do not depend on the batch size to the last digit

# TensorFlow's average pooling does not count the padding.
average = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
largest = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
halve = partial(F.max_pool2d, kernel_size=3, stride=2)

RULES = {"tf1-299": resize.tf1, "clean-299": resize.clean}
NAMES = {"inception": "tf1-299", "inception-clean": "clean-299"}
"""The extractors of this file and their resize rules."""


class Inception(Extractor):
    """Features [N, 2048] from the last pooling; logits [N, 1008] without the bias, as in the Inception Score.

    `state` has the tensors of the published file, by name. Raises `RuntimeError` if it has others. Only `load` uses the
    ids of the published network.
    """

    is_classifier = True

    def __init__(
        self, state: Mapping[str, Tensor], *, resize: str = "tf1-299", id: str = "unpublished", weights: str = ""
    ) -> None:
        super().__init__()
        self.id, self.weights, self.resize = id, weights, resize
        network = build()
        network.load_state_dict(state, assign=True)
        fc = network[-1]
        assert isinstance(fc, nn.Linear)
        self.fc = fc
        self.body = fold(network[:-1]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Outputs:
        features = features_of(images, self.body, RULES[self.resize])
        return Outputs(features, features @ self.fc.weight.T)


def load(name: str, given: Path | None) -> Inception:
    """`inception` or `inception-clean` with the published weights. Raises `ModelError` like `weights.locate`."""
    state = weights.read_published(weights.INCEPTION, given)
    return Inception(state.tensors, resize=NAMES[name], id=name, weights=state.sha256)


def features_of(
    images: Tensor,  # uint8 or float [N, C, H, W] in [0, 255]
    body: nn.Module,
    rule: Callable[[Tensor, int], Tensor],
) -> Tensor:  # [N, D]
    """Resize, normalise and run `body`; on the CPU in small batches."""
    parts = torch.split(images, CPU_BATCH if images.device.type == "cpu" else len(images))
    return torch.cat([body(normalise(rule(to_rgb(part), SIZE))) for part in parts])


def normalise(
    images: Tensor,  # float32 [N, 3, H, W] in [0, 255]
) -> Tensor:  # in [-1, 1), channels last, which is fastest for convolutions on the CPU
    return ((images - 128) / 128).contiguous(memory_format=torch.channels_last)


def fold(network: nn.Module) -> nn.Module:
    """Fold every BatchNorm into its convolution, because it is a constant scale and shift per channel here."""
    for unit in network.eval().modules():
        if isinstance(unit, Unit) and isinstance(unit.bn, nn.BatchNorm2d):
            unit.conv, unit.bn = fuse_conv_bn_eval(unit.conv, unit.bn), nn.Identity()
    return network


class Step(NamedTuple):
    """A convolution inside a block: without padding for stride 2, else with padding that keeps the size of the map."""

    width: int
    height: int = 1  # of the kernel
    wide: int = 1  # width of the kernel
    stride: int = 1


class Branch(NamedTuple):
    """An optional pool, then a chain of convolutions, then optional parallel ones on the output of the chain."""

    chain: dict[str, Step]  # by name in the file of weights
    fork: dict[str, Step] | None = None
    pool: Callable[[Tensor], Tensor] | None = None


class Unit(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, before: int, step: Step, padding: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, step.width, (step.height, step.wide), step.stride, padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(step.width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Block(nn.Module):
    """Parallel branches, whose feature maps are concatenated."""

    def __init__(self, before: int, *branches: Branch) -> None:
        super().__init__()
        self.branches = branches
        for branch in branches:
            width = before
            for name, step in (branch.chain | (branch.fork or {})).items():
                same = (step.height // 2, step.wide // 2) if step.stride == 1 else (0, 0)
                self.add_module(name, Unit(width, step, same))
                width = step.width

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([y for branch in self.branches for y in self._maps(branch, x)], 1)

    def _maps(self, branch: Branch, x: Tensor) -> list[Tensor]:
        if branch.pool is not None:
            x = branch.pool(x)
        for name in branch.chain:
            x = self.get_submodule(name)(x)
        return [self.get_submodule(name)(x) for name in branch.fork or ()] or [x]


def build() -> nn.Sequential:
    """The network on the meta device, without values; its parameters have the names of the published file."""
    with torch.device("meta"):  # leaves the random state of a running training untouched
        return nn.Sequential(
            OrderedDict(
                Conv2d_1a_3x3=Unit(3, Step(32, 3, 3, 2), (0, 0)),
                Conv2d_2a_3x3=Unit(32, Step(32, 3, 3), (0, 0)),
                Conv2d_2b_3x3=Unit(32, Step(64, 3, 3), (1, 1)),
                MaxPool_1=nn.MaxPool2d(3, 2),
                Conv2d_3b_1x1=Unit(64, Step(80), (0, 0)),
                Conv2d_4a_3x3=Unit(80, Step(192, 3, 3), (0, 0)),
                MaxPool_2=nn.MaxPool2d(3, 2),
                Mixed_5b=_block_35(192, 32),
                Mixed_5c=_block_35(256, 64),
                Mixed_5d=_block_35(288, 64),
                Mixed_6a=_block_35_to_17(288),
                Mixed_6b=_block_17(128),
                Mixed_6c=_block_17(160),
                Mixed_6d=_block_17(160),
                Mixed_6e=_block_17(192),
                Mixed_7a=_block_17_to_8(768),
                Mixed_7b=_block_8(1280, average),
                Mixed_7c=_block_8(2048, largest),  # probably a mistake of its authors, but part of every FID
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                fc=nn.Linear(2048, 1008),
            )
        )


def _block_35(before: int, pooled: int) -> Block:
    return Block(
        before,
        Branch({"branch1x1": Step(64)}),
        Branch({"branch5x5_1": Step(48), "branch5x5_2": Step(64, 5, 5)}),
        Branch({"branch3x3dbl_1": Step(64), "branch3x3dbl_2": Step(96, 3, 3), "branch3x3dbl_3": Step(96, 3, 3)}),
        Branch({"branch_pool": Step(pooled)}, pool=average),
    )


def _block_35_to_17(before: int) -> Block:
    return Block(
        before,
        Branch({"branch3x3": Step(384, 3, 3, 2)}),
        Branch({"branch3x3dbl_1": Step(64), "branch3x3dbl_2": Step(96, 3, 3), "branch3x3dbl_3": Step(96, 3, 3, 2)}),
        Branch({}, pool=halve),
    )


def _block_17(width: int) -> Block:
    across, down = Step(width, 1, 7), Step(width, 7, 1)
    return Block(
        768,
        Branch({"branch1x1": Step(192)}),
        Branch({"branch7x7_1": Step(width), "branch7x7_2": across, "branch7x7_3": Step(192, 7, 1)}),
        Branch(
            {
                "branch7x7dbl_1": Step(width),
                "branch7x7dbl_2": down,
                "branch7x7dbl_3": across,
                "branch7x7dbl_4": down,
                "branch7x7dbl_5": Step(192, 1, 7),
            }
        ),
        Branch({"branch_pool": Step(192)}, pool=average),
    )


def _block_17_to_8(before: int) -> Block:
    return Block(
        before,
        Branch({"branch3x3_1": Step(192), "branch3x3_2": Step(320, 3, 3, 2)}),
        Branch(
            {
                "branch7x7x3_1": Step(192),
                "branch7x7x3_2": Step(192, 1, 7),
                "branch7x7x3_3": Step(192, 7, 1),
                "branch7x7x3_4": Step(192, 3, 3, 2),
            }
        ),
        Branch({}, pool=halve),
    )


def _block_8(before: int, pool: Callable[[Tensor], Tensor]) -> Block:
    across, down = Step(384, 1, 3), Step(384, 3, 1)
    return Block(
        before,
        Branch({"branch1x1": Step(320)}),
        Branch({"branch3x3_1": Step(384)}, fork={"branch3x3_2a": across, "branch3x3_2b": down}),
        Branch(
            {"branch3x3dbl_1": Step(448), "branch3x3dbl_2": Step(384, 3, 3)},
            fork={"branch3x3dbl_3a": across, "branch3x3dbl_3b": down},
        ),
        Branch({"branch_pool": Step(192)}, pool=pool),
    )
