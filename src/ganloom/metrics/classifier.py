"""A small classifier that learns in a minute on a CPU which class an image shows."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ganloom.core import rng
from ganloom.core.memory import Blocks
from ganloom.metrics.contract import Images
from ganloom.metrics.pairs import batches, shrunk

__all__ = ["Classifier", "fit", "small_images"]

LONGEST, SHORTEST = 32, 8  # maximum and minimum of an image's height and width, in pixels
BATCH = 128
EPOCHS, MIN_STEPS, MAX_STEPS = 10, 200, 800
LEARNING_RATE, WARM_UP, WEIGHT_DECAY, SMOOTHING = 1e-2, 0.2, 0.05, 0.1
SHIFT = 2  # augmentation: an image is moved by up to so many pixels in each direction


class Classifier(nn.Module):
    """Four 3x3 convolutions, at a half, a quarter and an eighth of the image's resolution. `fit` trains one."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(4 * channels, 48),
            *_convolution(48, 48),
            nn.MaxPool2d(2),
            *_convolution(48, 96),
            nn.MaxPool2d(2),
            *_convolution(96, 192),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(192, classes),
        )

    def forward(
        self,
        images: Tensor,  # uint8 [N, C, h, w]
    ) -> Tensor:  # [N, K] logits
        height, width = images.shape[2:]
        x = F.pad(images.float().sub(127.5).div(64), (0, width % 2, 0, height % 2))
        logits: Tensor = self.layers(F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last))
        return logits

    @torch.no_grad()
    def logits(
        self,
        images: Tensor,  # uint8 [N, C, h, w], from `small_images`
    ) -> NDArray[np.float64]:  # [N, K]
        parts = Blocks(500).over(len(images), lambda rows: self(images[rows]))
        return torch.cat(list(parts)).double().numpy()

    def predict(
        self,
        images: Tensor,  # uint8 [N, C, h, w], from `small_images`
    ) -> NDArray[np.int64]:  # [N]
        found: NDArray[np.int64] = self.logits(images).argmax(axis=1)
        return found


def _convolution(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def small_images(
    images: Images,
    rows: NDArray[np.int64] | None = None,  # all of them
) -> Tensor:  # uint8 [N, C, h, w]
    """Images reduced by area averaging, so that the longer side has at most 32 pixels."""
    small = [shrunk(batch, LONGEST, SHORTEST).round().to(torch.uint8) for batch in batches(images, rows)]
    return torch.cat(small)


def fit(
    images: Tensor,  # uint8 [N, C, h, w], from `small_images`
    labels: NDArray[np.int64],  # [N]
    classes: int,
    seed: int,
) -> Classifier:
    """Train a classifier with AdamW and a one-cycle learning rate, for ten epochs within 200 to 800 steps.

    Images are shifted by up to two pixels. They are not mirrored, because a mirrored digit is no longer that digit.
    The same seed gives the same classifier on the same machine. The caller's random state is left untouched.
    """
    steps = min(max(len(images) * EPOCHS // BATCH, MIN_STEPS), MAX_STEPS)
    targets = torch.tensor(labels)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        rng.seed(seed, "classifier")
        classifier = Classifier(images.shape[1], classes)
        classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP)
        for rows in _batches(len(images), steps):
            logits = classifier(_moved(images[rows]))
            loss = F.cross_entropy(logits, targets[rows], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    classifier.eval()
    return classifier


def _batches(count: int, steps: int) -> Iterator[Tensor]:  # int64 [<= BATCH]
    """Batches of equal size from one random permutation after another; the rest of a permutation is dropped."""
    size = min(BATCH, count)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(count)
        yield order[:size]
        order = order[size:]


def _moved(
    images: Tensor,  # uint8 [N, C, h, w]
) -> Tensor:
    """Each image shifted by its own random number of pixels; the edge is repeated."""
    count, _, height, width = images.shape
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2, count, 1))
    rows = (torch.arange(height) + down).clamp(0, height - 1)[:, :, None]  # [N, h, 1]
    columns = (torch.arange(width) + right).clamp(0, width - 1)[:, None, :]  # [N, 1, w]
    return images[torch.arange(count)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
