"""learn2learn: its tasks, its prototypes, its MAML."""

from __future__ import annotations

from collections.abc import Callable

import learn2learn as l2l
import torch
from learn2learn.data.transforms import FusedNWaysKShots, LoadData, RemapLabels
from learn2learn.nn import PrototypicalClassifier
from torch import nn
from work import (
    INNER_RATE,
    INNER_STEPS,
    QUERY,
    RATE,
    SHOT,
    WAY,
    InMemory,
    conv4,
    conv4_with_head,
    images,
    labels,
    repeated,
    task,
)

PACKAGES = ("learn2learn",)


def draw(name: str) -> Callable[[int], None]:
    """Draw tasks and do nothing with them; their descriptions are fused, its fastest way."""
    data = l2l.data.MetaDataset(InMemory(images(name), labels(name)))
    steps = [FusedNWaysKShots(data, n=WAY, k=SHOT + QUERY), LoadData(data), RemapLabels(data)]
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
    model = l2l.algorithms.MAML(conv4_with_head(pool_first=pool_first), lr=INNER_RATE)
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
