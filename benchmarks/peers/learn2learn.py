"""learn2learn: its tasks, its prototypes, its MAML."""

from __future__ import annotations

from collections.abc import Callable

import learn2learn as l2l
import torch
from learn2learn.data.transforms import (
    FusedNWaysKShots,
    LoadData,
    RemapLabels,
)
from learn2learn.nn import PrototypicalClassifier
from torch import Tensor, nn
from torch.utils.data import Dataset
from work import (
    INNER_RATE,
    INNER_STEPS,
    QUERY,
    RATE,
    SHOT,
    WAY,
    conv4,
    images,
    labels,
    repeated,
    task,
)

PACKAGES = ("learn2learn",)


class InMemory(Dataset[tuple[Tensor, int]]):
    """Images in memory."""

    def __init__(self, name: str) -> None:
        self.images, self.labels = images(name).float() / 255, labels(name)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        """An image and its class."""
        return self.images[i], self.labels[i]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.images)


def draw(name: str) -> Callable[[int], None]:
    """Draw tasks and do nothing with them; their descriptions are fused, its fastest way."""
    data = l2l.data.MetaDataset(InMemory(name))
    steps = [
        FusedNWaysKShots(data, n=WAY, k=SHOT + QUERY),
        LoadData(data),
        RemapLabels(data),
    ]
    tasks = l2l.data.TaskDataset(data, task_transforms=steps, num_tasks=-1)
    return repeated(tasks.sample)


def train(*, pool_first: bool) -> Callable[[int], None]:
    """Steps of training on one task, support and queries embedded together, as its examples do."""
    support, support_y, query, query_y = task()
    network, head = conv4(pool_first=pool_first).train(), PrototypicalClassifier()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        embedded = network(torch.cat([support, query]))
        head.fit_(embedded[: len(support)], support_y)
        nn.functional.cross_entropy(head(embedded[len(support) :]), query_y).backward()
        optimizer.step()

    return repeated(step)


def maml(*, pool_first: bool) -> Callable[[int], None]:
    """Steps of MAML of second order on one task."""
    support, support_y, query, query_y = task()
    network = conv4(pool_first=pool_first, keeps_statistics=False)
    model = l2l.algorithms.MAML(nn.Sequential(network, nn.Linear(64, WAY)), lr=INNER_RATE)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        learner = model.clone()
        for _ in range(INNER_STEPS):
            learner.adapt(nn.functional.cross_entropy(learner(support), support_y))
        nn.functional.cross_entropy(learner(query), query_y).backward()
        optimizer.step()

    return repeated(step)


ACTS = {
    "draw omniglot": lambda: draw("omniglot"),
    "draw miniimagenet": lambda: draw("miniimagenet"),
    "train": lambda: train(pool_first=False),
    "train, pool first": lambda: train(pool_first=True),
    "maml": lambda: maml(pool_first=False),
    "maml, pool first": lambda: maml(pool_first=True),
}
