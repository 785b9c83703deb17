"""learn2learn: its task sampling, its prototypes and its MAML."""

from __future__ import annotations

from collections.abc import Callable

import learn2learn as l2l
import torch
from learn2learn.data.transforms import FusedNWaysKShots, LoadData, RemapLabels
from learn2learn.nn import PrototypicalClassifier
from torch import nn
from workload import (
    INNER_LR,
    INNER_STEPS,
    LR,
    QUERY,
    SHOT,
    WAY,
    conv4,
    conv4_with_head,
    make_dataset,
    make_task,
    repeat,
)

PACKAGES = ("learn2learn",)


def sample(dataset: str) -> Callable[[int], None]:
    """Sample tasks with the fused transform, the fastest one of learn2learn."""
    data = l2l.data.MetaDataset(make_dataset(dataset))
    transforms = [FusedNWaysKShots(data, n=WAY, k=SHOT + QUERY), LoadData(data), RemapLabels(data)]
    tasks = l2l.data.TaskDataset(data, task_transforms=transforms, num_tasks=-1)
    return repeat(tasks.sample)


def train(*, pool_first: bool) -> Callable[[int], None]:
    """Train ProtoNet, one task per step.

    The network embeds support and queries in one call, as in learn2learn's examples.
    """
    support_x, support_y, query_x, query_y = make_task()
    network, head = conv4(pool_first=pool_first).train(), PrototypicalClassifier()
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)

    def step() -> None:
        optimizer.zero_grad()
        embeddings = network(torch.cat([support_x, query_x]))
        head.fit_(embeddings[: len(support_x)], support_y)
        nn.functional.cross_entropy(head(embeddings[len(support_x) :]), query_y).backward()
        optimizer.step()

    return repeat(step)


def maml(*, pool_first: bool) -> Callable[[int], None]:
    """Perform training steps of second-order MAML, one task per step."""
    support_x, support_y, query_x, query_y = make_task()
    model = l2l.algorithms.MAML(conv4_with_head(pool_first=pool_first), lr=INNER_LR)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)

    def step() -> None:
        optimizer.zero_grad()
        learner = model.clone()
        for _ in range(INNER_STEPS):
            learner.adapt(nn.functional.cross_entropy(learner(support_x), support_y))
        nn.functional.cross_entropy(learner(query_x), query_y).backward()
        optimizer.step()

    return repeat(step)


OPERATIONS = {
    "sample omniglot": lambda: sample("omniglot"),
    "sample miniimagenet": lambda: sample("miniimagenet"),
    "train": lambda: train(pool_first=False),
    "train, pool first": lambda: train(pool_first=True),
    "maml": lambda: maml(pool_first=False),
    "maml, pool first": lambda: maml(pool_first=True),
}
