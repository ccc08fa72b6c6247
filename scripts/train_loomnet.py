"""Train loomnet-1, the encoder that ganloom ships: `python scripts/train_loomnet.py --data FOLDER --out FILE`.

FOLDER holds the real images named in SOURCES, in any format that ganloom reads. Only their `train` splits are used. The
encoder is trained to classify all classes of all sources at once, and the classification head is then discarded. The
same command on the same kind of machine gives the same file.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ganloom.core import rng, tensors
from ganloom.core.files import write_atomically
from ganloom.core.runtime import tune_process
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.sources import find
from ganloom.metrics.extractors.loomnet import LAYERS, POOLED, SIZE, Loomnet, pool

SOURCES = ("cifar10.npz", "fashion_mnist.npz", "pneumoniamnist.npz", "chest_xray", "blood_smears")
MAX_GREY = 20_000  # images of a grey source per epoch: otherwise clothes would dominate
BATCH = 128
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.05
MAX_SHIFT = 4  # pixels
DEAD = 0.01  # a feature with a lower standard deviation, relative to the mean over features, is dropped
GREY = 0.2  # probability that a colour image is converted to grey


@dataclass(frozen=True)
class Source:
    images: NDArray[np.uint8]  # [N, 32, 32, 3]
    labels: NDArray[np.int64]  # [N], numbered across all sources
    colour: bool


def read(folder: Path) -> tuple[list[Source], int]:
    """The training images of every source, and the total number of classes."""
    sources, classes = [], 0
    for name in SOURCES:
        dataset = prepare(find(str(folder / name)), Preprocessing((SIZE, SIZE), 3), Selection())
        index = np.arange(dataset.count("train"))
        images = dataset.images(index, "train")
        labels = dataset.labels(index, "train") if dataset.class_names else np.zeros(len(index), np.int64)
        colour = bool((images[:256] != images[:256, :, :, :1]).any())
        sources.append(Source(images, labels + classes, colour))
        classes += max(1, len(dataset.class_names))
        print(
            f"{name:<20} {len(index):>6} images, {len(dataset.class_names)} classes, {'colour' if colour else 'grey'}"
        )
    return sources, classes


class Classifier(nn.Module):
    """loomnet with batch normalisation and a classification head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, stride, padding=1, bias=False) for a, b, stride in LAYERS)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b, _ in LAYERS)
        self.head = nn.Linear(sum(LAYERS[layer][1] for layer in POOLED), classes)

    def forward(self, h: Tensor) -> Tensor:
        activations = []
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = F.relu(norm(layer(h)))
            activations.append(h)
        return self.head(pool(activations))

    @torch.no_grad()
    def folded(self) -> dict[str, Tensor]:
        """The weights of the convolutions with normalisation folded in, in half precision."""
        weights = {}
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            weights[f"layers.{index}.weight"] = (layer.weight * scale[:, None, None, None]).half()
            weights[f"layers.{index}.bias"] = (norm.bias - norm.running_mean * scale).half()
        return weights


def epoch_of(sources: list[Source], random: np.random.Generator) -> list[tuple[Tensor, Tensor]]:
    """Shuffled batches [N, 3, 32, 32] in [-1, 1] with their labels."""
    chosen = [
        (number, row)
        for number, source in enumerate(sources)
        for row in random.permutation(len(source.images))[: None if source.colour else MAX_GREY]
    ]
    order = random.permutation(len(chosen))
    batches = []
    for start in range(0, len(order) - BATCH + 1, BATCH):
        rows = [chosen[i] for i in order[start : start + BATCH]]
        images = np.stack([augmented(sources[number], row, random) for number, row in rows])
        labels = np.array([sources[number].labels[row] for number, row in rows])
        x = torch.from_numpy(images).permute(0, 3, 1, 2)  # channels last in memory
        batches.append((x, torch.from_numpy(labels)))
    return batches


def augmented(source: Source, row: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """The image with a random shift and, if the source has colour, random mirroring and conversion to grey."""
    image = np.pad(source.images[row], ((MAX_SHIFT, MAX_SHIFT), (MAX_SHIFT, MAX_SHIFT), (0, 0)), mode="reflect")
    top, left = random.integers(0, 2 * MAX_SHIFT + 1, 2)
    image = image[top : top + SIZE, left : left + SIZE]
    if source.colour and random.random() < 0.5:
        image = image[:, ::-1]
    if source.colour and random.random() < GREY:
        image = np.repeat(image.mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
    return image


def train(sources: list[Source], classes: int, epochs: int, seed: int) -> Classifier:
    rng.seed(seed, "loomnet")
    random = np.random.default_rng(seed)
    net = Classifier(classes).to(memory_format=torch.channels_last)
    images = sum(len(s.images) if s.colour else min(MAX_GREY, len(s.images)) for s in sources)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, epochs * (images // BATCH), pct_start=0.15)
    for epoch in range(epochs):
        began, right, seen = time.monotonic(), 0, 0
        for x, y in epoch_of(sources, random):
            logits = net(x.float().div_(127.5).sub_(1))
            optimizer.zero_grad()
            F.cross_entropy(logits, y).backward()
            optimizer.step()
            schedule.step()
            right += int((logits.argmax(1) == y).sum())
            seen += len(y)
        seconds = time.monotonic() - began
        print(f"epoch {epoch + 1:>2}: {right / seen:.4f} correct, {seen / seconds:.0f} images/s", flush=True)
    return net.eval()


@torch.inference_mode()
def scale(weights: dict[str, Tensor], sources: list[Source]) -> Tensor:  # [192]
    """Factors that give every feature a standard deviation of 1 over the images of an epoch, without augmentation."""
    encoder = Loomnet("")
    encoder.load_state_dict({name: weight.float() for name, weight in weights.items()}, strict=False)
    encoder = encoder.to(memory_format=torch.channels_last).eval()
    features = [
        encoder(torch.from_numpy(source.images[start : min(start + BATCH, stop)]).permute(0, 3, 1, 2)).features
        for source in sources
        for stop in [len(source.images) if source.colour else min(MAX_GREY, len(source.images))]
        for start in range(0, stop, BATCH)
    ]
    deviation = torch.cat(features).double().std(dim=0)
    return torch.where(deviation > DEAD * deviation.mean(), 1 / deviation, 0).half()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("loomnet-1.safetensors"))
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    tune_process()
    sources, classes = read(options.data)
    net = train(sources, classes, options.epochs, options.seed)
    about = {"id": "loomnet-1", "sources": ", ".join(SOURCES), "epochs": str(options.epochs), "seed": str(options.seed)}
    weights = net.folded()
    weights["scale"] = scale(weights, sources)
    write_atomically(options.out, tensors.pack(weights, about))
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
