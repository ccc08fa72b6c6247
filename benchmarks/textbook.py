"""The textbook DCGAN training loop, as in tutorials: the baseline that benchmarks compare ganloom with.

Default memory layout, a DataLoader that normalises each image, plain Adam, D's weights left trainable in G's step.
It is deliberately plain and imports nothing from ganloom.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

__all__ = ["Images", "Textbook"]


class Images(Dataset[Tensor]):
    """uint8 images [N, H, W, C] in memory, normalised one at a time, as a transform does."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:  # [C, H, W] in [-1, 1]
        return (self.images[index].permute(2, 0, 1).float() / 255 - 0.5) / 0.5


def initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def make_generator(size: int, channels: int, latent: int, width: int) -> nn.Sequential:
    widths = [width * 2**k for k in range(size.bit_length() - 3)][::-1]  # 64 pixels: 512, 256, 128, 64
    layers: list[nn.Module] = [nn.ConvTranspose2d(latent, widths[0], 4, 1, 0, bias=False)]
    for before, after in zip(widths, [*widths[1:], channels], strict=True):
        layers += [nn.BatchNorm2d(before), nn.ReLU(True), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
    return nn.Sequential(*layers, nn.Tanh())


def make_discriminator(size: int, channels: int, width: int) -> nn.Sequential:
    widths = [width * 2**k for k in range(size.bit_length() - 3)]
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False), nn.Sigmoid())


class Textbook:
    """A training on uint8 `images` [N, H, W, C] with batch size `batch`; `steps(n)` does n steps."""

    def __init__(self, images: Tensor, batch: int, latent: int = 100, width: int = 64) -> None:
        size, channels = images.shape[1], images.shape[3]
        self.latent, self.batch = latent, batch
        self.G, self.D = make_generator(size, channels, latent, width), make_discriminator(size, channels, width)
        self.G.apply(initialise)
        self.D.apply(initialise)
        self.loss = nn.BCELoss()
        self.optimizer_g = torch.optim.Adam(self.G.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_d = torch.optim.Adam(self.D.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.loader = DataLoader(Images(images), batch_size=batch, shuffle=True, drop_last=True)

    def steps(self, count: int) -> None:
        done = 0
        while True:
            for real in self.loader:
                if done == count:
                    return
                self.step(real)
                done += 1

    def step(self, real: Tensor) -> tuple[float, float, float, float]:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))

        self.D.zero_grad()
        output_real = self.D(real).view(-1)
        loss_real = self.loss(output_real, ones)
        loss_real.backward()
        fake = self.G(torch.randn(len(real), self.latent, 1, 1))
        loss_fake = self.loss(self.D(fake.detach()).view(-1), zeros)
        loss_fake.backward()
        self.optimizer_d.step()

        self.G.zero_grad()
        output_fake = self.D(fake).view(-1)
        loss_g = self.loss(output_fake, ones)
        loss_g.backward()
        self.optimizer_g.step()
        return (loss_real + loss_fake).item(), loss_g.item(), output_real.mean().item(), output_fake.mean().item()
