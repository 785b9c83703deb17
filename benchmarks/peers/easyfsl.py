"""easyfsl: its sampler, its Prototypical Networks, its evaluation."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from easyfsl.methods import PrototypicalNetworks
from easyfsl.samplers import TaskSampler
from easyfsl.utils import evaluate
from torch import Tensor, nn
from torch.utils.data import DataLoader
from work import (
    LEARNED,
    QUERY,
    RATE,
    SCORED,
    SHOT,
    WAY,
    InMemory,
    conv4,
    images,
    labels,
    omniglot_file,
    repeated,
    task,
)

PACKAGES = ("easyfsl",)


def loader(store: Tensor, of_images: list[int], tasks: int) -> DataLoader[Any]:
    """Tasks in the process itself: worker processes are slower where images are in memory."""
    data = InMemory(store, of_images)
    sampler = TaskSampler(data, WAY, SHOT, QUERY, tasks)
    return DataLoader(data, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)


def draw(name: str) -> Callable[[int], None]:
    """Draw tasks and do nothing with them."""
    tasks = loader(images(name), labels(name), 1)

    def many(count: int) -> None:
        tasks.batch_sampler.n_tasks = count
        for _ in tasks:
            pass

    return many


def train(*, pool_first: bool) -> Callable[[int], None]:
    """Steps of training on one task."""
    support, support_y, query, query_y = task()
    method = PrototypicalNetworks(conv4(pool_first=pool_first)).train()
    optimizer = torch.optim.Adam(method.parameters(), lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        method.process_support_set(support, support_y)
        nn.functional.cross_entropy(method(query), query_y).backward()
        optimizer.step()

    return repeated(step)


def judge() -> Callable[[int], None]:
    """Its own evaluation on test classes."""
    of_images = labels("omniglot")[: 423 * 20]
    tasks = loader(images("omniglot")[: 423 * 20], of_images, 1)
    method = PrototypicalNetworks(conv4(pool_first=False)).eval()

    def many(count: int) -> None:
        tasks.batch_sampler.n_tasks = count
        evaluate(method, tasks, device="cpu", use_tqdm=False)

    return many


class Squared(PrototypicalNetworks):
    """With squared distances, as the paper and lgmnet have them; easyfsl's own are not squared."""

    def l2_distance_to_prototypes(self, samples: Tensor) -> Tensor:
        """Minus the squared distance of each sample to each prototype."""
        return -(torch.cdist(samples, self.prototypes) ** 2)


def learn() -> Callable[[int], list[float]]:
    """Accuracy on Omniglot's test characters after training on its others, from so many seeds."""
    from numpy import load

    arrays = load(omniglot_file())

    def tasks_of(split: str, count: int) -> DataLoader[Any]:
        pixels = torch.from_numpy(arrays[f"{split}_x"])
        return loader(pixels, arrays[f"{split}_y"].tolist(), count)

    train_tasks, test_tasks = tasks_of("train", LEARNED), tasks_of("test", SCORED)

    def learned(seed: int) -> float:
        torch.manual_seed(seed)
        random.seed(seed)
        method = Squared(conv4(pool_first=True)).train()
        optimizer = torch.optim.Adam(method.parameters(), lr=RATE)
        for support, support_y, query, query_y, _ in train_tasks:
            optimizer.zero_grad()
            method.process_support_set(support, support_y)
            nn.functional.cross_entropy(method(query), query_y).backward()
            optimizer.step()
        method.eval()
        return 100 * float(evaluate(method, test_tasks, device="cpu", use_tqdm=False))

    return lambda count: [learned(seed) for seed in range(count)]


ACTS = {
    "draw omniglot": lambda: draw("omniglot"),
    "draw miniimagenet": lambda: draw("miniimagenet"),
    "train": lambda: train(pool_first=False),
    "train, pool first": lambda: train(pool_first=True),
    "evaluate": judge,
    "learn": learn,
}
