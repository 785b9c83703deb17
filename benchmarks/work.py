"""The work that all contestants of a race do: shapes, images, the network. PyTorch alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

WAY, SHOT, QUERY = 5, 1, 15
SHAPES = {"omniglot": ((1, 28, 28), 964, 20), "miniimagenet": ((3, 84, 84), 64, 100)}
"""Shape of an image, classes and images a class (of miniImageNet's 600: those fit in memory)."""
RATE, INNER_STEPS, INNER_RATE = 1e-3, 5, 0.4
LEARNED, SCORED = 300, 200
"""Tasks that accuracy is learned on, and tasks that it is measured on."""


def images(name: str) -> Tensor:
    """Random images as bytes, class after class; what is in them costs nothing."""
    shape, classes, each = SHAPES[name]
    return torch.randint(0, 256, (classes * each, *shape), dtype=torch.uint8)


def labels(name: str) -> list[int]:
    """The class of each image."""
    _, classes, each = SHAPES[name]
    return [label for label in range(classes) for _ in range(each)]


def task() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One task of Omniglot's shape: support, its labels, queries, theirs."""
    of_class = torch.arange(WAY)
    support, query = torch.rand(WAY * SHOT, 1, 28, 28), torch.rand(WAY * QUERY, 1, 28, 28)
    return support, of_class.repeat_interleave(SHOT), query, of_class.repeat_interleave(QUERY)


def conv4(*, pool_first: bool, keeps_statistics: bool = True) -> nn.Sequential:
    """Conv-4 with 64 channels for Omniglot's shape, which gives 64 features.

    Args:
        pool_first: As lgmnet has it, the pooling before the normalisation; else as it was
            published, after the ReLU, which is more work.
        keeps_statistics: Whether normalisation keeps running statistics.
    """
    layers: list[nn.Module] = []
    for channels in (1, 64, 64, 64):
        norm = nn.BatchNorm2d(64, track_running_stats=keeps_statistics)
        layers.append(nn.Conv2d(channels, 64, 3, padding=1))
        pool = nn.MaxPool2d(2)
        layers += [pool, norm, nn.ReLU()] if pool_first else [norm, nn.ReLU(), pool]
    return nn.Sequential(*layers, nn.Flatten())


def conv4_with_head(*, pool_first: bool) -> nn.Sequential:
    """The same with a linear head, for MAML: each call is normalised by its own samples."""
    return nn.Sequential(conv4(pool_first=pool_first, keeps_statistics=False), nn.Linear(64, WAY))


class InMemory(Dataset[tuple[Tensor, int]]):
    """Images in memory, as peers ask for them."""

    def __init__(self, pixels: Tensor, of_images: list[int]) -> None:
        self.images, self.labels = pixels.float() / 255, of_images

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        """An image and its class."""
        return self.images[i], self.labels[i]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.images)

    def get_labels(self) -> list[int]:
        """The class of each image."""
        return self.labels


def repeated(act: Callable[[], object]) -> Callable[[int], None]:
    """An act of one episode as one of many."""

    def many(count: int) -> None:
        for _ in range(count):
            act()

    return many


def omniglot_file() -> Path:
    """Where the race has put Omniglot's images for all contestants."""
    return Path(os.environ["BENCH_OMNIGLOT"])
