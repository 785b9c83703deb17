"""Work that every library does in a comparison: shapes, images, network. Needs only PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

WAY, SHOT, QUERY = 5, 1, 15
DATASET_SHAPES = {"omniglot": ((1, 28, 28), 964, 20), "miniimagenet": ((3, 84, 84), 64, 100)}
"""Image shape, number of classes and images per class.

miniImageNet has 600 images per class. 100 of them fit in memory.
"""
LR, INNER_STEPS, INNER_LR = 1e-3, 5, 0.4
N_TEST_CLASSES = 423
"""Number of Omniglot's test classes."""
N_TRAIN_TASKS, N_TEST_TASKS = 200, 100
"""Numbers of tasks for training and for testing, where accuracy is compared."""


def make_images(dataset: str, n_classes: int | None = None) -> Tensor:
    """Create random uint8 images, sorted by class. Their content does not change the cost."""
    shape, all_classes, images_per_class = DATASET_SHAPES[dataset]
    n_images = (n_classes or all_classes) * images_per_class
    return torch.randint(0, 256, (n_images, *shape), dtype=torch.uint8)


class InMemoryDataset(Dataset[tuple[Tensor, int]]):
    """Images in memory, with the interface that the peer libraries expect."""

    def __init__(self, images: Tensor, labels: list[int]) -> None:
        self.images, self.labels = images.float() / 255, labels

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        """Return an image and its class."""
        return self.images[i], self.labels[i]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def get_labels(self) -> list[int]:
        """Return the class of each image."""
        return self.labels


def make_dataset(name: str, n_classes: int | None = None) -> InMemoryDataset:
    """Create a data set of random images, by default with all classes."""
    images, images_per_class = make_images(name, n_classes), DATASET_SHAPES[name][2]
    return InMemoryDataset(images, [i // images_per_class for i in range(len(images))])


def make_task() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Create a random task of Omniglot's shape: support_x, support_y, query_x, query_y."""
    classes = torch.arange(WAY)
    support_x, query_x = torch.rand(WAY * SHOT, 1, 28, 28), torch.rand(WAY * QUERY, 1, 28, 28)
    return support_x, classes.repeat_interleave(SHOT), query_x, classes.repeat_interleave(QUERY)


def conv4(*, pool_first: bool, track_running_stats: bool = True) -> nn.Sequential:
    """Build Conv-4 with 64 channels for Omniglot's image shape. Its output has 64 features.

    Args:
        pool_first: If True, pool before the normalisation, as lgmnet does. If False, pool after
            the ReLU, as published, which is more work.
        track_running_stats: If True, the normalisation keeps running statistics.
    """
    layers: list[nn.Module] = []
    for channels in (1, 64, 64, 64):
        norm = nn.BatchNorm2d(64, track_running_stats=track_running_stats)
        layers.append(nn.Conv2d(channels, 64, 3, padding=1))
        pool = nn.MaxPool2d(2)
        layers += [pool, norm, nn.ReLU()] if pool_first else [norm, nn.ReLU(), pool]
    return nn.Sequential(*layers, nn.Flatten())


def conv4_with_head(*, pool_first: bool) -> nn.Sequential:
    """Build Conv-4 with a linear head for MAML, which normalises by the statistics of each call."""
    network = conv4(pool_first=pool_first, track_running_stats=False)
    return nn.Sequential(network, nn.Linear(64, WAY))


def repeat(call: Callable[[], object], tasks_per_call: int = 1) -> Callable[[int], None]:
    """Make an operation, which takes a number of tasks, from a call for a batch of tasks."""

    def operation(n_tasks: int) -> None:
        for _ in range(-(-n_tasks // tasks_per_call)):
            call()

    return operation


def omniglot_file() -> Path:
    """Return the file with Omniglot's images that `peers.py` wrote for all libraries."""
    return Path(os.environ["BENCH_OMNIGLOT"])
